package db

import (
	"context"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
)

// Migrate brings the database to the newest schema. The files are named
// NNNN_what.sql and run once each, in order, forward only; the number of the
// last one is kept in the table schema_version. A database that is newer than
// the program is refused.
func (d *DB) Migrate(ctx context.Context, files fs.FS) error {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return err
	}
	sort.Strings(names)
	return d.Write(ctx, &Work{Do: func(c *Conn) error {
		if err := c.Exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"); err != nil {
			return &Broken{err}
		}
		have := int64(0)
		if err := c.Query("SELECT coalesce(max(version),0) FROM schema_version", func(s *Stmt) error { have = s.ColInt(0); return nil }); err != nil {
			return &Broken{err}
		}
		last := int64(0)
		for _, name := range names {
			num, _, _ := strings.Cut(name, "_")
			n, err := strconv.ParseInt(num, 10, 64)
			if err != nil {
				return &Broken{fmt.Errorf("migration %s: the name must begin with a number", name)}
			}
			last = n
			if n <= have {
				continue
			}
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return &Broken{err}
			}
			if err := c.Script(string(text)); err != nil {
				return &Broken{fmt.Errorf("migration %s: %w", name, err)}
			}
			if err := c.Exec("INSERT INTO schema_version (version) VALUES ($1)", n); err != nil {
				return &Broken{err}
			}
		}
		if have > last {
			return fmt.Errorf("the database has schema %d, this program knows up to %d: use a newer version", have, last)
		}
		return nil
	}})
}
