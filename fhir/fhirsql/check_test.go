package fhirsql

import (
	"path/filepath"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// TestUnfinishedCheck: a store that is closed before its file was looked through is
// not one that was closed in order: the next start looks again.
func TestUnfinishedCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fhir.db")
	open := func() *Store {
		t.Helper()
		s, err := Open(t.Context(), path, search.Default(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	marked := func(want int64) {
		t.Helper()
		d, err := db.Open(path, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		err = d.Read(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT v FROM meta WHERE k = 'open'", func(st *db.Stmt) error {
				if got := st.ColInt(0); got != want {
					t.Errorf("open is %d, want %d", got, want)
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	s.checked = db.Inspection{} // as if it had gone on until now
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	marked(1)
	s = open()
	s.checked.Stop()
	if s.checked.Running() { // it was stopped: there is nothing that it found
		s.checked = db.Inspection{}
		s.checked.Start(s.db, false)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	marked(0)
}

// TestSeenClosed: a store that is being closed makes no filter, and does not wait for one.
func TestSeenClosed(t *testing.T) {
	n := &seen{}
	n.want()
	n.making.stop()
	if n.settle(nil); n.state != seenWanted {
		t.Errorf("state %d; nobody would end the wait for the filter", n.state)
	}
}
