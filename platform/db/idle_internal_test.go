package db

import (
	"path/filepath"
	"testing"
	"time"
)

// TestIdleSnapshotEnds: a reader that comes back just after the idle ones gave
// their snapshots up does not keep its own.
func TestIdleSnapshotEnds(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "t.db"), Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	read := make(chan error)
	locked := make(chan struct{})
	go func() {
		read <- d.ReadTx(t.Context(), func(c *Conn) error {
			d.idle.mu.Lock() // nobody comes back for now
			d.idle.ends = true
			close(locked)
			return c.Query("SELECT 1 FROM sqlite_schema", func(*Stmt) error { return nil })
		})
	}()
	<-locked
	time.Sleep(20 * time.Millisecond) // the read has ended
	d.idle.ends = false               // as letGo does
	d.idle.mu.Unlock()
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	held := func() bool {
		d.idle.mu.Lock()
		defer d.idle.mu.Unlock()
		return len(d.idle.list) != 1 || d.idle.list[0].held
	}
	for end := time.Now().Add(time.Minute); held(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the snapshot is held")
		}
	}
}
