package db

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// flushed is a log that notes whether it was brought to disk after it was read.
type flushed struct {
	io.Reader
	rest int // bytes that were not read then; -1 = it was not
	err  error
}

func (f *flushed) Sync() error {
	rest, err := io.ReadAll(f.Reader)
	f.rest = len(rest)
	return errors.Join(err, f.err)
}

// What a killed process wrote is on disk before anything is appended to it, or what a power cut
// leaves of both looks like damage.
func TestLogIsBroughtToDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Write(t.Context(), &Work{Do: func(c *Conn) error { return c.Exec("CREATE TABLE n (v INTEGER)") }}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []error{nil, errors.New("no disk")} {
		log, err := os.Open(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		f := &flushed{Reader: log, rest: -1, err: want}
		if _, err := scanLog(f); !errors.Is(err, want) || f.rest != 0 {
			t.Errorf("%v, want %v; %d bytes were left to read when it was brought to disk", err, want, f.rest)
		}
		_ = log.Close()
	}
}
