package fhirsql

import (
	"context"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestReindexUnread indexes a store with bodies that are damaged: they are
// counted and named, and all others have their rows again. A scan says which it is. A file with one can be
// opened that an older version wrote.
func TestReindexUnread(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		s, err := Open(t.Context(), path, search.Default(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		ids := []string{"a", "b", "c", "d", "e"}
		for _, id := range ids {
			if _, err := s.Apply(t.Context(), put(t, search.Default(), id, `{"resourceType":"Patient","name":[{"family":"Found"}]}`)); err != nil {
				t.Fatal(err)
			}
		}
		err = s.reindexing(t.Context(), 1, func(c *db.Conn) error {
			for id, z := range map[string][]byte{"b": {codecDict1, 0xff, 0xff, 0xff, 1}, "c": {99}, "d": append([]byte{codecRaw, 0}, `,"name":[`...)} {
				if err := c.Exec("UPDATE body SET z=$1 WHERE id=$2", z, idBytes(id)); err != nil {
					return err
				}
			}
			return c.Exec("DELETE FROM str")
		})
		if err != nil {
			t.Fatal(err)
		}
		from := fhir.ReindexFrom{Limit: 2, More: true}
		for from.More {
			if from, err = s.Reindex(t.Context(), from); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"Patient/b", "Patient/c", "Patient/d"}; from.Done != 5 || from.Failed != 3 || !slices.Equal(from.Unread, want) {
			t.Errorf("%+v, want %v", from, want)
		}
		mark, err := s.Mark(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		q := fhir.ScanQuery{Type: "Patient", What: fhir.ScanCurrent, At: mark, Since: fhir.FirstSeq, ScanRange: fhir.EveryPosition()}
		_, _, err = s.Scan(t.Context(), q, func(*fhir.Record) bool { return true })
		if !fault.Is(err, fault.Internal) || fault.From(err).Msg != "the stored form of Patient/b is damaged" {
			t.Errorf("scan: %v", err)
		}
		var found int64
		err = s.db.Read(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT count(DISTINCT rid) FROM str", func(st *db.Stmt) error { found = st.ColInt(0); return nil })
		})
		if err != nil || found != 2 {
			t.Errorf("%d resources have rows, %v", found, err)
		}
		for _, version := range []int64{0, 1} {
			if err := s.renew(context.Background(), version); err != nil {
				t.Errorf("rows of version %d: %v", version, err)
			}
		}
	})
}

// TestPass bounds what is remembered of resources that cannot be read.
func TestPass(t *testing.T) {
	var from fhir.ReindexFrom
	for range fhir.MaxUnread + 5 {
		before := from
		from.Pass(fhir.Key{Type: "Patient", ID: "x"})
		before.Pass(fhir.Key{Type: "Patient", ID: "y"}) // the same place again
	}
	if from.Failed != fhir.MaxUnread+5 || len(from.Unread) != fhir.MaxUnread || slices.Contains(from.Unread, "Patient/y") {
		t.Errorf("%d, %d names", from.Failed, len(from.Unread))
	}
}
