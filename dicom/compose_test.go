package dicom

import "testing"

// TestEntityReady has data sets that name one URI, whose frames come one after
// another: each is looked at when there are enough for it, and only then.
func TestEntityReady(t *testing.T) {
	e := &entity{drafts: map[int][]*draft{}, frames: map[int]*spool{}}
	const many = 5000
	for i := range many {
		e.drafts[3] = append(e.drafts[3], &draft{index: i, text: []byte("{}")})
	}
	e.drafts[0] = []*draft{{index: many}}
	e.drafts[7] = []*draft{{index: many + 1}}
	for n := 1; n <= 5; n++ {
		e.frames[n] = &spool{}
		want := 0
		if n == 3 {
			want = many
		}
		if got := e.ready(false); len(got) != want {
			t.Errorf("with %d frames %d are ready, want %d", n, len(got), want)
		}
	}
	got := e.ready(true)
	if len(got) != 2 || got[0].index != many || got[1].index != many+1 || len(e.ready(true)) != 0 {
		t.Errorf("with the whole: %v", got)
	}
}
