package fhirsql

import (
	"context"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// indexVersion is what the rows of a resource hold beside its parameters. A file
// of an older version is indexed again when it is opened.
//
//	1: res.has, txt and unit
const indexVersion = 1

// reindexSlice is how many resources are indexed again in one turn of the
// writer, so that others wait a few milliseconds at most.
const reindexSlice = 100

// Reindex implements fhir.Reindexer.
func (s *Store) Reindex(ctx context.Context, from fhir.ReindexFrom) (next fhir.ReindexFrom, err error) {
	next = from
	err = s.db.Write(ctx, &db.Work{Size: reindexSlice, Bulk: true, Do: func(c *db.Conn) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err = s.reindexSlice(c, from)
		if err != nil {
			return &db.Broken{Err: fault.Wrap("fhirsql: reindex", err)}
		}
		return nil
	}})
	return next, err
}

// reindexSlice adds the rows that the current definitions make of some
// resources. Rows that are there already stay as they are.
func (s *Store) reindexSlice(c *db.Conn, from fhir.ReindexFrom) (fhir.ReindexFrom, error) {
	if err := s.pending.flush(c); err != nil {
		return from, err
	}
	types := map[int64]bool{}
	for _, t := range from.Types {
		types[s.types.id(t)] = true
	}
	type one struct {
		rid, t int64
		id     string
		z      []byte
	}
	var list []one
	next, n := from, 0
	err := c.Query("SELECT rid, t, id, z FROM body WHERE rid>$1 ORDER BY rid LIMIT $2+0", func(st *db.Stmt) error {
		o := one{rid: st.ColInt(0), t: st.ColInt(1)}
		next.After, n = o.rid, n+1
		if len(types) == 0 || types[o.t] {
			o.id, o.z = idText(st.ColBlob(2, nil)), st.ColBlob(3, nil)
			list = append(list, o)
		}
		return nil
	}, from.After, reindexSlice)
	if err != nil {
		return from, err
	}
	w := &s.work
	for i := range list {
		o := &list[i]
		text, err := decodeBody(nil, o.z)
		if err != nil {
			return from, err
		}
		k := fhir.Key{Type: s.types.name(o.t), ID: o.id}
		if err := s.extract(k, text, &w.reader); err != nil {
			return from, err
		}
		if err := s.build(c, k.Type, o.rid, &w.values, &w.now); err != nil {
			return from, err
		}
		s.pending.add(&w.now)
		if err := c.Exec("UPDATE res SET has=$1 WHERE rid=$2", w.now.res.has, o.rid); err != nil {
			return from, err
		}
		// The rows hold strings of the body, which the next one overwrites.
		if err := s.pending.flush(c); err != nil {
			return from, err
		}
	}
	next.Done += int64(len(list))
	next.More = n == reindexSlice
	return next, nil
}

// Size implements fhir.Reindexer: the resources of some types, all without any.
func (s *Store) Size(ctx context.Context, types []string) (n int64, err error) {
	if len(types) == 0 {
		types = s.types.all()
	}
	err = s.db.Read(ctx, func(c *db.Conn) error {
		for _, t := range types {
			if err := c.Query("SELECT count(*) FROM res WHERE t=$1", func(st *db.Stmt) error { n += st.ColInt(0); return nil }, s.types.id(t)); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// renew indexes all resources again when the file is of an older version.
func (s *Store) renew(ctx context.Context, version int64) error {
	if version == indexVersion {
		return nil
	}
	for from := (fhir.ReindexFrom{More: true}); from.More; {
		var err error
		if from, err = s.Reindex(ctx, from); err != nil {
			return err
		}
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("INSERT INTO meta (k, v) VALUES ('index', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v", indexVersion)
	}})
}
