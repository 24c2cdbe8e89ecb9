package dicomhttp_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// nodes returns two processes of one service, on one database and one place for blobs.
func nodes(t *testing.T) (a, b *world) {
	a = &world{t: t, dir: t.TempDir(), path: dbtest.Postgres(t)}
	b = &world{t: t, dir: a.dir, path: a.path}
	for _, w := range []*world{a, b} {
		w.open(dicom.Config{}, nil)
		t.Cleanup(func() { w.close() })
	}
	return a, b
}

// TestNodesShare: what one process is told, the other knows.
func TestNodesShare(t *testing.T) {
	a, b := nodes(t)
	var wg sync.WaitGroup
	for i, w := range []*world{a, b} {
		wg.Go(func() {
			for k := range 20 {
				w.do("POST", "/v2/studies", made(t, "1.2", fmt.Sprintf("1.2.%d", k%2), fmt.Sprintf("1.2.9.%d.%d", i, k)), "Content-Type", "application/dicom")
				w.do("POST", "/v2/studies", made(t, "1.2", "1.2.1", fmt.Sprintf("1.2.8.%d", k)), "Content-Type", "application/dicom") // both
			}
		})
	}
	wg.Wait()
	for _, w := range []*world{a, b} {
		if got := w.want(200, "GET", "/v2/studies"); !strings.Contains(got, `"00201208":{"vr":"IS","Value":[60]}`) {
			t.Error(got)
		}
		for k := range 20 {
			path := fmt.Sprintf("/v2/studies/1.2/series/1.2.%d/instances/1.2.9.%d.%d", k%2, k%2, k)
			want := made(t, "1.2", fmt.Sprintf("1.2.%d", k%2), fmt.Sprintf("1.2.9.%d.%d", k%2, k))
			if got := w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax=*").Body.Bytes(); !bytes.Equal(got, want) {
				t.Fatal("another file came back")
			}
		}
	}
	if got := a.want(200, "GET", "/v2/changefeed?limit=100&includemetadata=false"); strings.Count(got, `"create"`) != 60 || !strings.Contains(got, `"Sequence":60,`) {
		t.Error(got)
	}
	// A tag counts for the other process at once when it stores, and soon when it searches.
	a.operation(a.post(202, "/v2/extendedquerytags", `[{"path":"StationName","level":"Instance"}]`))
	b.stow(200, "/v2/studies", made(t, "1.3", "1.3.1", "1.3.1.1", station("CT7")))
	if got := a.find("/v2/instances?StationName=CT7", "00080018"); len(got) != 1 {
		t.Error(got)
	}
	for end := time.Now().Add(time.Minute); b.do("GET", "/v2/instances?StationName=CT7", nil).Code != 200; {
		if time.Now().After(end) {
			t.Fatal("the other process does not know the tag")
		}
		time.Sleep(5 * time.Millisecond)
	}
	// A work item has one owner.
	a.ups(201, "POST", "?1.5", step(t).body(t))
	codes := make([]int, 2)
	for i, w := range []*world{a, b} {
		wg.Go(func() {
			codes[i] = w.do("PUT", "/v2/workitems/1.5/state", change(t, "IN PROGRESS", fmt.Sprintf("1.7.%d", i)), "Content-Type", dicomJSON).Code
		})
	}
	wg.Wait()
	if codes[0]+codes[1] != 600 {
		t.Error(codes)
	}
}

// TestNodesClean: a blob that one process fills is not taken away by another
// without it knowing, and what a dead one left is removed.
func TestNodesClean(t *testing.T) {
	a, b := nodes(t)
	a.stow(200, "/v2/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	b.want(204, "DELETE", "/v2/studies/1.2")
	if n, err := b.room.Clean(t.Context()); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	for i := range 10 { // into another blob
		a.stow(200, "/v2/studies", made(t, "1.3", "1.3.1", fmt.Sprintf("1.3.1.%d", i)))
		b.want(200, "GET", fmt.Sprintf("/v2/studies/1.3/series/1.3.1/instances/1.3.1.%d", i), "Accept", "application/dicom; transfer-syntax=*")
	}
	// A third process dies: its numbers are taken over when it was silent for long.
	c := &world{t: t, dir: a.dir, path: a.path}
	c.open(dicom.Config{}, nil)
	n, err := c.store.Object()
	if err != nil {
		t.Fatal(err)
	}
	c.jobs.stop()
	c.room.Close() // the store stays as it is
	free := func(w *world) bool {
		list, err := w.store.Unused(t.Context(), func(int64) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if m == n {
				return true
			}
		}
		return false
	}
	if free(a) {
		t.Error("the numbers of a process that may live were taken over")
	}
	d := &world{t: t, dir: a.dir, path: a.path, now: func() time.Time { return time.Now().Add(time.Hour) }}
	d.open(dicom.Config{}, nil)
	t.Cleanup(func() { d.close() })
	if !free(d) {
		t.Error("the numbers of a dead process were not taken over")
	}
}

func station(name string) dcm.Element { return dcm.NewText(0x00081010, dcm.SH, name) }

// TestNodesElsewhere: a process that has its blobs in another place does not begin.
func TestNodesElsewhere(t *testing.T) {
	a, _ := nodes(t)
	store, err := dicomsql.Open(t.Context(), a.path, dicomsql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	blobs, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dicom.New(dicom.Deps{Store: store, Blobs: blobs, Jobs: &fakeJobs{}}); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "the same bucket") {
		t.Error(err)
	}
}
