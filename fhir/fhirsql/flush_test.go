package fhirsql

import (
	"testing"

	"github.com/hygeia-health/hygeia/platform/db"
)

// TestFull looks at how many rows are kept until they are inserted: on PostgreSQL few at
// first, so that it has something to do.
func TestFull(t *testing.T) {
	for name, tt := range map[string]struct {
		d          db.Dialect
		times      int
		rows, size int
		want       bool
	}{
		"few":                    {db.Postgres, 0, 1000, 0, false},
		"the first":              {db.Postgres, 0, 1001, 0, true},
		"the second":             {db.Postgres, 1, 2000, 0, false},
		"more of them":           {db.Postgres, 1, 2001, 0, true},
		"no more than that":      {db.Postgres, 5, 8001, 0, true},
		"after very many":        {db.Postgres, 100, 8000, 0, false},
		"large bodies":           {db.Postgres, 5, 10, pendingBytes + 1, true},
		"a file waits for many":  {db.SQLite, 0, 30_000, 0, false},
		"a file and more":        {db.SQLite, 0, 30_001, 0, true},
		"a file after the first": {db.SQLite, 3, 30_000, 0, false},
	} {
		p := pending{times: tt.times, n: tt.rows, bytes: tt.size}
		if got := p.full(dialects[tt.d]); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
