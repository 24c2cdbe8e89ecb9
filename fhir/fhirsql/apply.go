package fhirsql

import (
	"context"
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// The operations as they stand in the tables.
const (
	opPost = iota + 1
	opPut
	opPatch
	opDelete
	opErased // a hard delete: only in chg
	opPlaced // the place of an imported version in the past: only in chg, and no change (see import.go); of rid 0: only names were given
)

var methods = [...]string{opPost: "POST", opPut: "PUT", opPatch: "PATCH", opDelete: "DELETE", opErased: "DELETE", opPlaced: ""}

func methodCode(m string) int64 {
	switch m {
	case "POST":
		return opPost
	case "PATCH":
		return opPatch
	case "DELETE":
		return opDelete
	}
	return opPut
}

// scratch is the writer's reusable memory.
type scratch struct {
	reader
	old, now rows
	state    []state
	seen     map[fhir.Key]struct{}
}

// state is what the writer found about the resource of one operation.
type state struct {
	rid     int64 // 0: never heard of
	ver     int64 // of the newest version; 0: none
	seq     fhir.Seq
	live    bool
	op      int64
	only    bool   // it is known to be the only version
	same    bool   // OpPut: the content is equal
	old     []byte // the compressed current body
	oldText []byte // the current stored form, when it was needed
}

// change is a Change with its bodies compressed, outside of the writer.
type change struct {
	*fhir.Change
	bodies [][]byte
	placed []fhir.ImportOp // what Ops are of, if they are imported
	out    []fhir.Applied
}

// Apply implements fhir.Store.
func (s *Store) Apply(ctx context.Context, c *fhir.Change) ([]fhir.Applied, error) {
	ch := &change{Change: c, bodies: make([][]byte, len(c.Ops)), out: make([]fhir.Applied, len(c.Ops))}
	buf := make([]byte, 0, packedSize(c.Ops))
	for i := range c.Ops {
		if c.Ops[i].Kind == fhir.OpPut {
			at := len(buf)
			var err error
			if buf, err = s.pack(buf, c.Ops[i].Key, c.Ops[i].Stored); err != nil {
				return nil, err
			}
			ch.bodies[i] = buf[at:len(buf):len(buf)]
		}
	}
	err := s.db.Write(ctx, &db.Work{
		Size: len(c.Ops), Bulk: c.Bulk, Data: ch,
		Do: func(conn *db.Conn) error { return s.apply(ctx, conn, ch) },
	})
	if err != nil {
		return nil, err
	}
	return ch.out, nil
}

// apply runs in the writer. Everything that can refuse a change is checked
// before the first row is written; an error after that breaks the transaction.
func (s *Store) apply(ctx context.Context, c *db.Conn, ch *change) error {
	if err := s.outdated(); err != nil {
		return err
	}
	if len(ch.Ops) >= manyOps {
		s.expectNew()
	}
	if len(ch.Guards) > 0 {
		if err := s.pending.flush(c); err != nil {
			return &db.Broken{Err: err}
		}
		for i := range ch.Guards {
			if err := s.guard(ctx, c, &ch.Guards[i]); err != nil {
				return err
			}
		}
	}
	if s.distinct(ch.Ops) {
		_, err := s.applyRun(c, ch, 0, len(ch.Ops))
		return err
	}
	return s.applyInOrder(c, ch)
}

// distinct reports whether no resource is named twice, so that all checks can
// be made before the first write.
func (s *Store) distinct(ops []fhir.Op) bool {
	if len(ops) < 2 {
		return true
	}
	if s.work.seen == nil {
		s.work.seen = make(map[fhir.Key]struct{}, len(ops))
	}
	defer clear(s.work.seen)
	for i := range ops {
		s.work.seen[ops[i].Key] = struct{}{}
	}
	return len(s.work.seen) == len(ops)
}

// applyInOrder does operations one after the other, each seeing the ones
// before. A refusal in the middle has to undo rows, hence the savepoint.
func (s *Store) applyInOrder(c *db.Conn, ch *change) error {
	if err := s.pending.flush(c); err != nil {
		return &db.Broken{Err: err}
	}
	if err := c.Exec("SAVEPOINT change"); err != nil {
		return &db.Broken{Err: err}
	}
	dicts := s.dicts()
	last, edition := s.last, s.edition.now
	var marks [4]int
	for i, d := range dicts {
		marks[i] = len(d.fresh)
	}
	for i := range ch.Ops {
		wrote, err := s.applyRun(c, ch, i, i+1)
		if err == nil {
			err = s.pending.flush(c)
			wrote = true
		}
		if err == nil {
			continue
		}
		if b := (*db.Broken)(nil); wrote || asBroken(err, &b) {
			return &db.Broken{Err: err}
		}
		if e := c.Exec("ROLLBACK TO change"); e != nil {
			return &db.Broken{Err: e}
		}
		s.rids.forget()
		s.rids.next = s.rids.limit
		s.last, s.edition.now = last, edition // nobody has seen what was given since
		for i, d := range dicts {
			d.forget(marks[i])
		}
		s.pids.Clear()
		clear(s.texts)
		return err
	}
	if err := c.Exec("RELEASE change"); err != nil {
		return &db.Broken{Err: err}
	}
	return nil
}

func asBroken(err error, b **db.Broken) bool {
	x, ok := err.(*db.Broken)
	*b = x
	return ok
}

func (s *Store) applyRun(c *db.Conn, ch *change, from, to int) (wrote bool, err error) {
	w := &s.work
	w.state = append(w.state[:0], make([]state, to-from)...)
	for i := from; i < to; i++ {
		if err := s.check(c, &ch.Ops[i], &w.state[i-from]); err != nil {
			return false, &fhir.OpError{Index: i, Err: err}
		}
	}
	for i := from; i < to; i++ {
		if err := s.write(c, ch, i, &w.state[i-from]); err != nil {
			return true, &db.Broken{Err: fault.Wrap("fhirsql: write", err)}
		}
	}
	return true, nil
}

// guard compares the matches of a condition with what the caller saw.
func (s *Store) guard(ctx context.Context, c *db.Conn, g *fhir.Guard) error {
	want := g.IDs
	q := *g.Query
	q.Count, q.Total, q.After, q.Includes = max(2, len(want)+1), search.TotalNone, "", nil
	page, err := s.search(ctx, c, &q)
	if err != nil {
		return err
	}
	if len(page.Records) != len(want) && (len(page.Records) < 2 || len(want) < 2) {
		return fhir.ErrStale
	}
	for _, k := range want {
		found := false
		for i := range page.Records {
			found = found || page.Records[i].Key == k
		}
		if !found {
			return fhir.ErrStale
		}
	}
	return nil
}

// check reads the state of the resource of op and decides whether op may happen.
func (s *Store) check(c *db.Conn, op *fhir.Op, st *state) error {
	var err error
	if st.rid, err = s.find(c, op.Key); err != nil {
		return err
	}
	if st.rid != 0 {
		if err := s.current(c, st, op.Kind == fhir.OpPut || op.Kind == fhir.OpDelete || op.Kind == fhir.OpHardDelete); err != nil {
			return err
		}
	}
	switch {
	case op.MustNotExist && st.live:
		return fault.New(fault.Conflict, "%s exists already", op.Key)
	case (op.MustExist || op.IfMatch > 0) && !st.live:
		if st.ver > 0 {
			return &fault.Error{Kind: fault.Gone, Msg: op.Key.String() + " is deleted", Version: st.ver}
		}
		return fault.New(fault.NotFound, "%s is not known", op.Key)
	case op.IfMatch > 0 && op.IfMatch != st.ver:
		return fault.New(fault.Precondition, "the current version of %s is %d, not %d", op.Key, st.ver, op.IfMatch)
	}
	if op.Kind == fhir.OpPut && st.live {
		if st.oldText, err = s.unpack(nil, op.Key, st.old); err != nil {
			return fault.Wrap("fhirsql: decode", err)
		}
		st.same = string(st.oldText) == string(op.Stored)
	}
	return nil
}

// current fills in the newest version of a known rid.
func (s *Store) current(c *db.Conn, st *state, body bool) error {
	if known, ok := s.ahead.states[st.rid]; ok {
		*st = known
		return nil
	}
	if i, ok := s.pending.put[st.rid]; ok {
		b := &s.pending.bodies[i]
		st.ver, st.seq, st.op, st.live, st.old = b.ver, b.seq, b.op, true, b.z
		return nil
	}
	if s.seen.bare(st.rid) {
		return nil
	}
	q, err := c.Prepare("SELECT ver, seq, op, z FROM body WHERE rid=$1")
	if err != nil {
		return err
	}
	defer q.Reset()
	q.Int(0, st.rid)
	ok, err := q.Step()
	if err != nil {
		return err
	}
	if ok {
		st.ver, st.seq, st.op, st.live = q.ColInt(0), fhir.Seq(q.ColInt(1)), q.ColInt(2), true
		if body {
			st.old = q.ColBlob(3, nil)
		}
		return nil
	}
	h, err := c.Prepare("SELECT ver, seq FROM hist WHERE rid=$1 ORDER BY ver DESC LIMIT 1")
	if err != nil {
		return err
	}
	defer h.Reset()
	h.Int(0, st.rid)
	if ok, err = h.Step(); err != nil || !ok {
		return err
	}
	st.ver, st.seq = h.ColInt(0), fhir.Seq(h.ColInt(1))
	return nil
}

// tick returns the next position of the change sequence.
func (s *Store) tick() fhir.Seq {
	s.last = max(s.last+1, fhir.SeqAt(s.opt.Now()))
	if s.pending.tick == 0 {
		s.pending.tick = s.last
	}
	return s.last
}

func (s *Store) write(c *db.Conn, ch *change, i int, st *state) error {
	op := &ch.Ops[i]
	if err := s.defines(c, op); err != nil {
		return err
	}
	s.cache.change(op.Key)
	delete(s.ahead.states, st.rid)
	var err error
	switch op.Kind {
	case fhir.OpPut:
		ch.out[i], err = s.put(c, op, ch.bodies[i], st)
	case fhir.OpDelete:
		ch.out[i], err = s.delete(c, op, st)
	case fhir.OpHardDelete:
		ch.out[i], err = s.erase(c, op, st)
	case fhir.OpPurgeHistory:
		ch.out[i] = fhir.Applied{Outcome: fhir.Updated, Version: st.ver, Seq: st.seq}
		if st.ver == 0 {
			ch.out[i].Outcome = fhir.Absent
			return nil
		}
		err = s.purge(c, st.rid, st.seq)
	}
	return err
}

func (s *Store) put(c *db.Conn, op *fhir.Op, z []byte, st *state) (fhir.Applied, error) {
	if st.same {
		return fhir.Applied{Outcome: fhir.Unchanged, Version: st.ver, Seq: st.seq}, nil
	}
	var err error
	if st.rid == 0 {
		// It may have been named by an earlier operation of this change.
		if st.rid, err = s.intern(c, op.Key); err != nil {
			return fhir.Applied{}, err
		}
	}
	out, err := s.putAs(c, op, z, st, fhir.Applied{Outcome: fhir.Created, Version: st.ver + 1, Seq: s.tick()})
	if err != nil {
		return out, err
	}
	s.logChange(out.Seq, st.rid, out.Version, methodCode(op.Method))
	return out, nil
}

// putAs makes a version the current one, with the number and the place that
// out has. The caller writes its change row.
func (s *Store) putAs(c *db.Conn, op *fhir.Op, z []byte, st *state, out fhir.Applied) (fhir.Applied, error) {
	w := &s.work
	values := op.Values
	if values.Generation != s.reg.Generation() { // extracted before the definitions changed
		var r reader
		if err := s.extract(op.Key, op.Stored, &r); err != nil {
			return out, err
		}
		values = &r.values
	}
	if err := s.build(c, op.Key.Type, st.rid, values, &w.now); err != nil {
		return out, err
	}
	t := s.types.id(op.Key.Type)
	if st.live {
		out.Outcome = fhir.Updated
		if err := s.replaceRows(c, op.Key, st); err != nil {
			return out, err
		}
		if err := s.retire(c, op, t, st); err != nil {
			return out, err
		}
		if err := updateRes(c, st.rid, out.Seq, &w.now.res); err != nil {
			return out, err
		}
		if err := updateBody(c, st.rid, out, methodCode(op.Method), z); err != nil {
			return out, err
		}
	} else {
		if op.NoHistory && st.ver > 0 { // it replaces a deletion
			if err := s.pending.flush(c); err != nil {
				return out, err
			}
			for _, text := range []string{"DELETE FROM hist WHERE seq=$1", "DELETE FROM chg WHERE seq=$1"} {
				if err := c.Exec(text, int64(st.seq)); err != nil {
					return out, err
				}
			}
		}
		s.pending.add(&w.now, st.ver == 0)
		s.pending.addCurrent(headRow{st.rid, t, out.Seq, w.now.res}, bodyRow{st.rid, t, out.Version, out.Seq, methodCode(op.Method), idBytes(op.Key.ID), z})
	}
	if s.pending.full(s.dialect) {
		return out, s.pending.flush(c)
	}
	return out, nil
}

// replaceRows removes the index rows that the old version has and the new one
// has not, and adds the new ones. The old rows are found by extracting the old body again.
func (s *Store) replaceRows(c *db.Conn, k fhir.Key, st *state) error {
	if err := s.pending.flush(c); err != nil {
		return err
	}
	w := &s.work
	if err := s.oldRows(c, k, st); err != nil {
		return err
	}
	var gone, fresh rows
	gone.tok, fresh.tok = less(w.old.tok, w.now.tok)
	gone.ref, fresh.ref = less(w.old.ref, w.now.ref)
	gone.str, fresh.str = less(w.old.str, w.now.str)
	gone.dat, fresh.dat = less(w.old.dat, w.now.dat)
	gone.qty, fresh.qty = less(w.old.qty, w.now.qty)
	gone.cvq, fresh.cvq = less(w.old.cvq, w.now.cvq)
	fresh.txt = w.now.txt
	if s.partial(k.Type) {
		fresh = w.now // rows that the old version should have may not be there yet
	}
	if err := remove(c, &gone); err != nil {
		return err
	}
	s.pending.add(&fresh, false)
	return nil
}

// partial reports whether resources of a type may lack rows of a parameter that
// was defined after they were stored.
func (s *Store) partial(typ string) bool {
	return slices.ContainsFunc(s.reg.Params(typ), (*search.Param).Partial)
}

// oldRows fills s.work.old with the rows of the current body.
func (s *Store) oldRows(c *db.Conn, k fhir.Key, st *state) error {
	w := &s.work
	if st.oldText == nil {
		var err error
		if st.oldText, err = s.unpack(nil, k, st.old); err != nil {
			return err
		}
	}
	if err := s.extract(k, st.oldText, &w.reader); err != nil {
		return err
	}
	return s.build(c, k.Type, st.rid, &w.values, &w.old)
}

// retire moves the current version to the history, or drops it.
func (s *Store) retire(c *db.Conn, op *fhir.Op, t int64, st *state) error {
	if op.NoHistory {
		return c.Exec("DELETE FROM chg WHERE seq=$1", int64(st.seq))
	}
	return c.Exec("INSERT INTO hist (seq, rid, t, ver, op, id, z) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		int64(st.seq), st.rid, t, st.ver, st.op, idBytes(op.Key.ID), st.old)
}

func (s *Store) delete(c *db.Conn, op *fhir.Op, st *state) (fhir.Applied, error) {
	if !st.live {
		return fhir.Applied{Outcome: fhir.Absent, Version: st.ver, Seq: st.seq}, nil
	}
	out := fhir.Applied{Outcome: fhir.Deleted, Version: st.ver + 1, Seq: s.tick()}
	t := s.types.id(op.Key.Type)
	if err := s.dropLive(c, op.Key, st); err != nil {
		return out, err
	}
	if err := s.retire(c, op, t, st); err != nil {
		return out, err
	}
	err := c.Exec("INSERT INTO hist (seq, rid, t, ver, op, id, z) VALUES ($1, $2, $3, $4, $5, $6, NULL)",
		int64(out.Seq), st.rid, t, out.Version, opDelete, idBytes(op.Key.ID))
	if err != nil {
		return out, err
	}
	s.logChange(out.Seq, st.rid, out.Version, opDelete)
	return out, nil
}

// dropLive removes the current version and its index rows.
func (s *Store) dropLive(c *db.Conn, k fhir.Key, st *state) error {
	if err := s.pending.flush(c); err != nil {
		return err
	}
	if err := s.oldRows(c, k, st); err != nil {
		return err
	}
	if err := remove(c, &s.work.old); err != nil {
		return err
	}
	if err := c.Exec("DELETE FROM res WHERE rid=$1", st.rid); err != nil {
		return err
	}
	return c.Exec("DELETE FROM body WHERE rid=$1", st.rid)
}

// erase removes every version. The name keeps its rid, because others may
// refer to it; a later version begins again at 1.
func (s *Store) erase(c *db.Conn, op *fhir.Op, st *state) (fhir.Applied, error) {
	out := fhir.Applied{Outcome: fhir.Absent, Version: st.ver, Seq: st.seq}
	if st.ver == 0 {
		return out, nil
	}
	if st.live {
		if err := s.dropLive(c, op.Key, st); err != nil {
			return out, err
		}
		if err := c.Exec("DELETE FROM chg WHERE seq=$1", int64(st.seq)); err != nil {
			return out, err
		}
	}
	if err := s.purge(c, st.rid, 0); err != nil {
		return out, err
	}
	out = fhir.Applied{Outcome: fhir.Deleted, Version: st.ver, Seq: s.tick()}
	s.logChange(out.Seq, st.rid, st.ver, opErased)
	return out, nil
}

// purge removes the versions in the history but the one of keep: the deletion
// of a deleted resource is its current version. A keep of 0 spares none.
func (s *Store) purge(c *db.Conn, rid int64, keep fhir.Seq) error {
	if err := s.pending.flush(c); err != nil {
		return err
	}
	if err := c.Exec("DELETE FROM chg WHERE seq IN (SELECT seq FROM hist WHERE rid=$1 AND seq<>$2)", rid, int64(keep)); err != nil {
		return err
	}
	return c.Exec("DELETE FROM hist WHERE rid=$1 AND seq<>$2", rid, int64(keep))
}

// logChange adds a row of the change sequence. There is one for each version.
func (s *Store) logChange(seq fhir.Seq, rid, ver, op int64) {
	s.seen.store(rid)
	s.changes++
	s.pending.addChange(chgRow{seq, rid, ver, op})
}

func updateBody(c *db.Conn, rid int64, a fhir.Applied, op int64, z []byte) error {
	st, err := c.Prepare("UPDATE body SET ver=$1, seq=$2, op=$3, z=$4 WHERE rid=$5")
	if err != nil {
		return err
	}
	st.Int(0, a.Version)
	st.Int(1, int64(a.Seq))
	st.Int(2, op)
	st.Blob(3, z)
	st.Int(4, rid)
	return st.Run()
}

func updateRes(c *db.Conn, rid int64, seq fhir.Seq, r *resRow) error {
	st, err := c.Prepare("UPDATE res SET seq=$1, has=$2, st=$3, pat=$4, enc=$5, d1=$6, e1=$7, d2=$8, e2=$9, d3=$10, e3=$11 WHERE rid=$12")
	if err != nil {
		return err
	}
	st.Int(0, int64(seq))
	bindRes(st, 1, r)
	st.Int(11, rid)
	return st.Run()
}

func bindRes(st *db.Stmt, i int, r *resRow) {
	put := func(v int64) {
		if v == null {
			st.Null(i)
		} else {
			st.Int(i, v)
		}
		i++
	}
	put(r.has)
	put(r.st)
	put(r.pat)
	put(r.enc)
	for n := range r.d {
		put(r.d[n])
		put(r.e[n])
	}
}
