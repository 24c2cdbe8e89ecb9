package fhirsql

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// indexVersion is what the rows of a resource hold beside its parameters. A file
// of an older version is indexed again when it is opened.
//
//	1: res.has, txt and unit
//	2: what contained resources hold, and the first resource of a document or message
const indexVersion = 2

// reindexSlice is how many resources are indexed again in one turn of the
// writer, so that others wait a few milliseconds at most.
const reindexSlice = 100

// renewSlice is the same when nobody waits, because the store is being opened.
const renewSlice = 1000

// Reindex implements fhir.Reindexer.
func (s *Store) Reindex(ctx context.Context, from fhir.ReindexFrom) (next fhir.ReindexFrom, err error) {
	limit := reindexSlice
	if from.Limit > 0 {
		limit = min(limit, from.Limit)
	}
	next = from
	err = s.reindexing(ctx, limit, func(c *db.Conn) (err error) {
		next, err = s.reindexSlice(c, from, limit, nil)
		return err
	})
	return next, err
}

// ReindexOne implements fhir.Reindexer.
func (s *Store) ReindexOne(ctx context.Context, k fhir.Key) error {
	return s.reindexing(ctx, 1, func(c *db.Conn) error {
		rid, err := s.find(c, k)
		if err != nil || rid == 0 {
			return err
		}
		st := state{rid: rid}
		if err := s.current(c, &st, true); err != nil || !st.live {
			return err
		}
		return s.reindexBody(c, k, rid, st.old, nil)
	})
}

// reindexing is a turn of the writer.
func (s *Store) reindexing(ctx context.Context, size int, do func(*db.Conn) error) error {
	return s.db.Write(ctx, &db.Work{Size: size, Bulk: true, Do: func(c *db.Conn) error {
		if err := cmp.Or(ctx.Err(), s.outdated()); err != nil {
			return err
		}
		err := s.pending.flush(c)
		top := s.rids.top
		if err == nil {
			err = do(c)
		}
		// Other nodes look for new names where the change sequence has grown.
		if err == nil && (s.rids.top != top || s.fresh()) {
			s.logChange(s.tick(), 0, 0, opPlaced)
		}
		if err != nil {
			return &db.Broken{Err: fault.Wrap("fhirsql: reindex", err)}
		}
		return nil
	}})
}

// reindexSlice adds the rows that the current definitions make of some
// resources, of those that only picks if it is set. Rows that are there already stay as they are.
func (s *Store) reindexSlice(c *db.Conn, from fhir.ReindexFrom, limit int, only func(stored []byte) bool) (fhir.ReindexFrom, error) {
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
	}, from.After, limit)
	if err != nil {
		return from, err
	}
	for i := range list {
		o := &list[i]
		k := fhir.Key{Type: s.types.name(o.t), ID: o.id}
		err := s.reindexBody(c, k, o.rid, o.z, only)
		if bad, ok := errors.AsType[*unreadable](err); ok {
			next.Pass(k)
			s.warnUnread(k, bad.error)
			continue
		}
		if err != nil {
			return from, err
		}
	}
	next.Done += int64(len(list))
	next.More = n == limit
	return next, nil
}

// unreadable is the error of a stored form that is damaged. The other resources
// can be indexed all the same.
type unreadable struct{ error }

// Unwrap returns the cause.
func (u *unreadable) Unwrap() error { return u.error }

func (s *Store) warnUnread(k fhir.Key, err error) {
	if s.opt.Log != nil {
		s.opt.Log.LogAttrs(context.Background(), slog.LevelWarn, "a resource cannot be read and keeps its index rows",
			slog.String("resource", k.String()), slog.Any("err", err))
	}
}

// reindexBody adds the rows of one resource.
func (s *Store) reindexBody(c *db.Conn, k fhir.Key, rid int64, z []byte, only func(stored []byte) bool) error {
	w := &s.work
	text, err := s.unpack(nil, k, z)
	switch {
	case errors.Is(err, errNoKeys):
		return err
	case err != nil:
		return &unreadable{err}
	case only != nil && !only(text):
		return nil
	}
	if err := s.extract(k, text, &w.reader); err != nil {
		return &unreadable{err}
	}
	if err := s.build(c, k.Type, rid, &w.values, &w.now); err != nil {
		return err
	}
	s.pending.add(&w.now, false)
	if err := c.Exec("UPDATE res SET has=$1 WHERE rid=$2", w.now.res.has, rid); err != nil {
		return err
	}
	return s.pending.flush(c) // the rows hold strings of the body, which the next one overwrites
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

// renew indexes resources again when the file is of an older version: all, or
// only those that the newer versions have more rows of.
func (s *Store) renew(ctx context.Context, version int64) error {
	if version == indexVersion {
		return nil
	}
	var only func(stored []byte) bool
	if version == 1 {
		only = func(stored []byte) bool {
			return slices.ContainsFunc([]string{`"contained"`, `"Composition"`, `"MessageHeader"`}, func(s string) bool {
				return bytes.Contains(stored, []byte(s))
			})
		}
	}
	for from := (fhir.ReindexFrom{More: true}); from.More; {
		var next fhir.ReindexFrom
		err := s.reindexing(ctx, renewSlice, func(c *db.Conn) (err error) {
			next, err = s.reindexSlice(c, from, renewSlice, only)
			return err
		})
		if err != nil {
			return err
		}
		from = next
	}
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		return c.Exec("INSERT INTO meta (k, v) VALUES ('index', $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v", indexVersion)
	}})
}
