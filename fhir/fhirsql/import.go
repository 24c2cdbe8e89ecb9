package fhirsql

import (
	"context"
	"slices"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

var _ fhir.Importer = (*Store)(nil)

// Import implements fhir.Importer.
//
// A version may belong into the past. Its Seq is then one of its own
// millisecond, so that history and _lastUpdated see it where it belongs. The
// change itself happens now: the change sequence gets two rows, one at that Seq
// with the operation opPlaced, which only gives the order, and one at the end
// with the real operation, for all who follow the changes.
func (s *Store) Import(ctx context.Context, ops []fhir.ImportOp) func() ([]fhir.Imported, error) {
	out := make([]fhir.Imported, len(ops))
	ch := &change{Change: &fhir.Change{Ops: make([]fhir.Op, len(ops)), Bulk: true}, bodies: make([][]byte, len(ops)), placed: ops}
	for i := range ops {
		ch.Ops[i] = ops[i].Op
	}
	total := packedSize(ch.Ops)
	mem := bodyPool.Get().(*[]byte)
	buf := slices.Grow((*mem)[:0], total)
	for i := range ops {
		if ops[i].Kind == fhir.OpPut {
			at := len(buf)
			var err error
			if buf, err = s.pack(buf, ops[i].Key, ops[i].Stored); err != nil {
				return func() ([]fhir.Imported, error) { return nil, err }
			}
			ch.bodies[i] = buf[at:len(buf):len(buf)]
		}
	}
	work := &db.Work{Size: len(ops), Bulk: true, Data: ch, Do: func(c *db.Conn) error {
		if err := s.outdated(); err != nil {
			return err
		}
		s.expectNew()
		for i := range ops {
			var err error
			if out[i].Applied, err = s.importOne(c, &ops[i], ch.bodies[i]); err == nil {
				out[i].Err = nil
				continue
			}
			if !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Invalid) {
				return &db.Broken{Err: fault.Wrap("fhirsql: import", err)}
			}
			out[i].Err = err // found before the first row was written
		}
		return nil
	}}
	err := s.db.Submit(work)
	return func() ([]fhir.Imported, error) {
		if err == nil {
			err = work.Wait(ctx)
		}
		if err != nil {
			return nil, err
		}
		if *mem = buf; cap(buf) <= 2<<20 {
			bodyPool.Put(mem)
		}
		return out, nil
	}
}

// bodyPool is memory for the compressed bodies of one call of Import.
var bodyPool = sync.Pool{New: func() any { return new([]byte) }}

func (s *Store) importOne(c *db.Conn, op *fhir.ImportOp, z []byte) (fhir.Applied, error) {
	st := &state{}
	var err error
	if st.rid, err = s.find(c, op.Key); err != nil {
		return fhir.Applied{}, err
	}
	if st.rid != 0 {
		if err := s.current(c, st, true); err != nil {
			return fhir.Applied{}, err
		}
	}
	p, err := s.place(c, op, st)
	if err != nil {
		return fhir.Applied{}, err
	}
	if p.Unchanged || op.NoHistory && !p.Newest {
		return fhir.Applied{Outcome: fhir.Unchanged, Version: p.Version, Seq: st.seq}, nil
	}
	a := fhir.Applied{Outcome: fhir.Created, Version: p.Version}
	past := false
	if op.Time.IsZero() || op.Initial {
		a.Seq = s.tick()
	} else if a.Seq, err = s.seqWithin(c, op, p); err != nil {
		return fhir.Applied{}, err
	} else if past = a.Seq <= s.last; !past {
		s.last = a.Seq
	}
	if err := s.defines(c, &op.Op); err != nil {
		return fhir.Applied{}, err
	}
	s.cache.change(op.Key)
	delete(s.ahead.states, st.rid)
	if st.rid == 0 {
		if st.rid, err = s.intern(c, op.Key); err != nil {
			return a, err
		}
	}
	switch {
	case !p.Newest:
		a.Outcome, err = fhir.Updated, s.putOlder(c, op, z, st, a)
	case op.Kind == fhir.OpPut:
		a, err = s.putAs(c, &op.Op, z, st, a)
	default:
		a, err = s.deleteAs(c, &op.Op, st, a)
	}
	if err != nil {
		return a, err
	}
	s.logImport(a, st.rid, methodCode(op.Method), past)
	return a, nil
}

