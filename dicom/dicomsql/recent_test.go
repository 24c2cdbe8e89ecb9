package dicomsql_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestRecent changes instances in all ways there are, and compares after each
// what is told of single instances, which may be remembered, with the list of all.
func TestRecent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := dicomsql.Open(t.Context(), path, dicomsql.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		uids := func(n int) dicom.UIDs {
			return dicom.UIDs{Study: fmt.Sprintf("1.%d", n%2), Series: fmt.Sprintf("1.%d.%d", n%2, n%4), SOP: fmt.Sprintf("1.9.%d", n)}
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for step := range 80 {
			n := rnd.IntN(12)
			u := uids(n)
			r := record(u.Study, u.SOP, 100)
			r.UIDs, r.Location.Pos, r.Frames = u, int64(step), bytes.Repeat([]byte{byte(step)}, 1+step%3*2000)
			in, err := s.Instance(t.Context(), 1, u)
			if err != nil && !fault.Is(err, fault.NotFound) {
				t.Fatal(err)
			}
			switch op := rnd.IntN(5); {
			case op < 2 || in == nil:
				err = put(t, s, op == 1, r)
			case op == 2:
				_, err = s.Delete(t.Context(), 1, u)
			case op == 3:
				err = s.Update(t.Context(), 1, in, r, 0)
			default:
				_, err = s.Move(t.Context(), []dicom.StoredFile{{Version: in.Version, Location: in.Location}}, []dicom.Location{{Object: 200, Pos: int64(step)}})
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[dicom.UIDs]*dicom.Instance{}
			for _, study := range []string{"1.0", "1.1"} {
				list, err := s.List(t.Context(), 1, dicom.UIDs{Study: study}, 0, 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, in := range list {
					want[in.UIDs] = in
				}
			}
			for n := range 12 {
				compare(t, s, uids(n), want[uids(n)])
			}
			if t.Failed() {
				t.Fatalf("after step %d", step)
			}
		}
	})
}

// compare asks for an instance in both ways.
func compare(t *testing.T, s *dicomsql.Store, u dicom.UIDs, want *dicom.Instance) {
	t.Helper()
	in, err := s.Instance(t.Context(), 1, u)
	if !reflect.DeepEqual(in, want) || (want == nil) != fault.Is(err, fault.NotFound) {
		t.Errorf("%s is %v, want %v: %v", u, in, want, err)
	}
	in, table, err := s.Frames(t.Context(), 1, u)
	if !reflect.DeepEqual(in, want) || (want == nil) != fault.Is(err, fault.NotFound) {
		t.Errorf("%s with frames is %v, want %v: %v", u, in, want, err)
	}
	if want != nil && want.Location.Object == 100 && (len(table) == 0 || table[0] != byte(want.Location.Pos)) {
		t.Errorf("%s has the frames of %d, want those of %d", u, table[:min(1, len(table))], want.Location.Pos)
	}
	if in != nil {
		in.Location.Object = 0 // it is the caller's
	}
}

// TestRecentAhead reads the instances of a series: the second brings those after it.
func TestRecentAhead(t *testing.T) {
	s, err := dicomsql.Open(t.Context(), t.TempDir()+"/x.db", dicomsql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var recs []*dicom.Record
	for n := range 100 {
		recs = append(recs, record("1.2", fmt.Sprintf("1.2.3.%d", n), 1))
	}
	if err := put(t, s, false, recs...); err != nil {
		t.Fatal(err)
	}
	for n, want := range []int{1, 66, 66} {
		if _, _, err := s.Frames(t.Context(), 1, recs[n].UIDs); err != nil || s.Remembered() != want {
			t.Errorf("after %d reads %d are remembered, want %d: %v", n+1, s.Remembered(), want, err)
		}
	}
	if err := put(t, s, false, record("1.3", "1.3.3", 1)); err != nil || s.Remembered() != 66 {
		t.Errorf("after a store %d are remembered: %v", s.Remembered(), err)
	}
	if _, err := s.Delete(t.Context(), 1, dicom.UIDs{Study: "1.3"}); err != nil || s.Remembered() != 0 {
		t.Errorf("after a delete %d are remembered: %v", s.Remembered(), err)
	}
}

// TestRecentLarge reads frame tables that are too large to be remembered, as of slides: those of
// the instances after it are not read for each frame.
func TestRecentLarge(t *testing.T) {
	s, err := dicomsql.Open(t.Context(), t.TempDir()+"/x.db", dicomsql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var recs []*dicom.Record
	for n := range 100 {
		r := record("1.2", fmt.Sprintf("1.2.3.%d", n), 1)
		r.Frames = bytes.Repeat([]byte{byte(n)}, 20_000)
		recs = append(recs, r)
	}
	if err := put(t, s, false, recs...); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		for range 2 {
			if _, table, err := s.Frames(t.Context(), 1, recs[n].UIDs); err != nil || !bytes.Equal(table, recs[n].Frames) {
				t.Fatalf("%d bytes: %v", len(table), err)
			}
		}
		if got := s.Remembered(); got != n+1 {
			t.Errorf("after %d instances %d are remembered", n+1, got)
		}
	}
}

// TestRecentRace has readers beside one who replaces an instance and deletes it:
// what was acknowledged before a read began is what it sees.
func TestRecentRace(t *testing.T) {
	s, err := dicomsql.Open(t.Context(), t.TempDir()+"/x.db", dicomsql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mu sync.Mutex
	least, there := dicom.Version(0), false // of what was acknowledged
	u := record("1.2", "1.2.3", 1).UIDs
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.Lock()
				v, was := least, there
				in, err := s.Instance(t.Context(), 1, u)
				if was && (err != nil || in.Version < v) || !was && err == nil {
					t.Errorf("there %v in version %d: %v, %v", was, v, in, err)
				}
				mu.Unlock()
				_, _ = s.Instance(t.Context(), 1, u) // one that may cross with a change
			}
		})
	}
	for i := range 60 {
		r := record("1.2", "1.2.3", 1)
		if i%3 == 2 {
			mu.Lock()
			_, err = s.Delete(t.Context(), 1, u)
			there = false
			mu.Unlock()
		} else {
			mu.Lock()
			err = put(t, s, true, r)
			least, there = r.Version, true
			mu.Unlock()
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
}
