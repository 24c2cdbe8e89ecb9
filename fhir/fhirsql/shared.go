package fhirsql

import (
	"context"
	"slices"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// A shared database is written by several nodes. One group of one node writes
// at a time (see platform/db), so that inside a transaction everything holds
// that holds with one writer. What a node keeps in memory follows the others:
// before it is used, the end of the change sequence and of the dictionaries is
// read. That costs one round trip at most, which concurrent readers share (see
// rounds.go), and makes an answer as new as one from the tables.

// tail is what a node has seen of the changes of all nodes.
type tail struct {
	mu    sync.Mutex
	at    fhir.Seq // the read cache is right up to here
	begin fhir.Seq // the newest change when the open transaction began; writer only
	known fhir.Seq // the change up to which the writer knows the end of the rids; writer only
}

const sqlTail = `SELECT coalesce((SELECT max(seq) FROM chg), 0), coalesce((SELECT max(id) FROM type), 0),
coalesce((SELECT max(id) FROM param), 0), coalesce((SELECT max(id) FROM sys), 0), coalesce((SELECT max(id) FROM unit), 0), coalesce((SELECT v FROM meta WHERE k='rid'), 1)`

// newest returns the newest change on c. Names and rids are given together with
// a change, so that nothing is new when it is not.
func newest(c *db.Conn) (seq fhir.Seq, err error) {
	err = c.Query("SELECT coalesce(max(seq), 0) FROM chg", func(st *db.Stmt) error {
		seq = fhir.Seq(st.ColInt(0))
		return nil
	})
	return seq, err
}

// follows is follow when there is something new.
func (s *Store) follows(c *db.Conn) error {
	seq, err := newest(c)
	if err != nil {
		return err
	}
	return s.followTo(c, seq)
}

// followTo is follow when the newest change is not the one that is known.
func (s *Store) followTo(c *db.Conn, seq fhir.Seq) (err error) {
	s.tail.mu.Lock()
	same := seq == s.tail.at
	s.tail.mu.Unlock()
	if !same {
		_, _, err = s.follow(c)
	}
	return err
}

// follow reads the tail on c and brings the dictionaries and the cache up to
// it. It returns the newest change and the end of the rids.
func (s *Store) follow(c *db.Conn) (seq fhir.Seq, rid int64, err error) {
	var ids [4]int64
	err = c.Query(sqlTail, func(st *db.Stmt) error {
		seq, rid = fhir.Seq(st.ColInt(0)), st.ColInt(5)
		for i := range ids {
			ids[i] = st.ColInt(i + 1)
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for i, t := range []struct {
		table string
		d     *dict
	}{{"type", s.types}, {"param", s.params}, {"sys", s.systems}, {"unit", s.units}} {
		if err := t.d.follow(c, t.table, ids[i]); err != nil {
			return 0, 0, err
		}
	}
	s.tail.mu.Lock()
	at := s.tail.at
	s.tail.mu.Unlock()
	if seq <= at {
		return seq, rid, nil
	}
	if err := s.dropChanged(c, at); err != nil {
		return 0, 0, err
	}
	s.tail.mu.Lock()
	s.tail.at = max(s.tail.at, seq)
	s.tail.mu.Unlock()
	return seq, rid, nil
}

// maxFollow is how many changes are looked at one by one; behind more the
// cache starts anew.
const maxFollow = 2000

// dropChanged takes what changed after a place out of the cache.
func (s *Store) dropChanged(c *db.Conn, at fhir.Seq) error {
	keys := []fhir.Key{}
	all := false
	err := c.Query(`SELECT g.op, b.t, b.id, h.t, h.id FROM (SELECT seq, rid, ver, op FROM chg WHERE seq>$1 ORDER BY seq LIMIT $2+0) g
LEFT JOIN body b ON b.rid=g.rid LEFT JOIN hist h ON h.rid=g.rid AND h.ver=g.ver`, func(st *db.Stmt) error {
		col := 1
		if st.ColNull(1) {
			col = 3
		}
		if st.ColInt(0) == opErased || st.ColNull(col) {
			all = true
			return nil
		}
		keys = append(keys, fhir.Key{Type: s.types.name(st.ColInt(col)), ID: idText(st.ColBlob(col+1, nil))})
		return nil
	}, int64(at), maxFollow)
	if err != nil {
		return err
	}
	if all || len(keys) >= maxFollow {
		keys = nil
	}
	s.cache.drop(keys)
	return nil
}

// snapshot is db.ReadTx with the dictionaries as new as the snapshot.
func (s *Store) snapshot(ctx context.Context, f func(*db.Conn) error) error {
	return s.db.ReadTx(ctx, func(c *db.Conn) error {
		if s.shared {
			if err := s.follows(c); err != nil {
				return err
			}
		}
		return f(c)
	})
}

// ahead is what was read for a whole group of changes at its beginning.
type ahead struct {
	absent map[fhir.Key]bool // names that have no rid
	states map[int64]state   // of resources that the open transaction has not written
}

// beginShared runs in the writer when it has got its turn among the nodes.
func (s *Store) beginShared(c *db.Conn, group []*db.Work) error {
	if !s.opened {
		return nil
	}
	seq, err := newest(c)
	if err == nil && seq != s.tail.known {
		seq, s.rids.top, err = s.follow(c)
	}
	if err != nil {
		return err
	}
	s.tail.begin, s.tail.known = seq, seq
	s.last = max(s.last, seq)
	return s.readAhead(c, group)
}

// endShared ends a transaction of the writer: the cache needs not be told of
// its own changes again.
func (s *Store) endShared(committed bool) {
	clear(s.ahead.absent)
	clear(s.ahead.states)
	if !s.shared || !s.opened || !committed {
		return
	}
	s.tail.known = s.last
	s.tail.mu.Lock()
	if s.tail.at == s.tail.begin {
		s.tail.at = s.last
	}
	s.tail.mu.Unlock()
}

// readAhead looks up, with two statements, the names and the current versions
// that the changes of a group are going to ask for.
func (s *Store) readAhead(c *db.Conn, group []*db.Work) error {
	if s.ahead.absent == nil {
		s.ahead = ahead{absent: map[fhir.Key]bool{}, states: map[int64]state{}}
	}
	var own, refs []fhir.Key
	for _, w := range group {
		ch, ok := w.Data.(*change)
		if !ok {
			continue
		}
		for i := range ch.Ops {
			own = append(own, ch.Ops[i].Key)
			if ch.Ops[i].Values != nil {
				refs = s.referred(refs, ch.Ops[i].Values)
			}
		}
	}
	if err := s.readStates(c, own); err != nil {
		return err
	}
	return s.readRids(c, refs)
}

// referred adds the names that references give a rid to, as builder.references does.
func (s *Store) referred(to []fhir.Key, v *search.Values) []fhir.Key {
	for i := range v.References {
		r := &v.References[i]
		k := fhir.Key{Type: r.Type, ID: r.ID}
		if r.Type == "" && r.URL != "" {
			k.ID = r.URL
		}
		if s.rids.get(k) == 0 {
			to = append(to, k)
		}
	}
	return to
}

// names turns keys into the arrays of a statement; one whose type nobody used
// is absent.
func (s *Store) names(keys []fhir.Key) (out []fhir.Key, types []int64, ids [][]byte) {
	seen := make(map[fhir.Key]bool, len(keys))
	for _, k := range keys {
		if seen[k] {
			continue
		}
		seen[k] = true
		t := s.types.id(k.Type)
		if t == 0 && k.Type != "" {
			continue // find knows it without asking
		}
		out, types, ids = append(out, k), append(types, t), append(ids, idBytes(k.ID))
	}
	return out, types, ids
}

func (s *Store) readStates(c *db.Conn, keys []fhir.Key) error {
	list, types, ids := s.names(keys)
	if len(list) == 0 {
		return nil
	}
	st, err := c.Prepare(`SELECT k.rid, b.ver, b.seq, b.op, b.z, h.ver, h.seq FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY q(t, id, i)
LEFT JOIN key k ON k.t=q.t AND k.id=q.id LEFT JOIN body b ON b.rid=k.rid
LEFT JOIN LATERAL (SELECT x.ver, x.seq FROM hist x WHERE x.rid=k.rid AND b.rid IS NULL ORDER BY x.ver DESC LIMIT 1) h ON TRUE ORDER BY q.i`)
	if err != nil {
		return err
	}
	defer st.Reset()
	st.Array(0, types)
	st.Array(1, ids)
	for _, k := range list {
		if ok, err := st.Step(); err != nil || !ok {
			return err
		}
		if st.ColNull(0) {
			s.ahead.absent[k] = true
			continue
		}
		x := state{rid: st.ColInt(0)}
		switch {
		case !st.ColNull(1):
			x.ver, x.seq, x.op, x.live = st.ColInt(1), fhir.Seq(st.ColInt(2)), st.ColInt(3), true
			x.old = st.ColBlob(4, nil)
		case !st.ColNull(5):
			x.ver, x.seq = st.ColInt(5), fhir.Seq(st.ColInt(6))
		}
		s.remember(k, x.rid)
		s.ahead.states[x.rid] = x
	}
	return nil
}

func (s *Store) readRids(c *db.Conn, keys []fhir.Key) error {
	keys = slices.DeleteFunc(keys, func(k fhir.Key) bool { return s.ahead.absent[k] || s.rids.get(k) != 0 })
	list, types, ids := s.names(keys)
	if len(list) == 0 {
		return nil
	}
	st, err := c.Prepare(`SELECT k.rid FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY q(t, id, i)
LEFT JOIN key k ON k.t=q.t AND k.id=q.id ORDER BY q.i`)
	if err != nil {
		return err
	}
	defer st.Reset()
	st.Array(0, types)
	st.Array(1, ids)
	for _, k := range list {
		if ok, err := st.Step(); err != nil || !ok {
			return err
		}
		if st.ColNull(0) {
			s.ahead.absent[k] = true
			continue
		}
		s.remember(k, st.ColInt(0))
	}
	return nil
}

// expect says which bodies record is going to be asked for, in this order.
// Where each statement is a round trip, they are read a chunk at a time.
func (r *run) expect(rids []int64) {
	if r.s.shared && len(rids) > 1 {
		r.expected = rids
	}
}

// fetchChunk is how many bodies are read together.
const fetchChunk = 50

// take returns an expected record, reading it with those that follow.
func (r *run) take(rid int64) (rec fhir.Record, ok bool, err error) {
	if rec, ok = r.fetched[rid]; ok {
		delete(r.fetched, rid)
		return rec, true, nil
	}
	i := slices.Index(r.expected, rid)
	if i < 0 {
		return rec, false, nil
	}
	chunk := r.expected[i:min(i+fetchChunk, len(r.expected))]
	r.expected = r.expected[i+len(chunk):]
	if err := r.fetch(chunk); err != nil {
		return rec, false, err
	}
	rec, ok = r.fetched[rid]
	delete(r.fetched, rid)
	return rec, ok, nil
}

func (r *run) fetch(rids []int64) error {
	r.fetched = make(map[int64]fhir.Record, len(rids))
	st, err := r.c.Prepare("SELECT b.ver, b.seq, b.op, b.z, b.id, b.t, b.rid FROM unnest($1::bigint[]) q(rid) CROSS JOIN body b WHERE b.rid=q.rid")
	if err != nil {
		return err
	}
	defer st.Reset()
	st.Array(0, rids)
	for {
		ok, err := st.Step()
		if err != nil || !ok {
			return err
		}
		rec, err := r.body(st)
		if err != nil {
			return err
		}
		r.fetched[st.ColInt(6)] = rec
	}
}
