package db_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
)

// frame is the size of a frame of the log, with its header.
const frame = 24 + 4096

// logged is a database as a crash leaves it: a file and a log with one change after the
// other, of one page and of many. It returns where in the log each change ends.
func logged(t *testing.T) (file, log []byte, ends []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for n := range 12 {
		err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
			if n == 0 {
				return c.Exec("CREATE TABLE n (v INTEGER PRIMARY KEY, b BLOB)")
			}
			return c.Exec("INSERT INTO n (v, b) VALUES ($1, $2)", n, bytes.Repeat([]byte{byte(n)}, 1+n%3*9000))
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if log, err = os.ReadFile(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	for at := 32; at+frame <= len(log); at += frame {
		if binary.BigEndian.Uint32(log[at+4:]) != 0 {
			ends = append(ends, at+frame)
		}
	}
	if len(ends) != 12 {
		t.Fatalf("%d changes in the log", len(ends))
	}
	return file, log, ends
}

// reopen opens a file with a log and returns how many rows it has.
func reopen(t *testing.T, file, log []byte) (rows int64, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.db")
	for name, text := range map[string][]byte{path: file, path + "-wal": log} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := db.Open(path, db.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }()
	err = d.Read(t.Context(), func(c *db.Conn) error {
		return c.Query("SELECT max(v) FROM n", func(s *db.Stmt) error {
			rows = s.ColInt(0)
			return nil
		})
	})
	return rows, err
}

// A byte that a disk changed in the log is told; SQLite would drop the changes behind it,
// which were acknowledged. Only in the last one, and in the header of the frame before it, it cannot be
// told from a crash.
func TestDamagedLogIsTold(t *testing.T) {
	file, log, ends := logged(t)
	if n, err := reopen(t, file, log); n != 11 || err != nil {
		t.Fatalf("%d rows, %v", n, err)
	}
	last := ends[len(ends)-2] // where the last change begins
	unsure := last - frame    // the header before it
	r := rand.New(rand.NewPCG(7, 8))
	places := []int{0, 9, 17, 25, 31} // the header
	for at := 32; at < len(log); at += frame {
		places = append(places, at+r.IntN(24), at+24+r.IntN(4096))
	}
	for _, at := range places {
		bad := bytes.Clone(log)
		bad[at] ^= 1 << r.IntN(8)
		n, err := reopen(t, file, bad)
		switch {
		case err == nil && at >= last:
			if n != 10 {
				t.Errorf("byte %d, of the last change: %d rows", at, n)
			}
		case err == nil && at >= unsure && at < unsure+24:
			if n != 9 {
				t.Errorf("byte %d, of the header before the last change: %d rows", at, n)
			}
		case err == nil || !strings.Contains(err.Error(), "the log is damaged"):
			t.Errorf("byte %d of %d: %d rows, %v", at, len(log), n, err)
		default: // what the message advises
			var keep int
			_, advice, _ := strings.Cut(err.Error(), "-wal to ")
			if _, err := fmt.Sscanf(advice, "%d bytes", &keep); err != nil || keep > at {
				t.Fatalf("byte %d: %q", at, advice)
			}
			whole := 0
			for _, end := range ends {
				if end <= keep {
					whole++
				}
			}
			if whole == 0 {
				continue // not even the table is there
			}
			if n, err := reopen(t, file, bad[:keep]); int(n) != whole-1 || err != nil {
				t.Errorf("byte %d, shortened to %d: %d rows, %v", at, keep, n, err)
			}
		}
	}
}

// A log that a crash cut short, or whose end it left half written, has what was acknowledged.
func TestTornLogIsOpened(t *testing.T) {
	file, log, ends := logged(t)
	r := rand.New(rand.NewPCG(9, 10))
	for range 60 {
		at := ends[0] + r.IntN(len(log)-ends[0])
		whole := 0
		for _, end := range ends {
			if end <= at {
				whole++
			}
		}
		next := ends[min(whole, len(ends)-1)]
		holes := bytes.Clone(log[:next]) // of the next change some parts reached the disk
		for i := at; i < next; i++ {
			if i%512 == 0 && r.IntN(2) == 0 || i == at {
				clear(holes[i:min(i+512, next)])
			}
		}
		old := bytes.Clone(holes) // and behind it are frames of an earlier log
		for i := range 20 {
			f := bytes.Clone(log[32:][i*frame : (i+1)*frame])
			f[11]++
			old = append(old, f...)
		}
		for name, text := range map[string][]byte{"cut": log[:at], "holes": holes, "an old log behind": old} {
			n, err := reopen(t, file, text)
			if int(n) != whole-1 && int(n) != whole || err != nil {
				t.Errorf("%s at %d: %d rows of %d, %v", name, at, n, whole-1, err)
			}
		}
	}
}
