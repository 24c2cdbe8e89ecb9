package jobs

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
)

// Works that share a transaction keep their errors to themselves: a worker that
// finds its job cancelled or lost undoes neither the cancel nor a submission.
func TestGroup(t *testing.T) {
	d, err := db.Open(filepath.Join(t.TempDir(), "jobs.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := New(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	kinds := map[string]Handler{"k": {}}
	submit(t, s, Spec{Kind: "k", Definition: 1})
	submit(t, s, Spec{Kind: "k", Definition: 2})
	mine, err := s.claim(ctx, "n", kinds, time.Minute)
	if err != nil || mine == nil {
		t.Fatal(err)
	}
	stale, err := s.claim(ctx, "n", kinds, time.Minute)
	if err != nil || stale == nil {
		t.Fatal(err)
	}
	stale.fence-- // another worker has it

	running, release := make(chan struct{}), make(chan struct{})
	works := []func() error{
		func() error { return s.write(ctx, func(*work) error { close(running); <-release; return nil }) },
		func() error { _, err := s.Cancel(ctx, mine.ID); return err },
		func() error { return s.save(ctx, mine, 1, Progress{}, []Spec{{Kind: "k", Definition: 3}}) },
		func() error { _, err := s.beat(ctx, stale, time.Minute); return err },
		func() error { return s.end(ctx, stale, Failed, "", "") },
		func() error { _, _, err := s.Submit(ctx, Spec{Kind: "k", Definition: 4}); return err },
	}
	ends := make([]chan error, len(works))
	for i, f := range works {
		ends[i] = make(chan error, 1)
		go func() { ends[i] <- f() }()
		if i == 0 {
			<-running
			continue
		}
		for d.Stats().Queue < i {
			time.Sleep(time.Millisecond)
		}
	}
	close(release)
	for i, want := range []error{nil, nil, ErrCancelled, ErrLost, ErrLost, nil} {
		if err := <-ends[i]; !errors.Is(err, want) {
			t.Errorf("work %d: %v, want %v", i, err, want)
		}
	}
	if j, err := s.Get(ctx, mine.ID); err != nil || !j.Stopping {
		t.Errorf("the cancelled job: %+v, %v", j, err)
	}
}
