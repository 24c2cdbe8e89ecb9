package audit

import (
	"context"
	"os"
	"runtime"
	"testing"
)

// TestSyncFails has a disk that takes records and cannot say that it has them: who
// waits for that is told so, whoever's turn it was to write.
func TestSyncFails(t *testing.T) {
	l, err := Open(t.TempDir(), Options{Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // fsync of it is EINVAL
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	l.io.Lock()
	file := l.seg.file
	l.seg.file = null
	errs := make(chan error)
	for range 3 {
		go func() { errs <- l.Append(context.Background(), true, Record{Kind: "test"}) }()
	}
	for last := int64(0); last < 4; runtime.Gosched() { // one is that of the start
		l.mu.Lock()
		last = l.n
		l.mu.Unlock()
	}
	l.io.Unlock()
	for range 3 {
		if err := <-errs; err == nil {
			t.Error("a record that is not on disk was acknowledged")
		}
	}
	l.io.Lock()
	l.seg.file = file
	l.io.Unlock()
	if err := l.Append(context.Background(), true, Record{Kind: "test"}); err != nil {
		t.Errorf("when it can again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
