package dicomsql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestPutTogether stores from many goroutines at once, some of whom are
// refused: by the list of tags, by a context that has ended, or because their blob was
// given up. What is wrong with one does not touch the others.
func TestPutTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := dicomsql.Open(t.Context(), path, dicomsql.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		doomed := condemnedBlob(t, s)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		errs := make([]error, 64)
		var wg sync.WaitGroup
		for i := range len(errs) / 8 {
			wg.Go(func() {
				var puts []*dicom.Put
				for n := i * 8; n < i*8+8; n++ {
					r := record(fmt.Sprintf("1.2.%d", n%2), fmt.Sprintf("1.2.3.%d", n), 1000)
					p := &dicom.Put{Ctx: t.Context(), Part: 1, Records: []*dicom.Record{r}}
					switch n % 8 {
					case 3:
						p.Tags = 99
					case 5:
						p.Ctx = gone
					case 7:
						r.Location.Object = doomed
					}
					puts = append(puts, p)
				}
				s.Put(puts, nil)
				for k, p := range puts {
					errs[i*8+k] = p.Err
				}
			})
		}
		wg.Wait()
		for i, err := range errs {
			ok := err == nil
			switch i % 8 {
			case 3:
				ok = errors.Is(err, dicom.ErrTagsChanged)
			case 5:
				ok = fault.Is(err, fault.Timeout)
			case 7:
				ok = errors.Is(err, dicom.ErrCondemned)
			}
			if !ok {
				t.Errorf("%d: %v", i, err)
			}
		}
		count := int64(0)
		for study, want := range map[string]int64{"1.2.0": 32, "1.2.1": 8} {
			_, n, err := s.Revision(t.Context(), 1, dicom.UIDs{Study: study})
			if err != nil || n != want {
				t.Errorf("study %s has %d instances, want %d: %v", study, n, want, err)
			}
			count += n
		}
		known, err := s.Known(t.Context(), 1, []dicom.UIDs{
			{Study: "1.2.0", Series: "1.2.0.1", SOP: "1.2.3.0"}, {Study: "1.2.1", Series: "1.2.1.1", SOP: "1.2.3.3"}, {Study: "1.2.1", Series: "1.2.0.1", SOP: "1.2.3.0"},
		})
		if err != nil || !known[0] || known[1] || known[2] {
			t.Errorf("known %v, %v", known, err)
		}
	})
}

// put stores records as one request does.
func put(t *testing.T, s *dicomsql.Store, replace bool, recs ...*dicom.Record) error {
	p := &dicom.Put{Ctx: t.Context(), Part: 1, Records: recs, Replace: replace}
	s.Put([]*dicom.Put{p}, nil)
	return p.Err
}

// TestPutDurable has files that are not on disk yet: nobody sees their rows before
// they are, and never if they do not get there.
func TestPutDurable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := dicomsql.Open(t.Context(), path, dicomsql.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		broken := errors.New("the disk is broken")
		for i, fail := range []error{broken, nil} {
			var puts []*dicom.Put
			var uids []dicom.UIDs
			for n := range 3 {
				r := record("1.2", fmt.Sprintf("1.2.3.%d", n), 1)
				uids = append(uids, r.UIDs)
				puts = append(puts, &dicom.Put{Ctx: t.Context(), Part: 1, Records: []*dicom.Record{r}})
			}
			s.Put(puts, func() error {
				if known, err := s.Known(t.Context(), 1, uids); err != nil || slices.Contains(known, true) {
					t.Errorf("%d: before the files are on disk: %v, %v", i, known, err)
				}
				return fail
			})
			known, err := s.Known(t.Context(), 1, uids)
			for n, p := range puts {
				if !errors.Is(p.Err, fail) || err != nil || known[n] != (fail == nil) {
					t.Errorf("%d: %v, known %v, %v", i, p.Err, known, err)
				}
			}
		}
	})
}

// record is one of an instance in the only series of a study.
func record(study, sop string, object int64) *dicom.Record {
	r := &dicom.Record{}
	r.Class, r.Syntax = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
	r.UIDs = dicom.UIDs{Study: study, Series: study + ".1", SOP: sop}
	r.Attrs, r.Study, r.Series = dicom.Attributes{}, dicom.Attributes{}, dicom.Attributes{}
	r.Location = dicom.Location{Object: object, Size: 100}
	return r
}

// condemnedBlob returns the number of a blob that is about to be removed.
func condemnedBlob(t *testing.T, s *dicomsql.Store) int64 {
	t.Helper()
	n, err := s.Object()
	if err == nil {
		err = put(t, s, false, record("1.9", "1.9.9", n))
	}
	if err == nil {
		_, err = s.Delete(t.Context(), 1, dicom.UIDs{Study: "1.9"})
	}
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Unused(t.Context(), func(int64) bool { return false })
	if err != nil || len(list) != 1 || list[0] != n {
		t.Fatalf("unused %v, want %d: %v", list, n, err)
	}
	return n
}
