package dicomsql_test

import (
	"context"
	"errors"
	"fmt"
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
		for i := range errs {
			wg.Go(func() {
				ctx, opt, r := t.Context(), dicom.PutOptions{}, record(fmt.Sprintf("1.2.%d", i%2), fmt.Sprintf("1.2.3.%d", i), 1000)
				switch i % 8 {
				case 3:
					opt.Tags = 99
				case 5:
					ctx = gone
				case 7:
					r.Location.Object = doomed
				}
				errs[i] = s.Put(ctx, 1, []*dicom.Record{r}, opt)
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
		err = s.Put(t.Context(), 1, []*dicom.Record{record("1.9", "1.9.9", n)}, dicom.PutOptions{})
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