// place finds the versions that are needed and asks fhir.Place.
func (s *Store) place(c *db.Conn, op *fhir.ImportOp, st *state) (fhir.Placement, error) {
	var list []fhir.Placed
	if st.ver != 0 {
		cur := fhir.Placed{Version: st.ver, Seq: st.seq, Deleted: !st.live}
		if !st.only && op.NeedsAll(cur) {
			err := c.Query("SELECT ver, seq, op FROM hist WHERE rid=$1 ORDER BY ver", func(q *db.Stmt) error {
				list = append(list, fhir.Placed{Version: q.ColInt(0), Seq: fhir.Seq(q.ColInt(1)), Deleted: q.ColInt(2) == opDelete})
				return nil
			}, st.rid)
			if err != nil {
				return fhir.Placement{}, err
			}
		}
		if st.live || len(list) == 0 {
			list = append(list, cur)
		}
	}
	return fhir.Place(list, op, s.opt.Now(), func(i int) (bool, error) { return s.sameAs(c, list[i], op, st) })
}

// sameAs compares the content of a version that is no deletion.
func (s *Store) sameAs(c *db.Conn, v fhir.Placed, op *fhir.ImportOp, st *state) (bool, error) {
	z := st.old
	if v.Version != st.ver || !st.live {
		z = nil
		err := c.Query("SELECT z FROM hist WHERE seq=$1", func(q *db.Stmt) error {
			z = q.ColBlob(0, nil)
			return nil
		}, int64(v.Seq))
		if err != nil {
			return false, err
		}
	}
	text, err := s.unpack(nil, op.Key, z)
	return err == nil && string(text) == string(op.Stored), fault.Wrap("fhirsql: decode", err)
}

// seqWithin returns a free place of the version's millisecond between its neighbours.
func (s *Store) seqWithin(c *db.Conn, op *fhir.ImportOp, p fhir.Placement) (fhir.Seq, error) {
	first, middle, end := fhir.Within(op.Time)
	top, ok := s.placed[first]
	if !ok {
		top, ok = s.ahead.places[first]
		top = max(top, middle-1)
	}
	if !ok {
		if s.pending.tick != 0 && s.pending.tick < end {
			if err := s.pending.flush(c); err != nil {
				return 0, err
			}
		}
		top = middle - 1
		err := c.Query("SELECT coalesce(max(seq), $1) FROM chg WHERE seq>=$2 AND seq<$3", func(q *db.Stmt) error {
			top = max(top, fhir.Seq(q.ColInt(0)))
			return nil
		}, int64(top), int64(first), int64(end))
		if err != nil {
			return 0, err
		}
	}
	if s.last < end { // this millisecond has not passed
		top = max(top, s.last)
	}
	if next := max(top, p.After) + 1; next < p.Before && next < end {
		if s.placed == nil {
			s.placed = map[fhir.Seq]fhir.Seq{}
		}
		s.placed[first] = next
		return next, nil
	}
	// A newer version has the same millisecond: stand before it.
	if err := s.pending.flush(c); err != nil {
		return 0, err
	}
	for seq := min(p.Before, end) - 1; seq > p.After && seq >= first; seq-- {
		free := true
		err := c.Query("SELECT 1 FROM chg WHERE seq=$1", func(*db.Stmt) error { free = false; return nil }, int64(seq))
		if err != nil || free {
			return seq, err
		}
	}
	return 0, fault.At(fault.Conflict, "conflict", "meta.lastUpdated", "no more versions with this meta.lastUpdated can be stored")
}

// putOlder adds a version to the history.
func (s *Store) putOlder(c *db.Conn, op *fhir.ImportOp, z []byte, st *state, a fhir.Applied) error {
	var body any
	if op.Kind == fhir.OpPut {
		body = z
	}
	return c.Exec("INSERT INTO hist (seq, rid, t, ver, op, id, z) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		int64(a.Seq), st.rid, s.types.id(op.Key.Type), a.Version, methodCode(op.Method), idBytes(op.Key.ID), body)
}

// deleteAs makes a deletion the current version, also of a resource that was never here.
func (s *Store) deleteAs(c *db.Conn, op *fhir.Op, st *state, a fhir.Applied) (fhir.Applied, error) {
	a.Outcome = fhir.Deleted
	t := s.types.id(op.Key.Type)
	if st.live {
		if err := s.dropLive(c, op.Key, st); err != nil {
			return a, err
		}
		if err := s.retire(c, op, t, st); err != nil {
			return a, err
		}
	}
	return a, c.Exec("INSERT INTO hist (seq, rid, t, ver, op, id, z) VALUES ($1, $2, $3, $4, $5, $6, NULL)",
		int64(a.Seq), st.rid, t, a.Version, opDelete, idBytes(op.Key.ID))
}

// logImport writes the change rows of an imported version.
func (s *Store) logImport(a fhir.Applied, rid, op int64, past bool) {
	if past {
		s.logChange(a.Seq, rid, a.Version, opPlaced)
		a.Seq = s.tick()
	}
	s.logChange(a.Seq, rid, a.Version, op)
}

// settlePlaced forgets what holds inside one transaction only.
func (s *Store) settlePlaced() {
	if len(s.placed) > 0 {
		s.placed = nil
	}
}
