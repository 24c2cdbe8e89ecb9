package fhirsql

import (
	"context"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Read implements fhir.Store.
func (s *Store) Read(ctx context.Context, k fhir.Key) (fhir.Record, error) {
	if s.shared {
		return s.readShared(ctx, k)
	}
	rec, ok, epoch := s.cache.get(k)
	if ok {
		return rec, nil
	}
	rec, rid, err := s.read(ctx, k)
	if err == nil && !rec.Deleted {
		s.cache.put(rec, rid, epoch)
	}
	return rec, err
}

func (s *Store) read(ctx context.Context, k fhir.Key) (rec fhir.Record, rid int64, err error) {
	t := s.types.id(k.Type)
	if t == 0 {
		return rec, 0, unknown(k)
	}
	err = s.db.Read(ctx, func(c *db.Conn) error {
		st, err := c.Prepare("SELECT k.rid, b.ver, b.seq, b.op, b.z FROM key k CROSS JOIN body b WHERE k.t=$1 AND k.id=$2 AND b.rid=k.rid")
		if err != nil {
			return err
		}
		defer st.Reset()
		st.Int(0, t)
		st.Blob(1, idBytes(k.ID))
		ok, err := st.Step()
		if err != nil {
			return err
		}
		if !ok {
			rec, err = s.deletion(c, k, t)
			return err
		}
		rid = st.ColInt(0)
		rec = fhir.Record{Key: k, Version: st.ColInt(1), Seq: fhir.Seq(st.ColInt(2)), Method: methods[st.ColInt(3)]}
		return s.decode(st, 4, &rec)
	})
	return rec, rid, err
}

// decode fills in the stored form from column i.
func (s *Store) decode(st *db.Stmt, i int, rec *fhir.Record) error {
	z := zPool.get()
	defer zPool.put(z)
	*z = st.ColBlob(i, (*z)[:0])
	var err error
	if rec.Stored, err = s.unpack(nil, rec.Key, *z); err != nil {
		return &fault.Error{Kind: fault.Internal, Op: "fhirsql: decode " + rec.Key.Type, Msg: "internal error", Err: err}
	}
	return nil
}

// deletion returns the newest version of a resource without a body: a deletion, or NotFound.
func (s *Store) deletion(c *db.Conn, k fhir.Key, t int64) (rec fhir.Record, err error) {
	rec = fhir.Record{Key: k, Deleted: true, Method: "DELETE"}
	rid, err := lookup(c, t, k.ID)
	if err != nil || rid == 0 {
		return rec, orUnknown(err, k)
	}
	err = c.Query("SELECT ver, seq FROM hist WHERE rid=$1 ORDER BY ver DESC LIMIT 1", func(st *db.Stmt) error {
		rec.Version, rec.Seq = st.ColInt(0), fhir.Seq(st.ColInt(1))
		return nil
	}, rid)
	if err == nil && rec.Version == 0 {
		err = unknown(k)
	}
	return rec, err
}

// ReadVersion implements fhir.Store.
func (s *Store) ReadVersion(ctx context.Context, k fhir.Key, version int64) (rec fhir.Record, err error) {
	rec.Key = k
	err = s.snapshot(ctx, func(c *db.Conn) error {
		rid, err := s.rid(c, k)
		if err != nil || rid == 0 {
			return orUnknown(err, k)
		}
		for _, text := range []string{
			"SELECT ver, seq, op, z FROM body WHERE rid=$1 AND ver=$2",
			"SELECT ver, seq, op, z FROM hist WHERE rid=$1 AND ver=$2",
		} {
			err := c.Query(text, func(st *db.Stmt) error { return s.version(st, 0, &rec) }, rid, version)
			if err != nil || rec.Version != 0 {
				return err
			}
		}
		return fault.New(fault.NotFound, "%s has no version %d", k, version)
	})
	return rec, err
}

// version reads the columns ver, seq, op, z from column i on.
func (s *Store) version(st *db.Stmt, i int, rec *fhir.Record) error {
	rec.Version, rec.Seq = st.ColInt(i), fhir.Seq(st.ColInt(i+1))
	op := st.ColInt(i + 2)
	rec.Method, rec.Deleted = methods[op], op == opDelete
	if rec.Deleted {
		return nil
	}
	return s.decode(st, i+3, rec)
}

func unknown(k fhir.Key) error { return fault.New(fault.NotFound, "%s is not known", k) }

func orUnknown(err error, k fhir.Key) error {
	if err != nil {
		return err
	}
	return unknown(k)
}
