package db_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/hygeia-health/hygeia/platform/db"
)

// rotten is a file with rows whose content can be told from their key, in a table and an
// index that are several levels deep, and with pages that were freed and used again.
func rotten(t *testing.T) (path string, model map[int64][]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.db")
	d, err := db.Open(path, db.Options{CheckpointKB: 256})
	if err != nil {
		t.Fatal(err)
	}
	model = map[int64][]byte{}
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 30 {
		err := d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
			if round == 0 {
				if err := c.Exec("CREATE TABLE n (v INTEGER PRIMARY KEY, b BLOB)"); err != nil {
					return err
				}
				if err := c.Exec("CREATE INDEX ix ON n (b)"); err != nil {
					return err
				}
			}
			for range 60 {
				v := r.Int64N(900)
				if r.IntN(4) == 0 {
					delete(model, v)
					if err := c.Exec("DELETE FROM n WHERE v = $1", v); err != nil {
						return err
					}
					continue
				}
				model[v] = fmt.Appendf(nil, "%d-%s", v, strings.Repeat("x", r.IntN(900)))
				if err := c.Exec("INSERT OR REPLACE INTO n (v, b) VALUES ($1, $2)", v, model[v]); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path, model
}

// ask reads each row, by its key and by the index. It returns how many answers were errors, and
// fails on those that are wrong.
func ask(t *testing.T, d *db.DB, model map[int64][]byte) (refused int) {
	t.Helper()
	one := func(query string, arg any, row func(*db.Stmt) bool) {
		if askOne(t, d, query, arg, row) {
			refused++
		}
	}
	for v, b := range model {
		one("SELECT b FROM n WHERE v = $1", v, func(s *db.Stmt) bool { return bytes.Equal(s.ColBlob(0, nil), b) })
		one("SELECT v FROM n WHERE b = $1", b, func(s *db.Stmt) bool { return s.ColInt(0) == v })
	}
	return refused
}

// askOne asks for the one row that fits. It reports whether the answer was the error of damage, and fails on
// any that is wrong.
func askOne(t *testing.T, d *db.DB, query string, arg any, fits func(*db.Stmt) bool) (refused bool) {
	t.Helper()
	found := 0
	err := d.Read(context.Background(), func(c *db.Conn) error {
		return c.Query(query, func(s *db.Stmt) error {
			if found++; !fits(s) {
				t.Errorf("%s with %v: a wrong row", query, arg)
			}
			return nil
		}, arg)
	})
	switch {
	case err != nil && !strings.Contains(err.Error(), "the database file is damaged"):
		t.Errorf("%s: %v", query, err)
	case err == nil && found != 1:
		t.Errorf("%s with %v: %d rows", query, arg, found)
	}
	return err != nil
}

// What a disk changed is never an answer: whichever byte of a file differs, each
// question gets the right answer or an error, and the check of the file says so.
func TestDamageIsNoAnswer(t *testing.T) {
	path, model := rotten(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	bit := func(b []byte, at int) { b[at] ^= 1 << r.IntN(8) }
	for round := range 40 {
		bad := bytes.Clone(good)
		at := 4096 + r.IntN(len(bad)-4096)
		if round%4 == 0 {
			at |= 4095 // the checksum itself
		}
		bit(bad, at)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := db.Open(path, db.Options{})
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		refused := ask(t, d, model)
		if err := d.Check(t.Context()); (err != nil) != (refused > 0) {
			t.Errorf("byte %d: %d answers refused, and the check says %v", at, refused, err)
		}
		if refused == 0 { // a page that no question needs
			err := d.Read(t.Context(), func(c *db.Conn) error {
				return c.Query("SELECT sum(length(b)) FROM n", func(*db.Stmt) error { return nil })
			})
			if err != nil {
				t.Errorf("byte %d: %v", at, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 { // the first page holds the schema; without it there is no database
		bad := bytes.Clone(good)
		bit(bad, 100+r.IntN(3996))
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := db.Open(path, db.Options{})
		if err == nil {
			ask(t, d, model)
			_ = d.Close()
		}
	}
}

// A file that an earlier version made has no checksums, and goes on without.
func TestFileWithoutChecksums(t *testing.T) {
	path, model := rotten(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b[20] != 4 {
		t.Fatalf("a new file has %d reserved bytes in its pages", b[20])
	}
	for at := 0; at < len(b); at += 4096 { // as if SQLite had had other plans with them
		binary.LittleEndian.PutUint32(b[at+4092:], 7)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := db.Open(path, db.Options{}); err == nil {
		if refused := ask(t, d, model); refused != 2*len(model) {
			t.Errorf("%d of %d answers are refused", refused, 2*len(model))
		}
		_ = d.Close()
	}
	old := filepath.Join("testdata", "unsealed.db")
	text, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "b.db")
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(copied, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	was := map[int64][]byte{1: []byte("one"), 2: []byte("two")}
	if refused := ask(t, d, was); refused != 0 {
		t.Error("an old file is refused")
	}
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		was[3] = bytes.Repeat([]byte("three"), 4000)
		return c.Exec("INSERT INTO n (v, b) VALUES ($1, $2)", 3, was[3])
	}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "after a write", d, was)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(copied); err != nil || b[20] != 0 {
		t.Errorf("%v: it has %d reserved bytes now", err, b[20])
	}
}

// Who looks into a file with SQLite's own tools, after a server was killed, brings its log to
// the file; a copy may be made with VACUUM INTO. Neither is damage.
func TestOtherToolsAreNoDamage(t *testing.T) {
	path, model := rotten(t)
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		for v := range model {
			model[v] = fmt.Appendf(model[v], "and %d", v)
			if err := c.Exec("UPDATE n SET b = $1 WHERE v = $2", model[v], v); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	killed, copied := filepath.Join(dir, "killed.db"), filepath.Join(dir, "copied.db")
	for from, to := range map[string]string{path: killed, path + "-wal": killed + "-wal"} {
		b, err := os.ReadFile(from)
		if err != nil || len(b) == 0 {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	tool, err := sqlite.OpenConn("file:"+killed+"?vfs=unix", sqlite.OpenReadWrite, sqlite.OpenURI)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM INTO '" + copied + "'"} {
		if err := sqlitex.ExecuteTransient(tool, query, nil); err != nil {
			t.Fatal(query, err)
		}
	}
	if err := tool.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{killed, copied} {
		d, err := db.Open(path, db.Options{})
		if err != nil {
			t.Fatal(path, err)
		}
		if refused := ask(t, d, model); refused != 0 {
			t.Errorf("%s: %d answers are refused", filepath.Base(path), refused)
		}
		if err := d.QuickCheck(t.Context()); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// large is a file with values that need pages of their own, before others that do: each ends at
// another place of its last page.
func large(t *testing.T) (path string, model map[int64][]byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.db")
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	model = map[int64][]byte{}
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		if err := c.Exec("CREATE TABLE n (v INTEGER PRIMARY KEY, b BLOB, c TEXT)"); err != nil {
			return err
		}
		for v := int64(4100); v < 8300; v++ {
			model[v] = bytes.Repeat([]byte{byte(v), 1, byte(v >> 8)}, int(v)/3+1)[:v]
			if err := c.Exec("INSERT INTO n (v, b, c) VALUES ($1, $2, $3)", v, model[v], strings.Repeat("what follows", 500)); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path, model
}

// askLarge reads each value. It returns how many answers were errors, and fails on those that are wrong.
func askLarge(t *testing.T, d *db.DB, model map[int64][]byte) (refused int) {
	t.Helper()
	for v, b := range model {
		if askOne(t, d, "SELECT b FROM n WHERE v = $1", v, func(s *db.Stmt) bool { return bytes.Equal(s.ColBlob(0, nil), b) }) {
			refused++
		}
	}
	return refused
}

// SQLite may read large values past its memory for pages, and not whole pages of them.
func TestLargeValues(t *testing.T) {
	path, model := large(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(11, 12))
	for round := range 4 {
		bad := bytes.Clone(good)
		for at := 4096; round > 0 && at < len(bad); at += 4096 {
			if bad[at] == 0 { // no page of a tree, but with a part of a value
				bad[at+4+r.IntN(4092)] ^= 1 << r.IntN(8)
			}
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := db.Open(path, db.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if refused := askLarge(t, d, model); round == 0 && refused != 0 || round > 0 && refused != len(model) {
			t.Errorf("round %d: %d of %d answers are refused", round, refused, len(model))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The header says whether there are checksums, and a disk may change that, too.
func TestDamagedHeader(t *testing.T) {
	path, model := rotten(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * 100 {
		if bit/8 != 20 && bit%8 != bit/8%8 { // all bits of the byte that says so, one of each other
			continue
		}
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := db.Open(path, db.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "the database file is damaged") {
				t.Errorf("byte %d: %v", bit/8, err)
			}
			continue
		}
		if refused := ask(t, d, model); refused != 2*len(model) {
			t.Errorf("byte %d, bit %d: %d of %d answers are refused", bit/8, bit%8, refused, 2*len(model))
		}
		_ = d.Close()
	}
}
