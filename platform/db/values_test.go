package db_test

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
)

// TestValues: what goes in comes out, with the same type, on every engine.
func TestValues(t *testing.T) { dbtest.Each(t, values) }

func values(t *testing.T, path string) {
	d, err := db.Open(path, db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	err = d.Migrate(t.Context(), fstest.MapFS{"migrations/0001_init.sql": {Data: []byte(
		"CREATE TABLE v (id INTEGER NOT NULL, i INTEGER, f REAL, s TEXT, b BLOB, PRIMARY KEY (id)) WITHOUT ROWID;\nCREATE INDEX v_s ON v (s);\n")}})
	if err != nil {
		t.Fatal(err)
	}
	rows := [][]any{
		{int64(1), int64(-1 << 63), 0.1, "", []byte{}},
		{int64(2), int64(1<<63 - 1), -1e300, "é\U0010FFFF", []byte{0, 255}},
		{int64(3), nil, nil, nil, nil},
		{int64(4), int64(0), 0.0, "Z", make([]byte, 100_000)},
		{int64(5), int64(1), 1.0, "a", []byte("x")},
	}
	err = d.Write(t.Context(), &db.Work{Do: func(c *db.Conn) error {
		for _, r := range rows {
			if err := c.Exec("INSERT INTO v (id, i, f, s, b) VALUES ($1, $2, $3, $4, $5)", r...); err != nil {
				return &db.Broken{Err: err}
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	read := func(text string, args ...any) (out [][]any) {
		t.Helper()
		err := d.ReadTx(t.Context(), func(c *db.Conn) error {
			return c.Query(text, func(s *db.Stmt) error {
				row := make([]any, 5)
				for i := range row {
					if row[i] = s.ColValue(i); s.ColNull(i) != (row[i] == nil) {
						t.Errorf("column %d: NULL is %v, the value %v", i, s.ColNull(i), row[i])
					}
					if b, ok := row[i].([]byte); ok && b == nil {
						row[i] = []byte{}
					}
				}
				out = append(out, row)
				return nil
			}, args...)
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const all = "SELECT id, i, f, s, b FROM v"
	if diff := cmp.Diff(rows, read(all+" ORDER BY id")); diff != "" {
		t.Error(diff)
	}
	// Texts are ordered by their bytes, NULL where it is said.
	if diff := cmp.Diff([][]any{rows[2], rows[0], rows[3], rows[4], rows[1]}, read(all+" ORDER BY s NULLS FIRST")); diff != "" {
		t.Error(diff)
	}
	for _, x := range []struct {
		col  string
		arg  any
		want []any
	}{{"s", "", rows[0]}, {"b", []byte{}, rows[0]}, {"b", []byte{0, 255}, rows[1]}, {"i", int64(-1 << 63), rows[0]}, {"f", 0.1, rows[0]}, {"f", int64(1), rows[4]}} {
		if diff := cmp.Diff([][]any{x.want}, read(all+" WHERE "+x.col+"=$1", x.arg)); diff != "" {
			t.Errorf("%s=%v: %s", x.col, x.arg, diff)
		}
	}
	// The sum of integers is one too.
	if got := read("SELECT count(*), sum(i), max(f), min(s), NULL FROM v WHERE id>=$1", 4); got[0][0] != int64(2) || got[0][1] != int64(1) {
		t.Errorf("count and sum: %v", got)
	}
}
