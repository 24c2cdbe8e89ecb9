package fhirsql

import (
	"cmp"
	"context"
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
	known fhir.Seq // the change up to which the writer knows names and the end of the rids; writer only
	// others says that another node wrote between the last two transactions; writer only.
	others bool
}

// sqlTail asks for the last row of each table: PostgreSQL makes the same of max, but two plans one in
// the other, which takes it longer to begin than to run.
const sqlTail = `SELECT coalesce((SELECT seq FROM chg ORDER BY seq DESC LIMIT 1), 0), coalesce((SELECT id FROM type ORDER BY id DESC LIMIT 1), 0),
coalesce((SELECT id FROM param ORDER BY id DESC LIMIT 1), 0), coalesce((SELECT id FROM sys ORDER BY id DESC LIMIT 1), 0),
coalesce((SELECT id FROM unit ORDER BY id DESC LIMIT 1), 0), coalesce((SELECT v FROM meta WHERE k='rid'), 1),
coalesce((SELECT v FROM meta WHERE k='sp'), 0)`

const (
	sqlNewest = "SELECT coalesce((SELECT seq FROM chg ORDER BY seq DESC LIMIT 1), 0)"
	// At the beginning of a transaction the grants of other nodes are counted, too (see db.Trust).
	sqlBegin     = "SELECT coalesce(max(seq), 0), coalesce((SELECT v FROM meta WHERE k='sp'), 0), " + db.Trusting + " FROM chg"
	sqlBeginTail = sqlTail + ", " + db.Trusting
)

// newest returns the newest change on c. Names and rids are given together with
// a change, so that nothing is new when it is not.
func newest(c *db.Conn) (seq fhir.Seq, err error) {
	err = c.Query(sqlNewest, func(st *db.Stmt) error {
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
		err = s.follow(c)
	}
	return err
}

// ends is where the change sequence, the dictionaries and the rids end.
type ends struct {
	seq     fhir.Seq
	names   [4]int64 // of dicts
	rid     int64
	edition int64 // of the search parameters
}

func (e *ends) read(st *db.Stmt) {
	e.seq, e.rid, e.edition = fhir.Seq(st.ColInt(0)), st.ColInt(5), st.ColInt(6)
	for i := range e.names {
		e.names[i] = st.ColInt(i + 1)
	}
}

func readEnds(c *db.Conn) (e ends, err error) {
	err = c.Query(sqlTail, func(st *db.Stmt) error { e.read(st); return nil })
	return e, err
}

// learn reads the names that other nodes gave.
func (s *Store) learn(c *db.Conn, e *ends) error {
	for i, d := range s.dicts() {
		if err := d.follow(c, e.names[i]); err != nil {
			return err
		}
	}
	return nil
}

// follow reads the ends on c and brings the dictionaries and the cache up to them.
func (s *Store) follow(c *db.Conn) error {
	e, err := readEnds(c)
	if err != nil {
		return err
	}
	if err := s.learn(c, &e); err != nil {
		return err
	}
	s.tail.mu.Lock()
	at := s.tail.at
	s.tail.mu.Unlock()
	if e.seq <= at {
		return nil
	}
	if err := s.dropChanged(c, at); err != nil {
		return err
	}
	s.tail.mu.Lock()
	s.tail.at = max(s.tail.at, e.seq)
	s.tail.mu.Unlock()
	return nil
}

// regain is catchUp for a new grant. Rows of the index that another node made of what
// there was already are not in the change sequence: what was counted before is forgotten.
func (s *Store) regain(ctx context.Context) error {
	err := s.catchUp(ctx, nil)
	s.cache.drop([]fhir.Key{})
	return err
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

// attempt runs an f that may run several times on one moment of the tables. While
// what is remembered can be trusted (see db.Trust) it is told that it may use the
// cache of the epoch, the number of commits that this node had made before.
// Otherwise it does not wait for the check of the dictionaries, which comes
// together with its first answer: names are given rarely.
func (s *Store) attempt(ctx context.Context, epoch uint64, f func(c *db.Conn, cached bool) error) error {
	if !s.shared {
		return s.db.ReadTx(ctx, func(c *db.Conn) error { return f(c, true) })
	}
	if grant := s.trust.Grant(); grant != 0 && s.cache.calm(epoch) {
		// Each statement sees the same as long as nobody commits.
		err := s.db.Read(ctx, func(c *db.Conn) error { return f(c, true) })
		if s.cache.still(epoch) && s.trust.Grant() == grant || ctx.Err() != nil {
			return err
		}
	}
	return s.db.ReadTx(ctx, func(c *db.Conn) error {
		st, err := c.Prepare(sqlNewest)
		if err != nil {
			return err
		}
		defer st.Reset()
		if err := st.Ahead(); err != nil {
			return err
		}
		before := s.named()
		failed := f(c, false)
		if ctx.Err() != nil {
			return failed
		}
		if ok, err := st.Step(); err != nil || !ok {
			return cmp.Or(failed, err)
		}
		if err := s.followTo(c, fhir.Seq(st.ColInt(0))); err != nil {
			return cmp.Or(failed, err)
		}
		if s.named() == before {
			return failed
		}
		return f(c, false)
	})
}

// named counts the names that this node knows.
func (s *Store) named() (n int64) {
	for _, d := range s.dicts() {
		d.mu.RLock()
		n += d.known
		d.mu.RUnlock()
	}
	return n
}

// ahead is what was read for a whole group of changes at its beginning.
type ahead struct {
	absent map[fhir.Key]bool     // names that have no rid
	states map[int64]state       // of resources that the open transaction has not written
	places map[fhir.Seq]fhir.Seq // by the first Seq of a millisecond that has passed: the last one in it, or the one before
	// untyped are names whose type nobody used, as far as this node knew then.
	untyped []fhir.Key
}

// beginShared runs in the writer when it has got its turn among the nodes. What
// it asks goes in one round trip, together with the beginning of the
// transaction; only names that other nodes gave take more.
func (s *Store) beginShared(c *db.Conn, group []*db.Work) error {
	if !s.opened {
		return nil
	}
	t := &s.tail
	text := sqlBegin
	if t.others { // they have written again, most likely
		text = sqlBeginTail
	}
	end, err := c.Prepare(text)
	if err != nil {
		return err
	}
	defer end.Reset()
	end.Int(0, c.Node())
	if err := end.Ahead(); err != nil {
		return err
	}
	read, err := s.readAhead(c, group)
	if err != nil {
		return err
	}
	if ok, err := end.Step(); err != nil || !ok {
		return err
	}
	e, trusted := ends{seq: fhir.Seq(end.ColInt(0)), edition: end.ColInt(1)}, end.ColInt(2)
	if t.others {
		e.read(end)
		trusted = end.ColInt(7)
	}
	if trusted > 0 {
		if err := c.Revoke(); err != nil {
			return err
		}
	}
	switch {
	case t.others:
	case e.seq != t.known:
		if e, err = readEnds(c); err != nil {
			return err
		}
	}
	t.others = e.seq != t.known
	c.Others(t.others)
	if t.others {
		// The cache is for readers to bring up to date: nobody shall wait for it.
		s.rids.top = e.rid
		if err := s.learn(c, &e); err != nil {
			return err
		}
	}
	if !t.others { // who could have used their types
		for _, k := range s.ahead.untyped {
			s.ahead.absent[k] = true
		}
	}
	t.begin, t.known = e.seq, e.seq
	s.edition.now, s.edition.kept = e.edition, e.edition
	s.last = max(s.last, e.seq)
	return read()
}

// endShared ends a transaction of the writer: the cache needs not be told of
// its own changes again.
func (s *Store) endShared(committed bool) {
	clear(s.ahead.absent)
	clear(s.ahead.states)
	clear(s.ahead.places)
	clear(s.ahead.untyped)
	s.ahead.untyped = s.ahead.untyped[:0]
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

// readAhead asks, with two statements, for the names and the current versions
// that the changes of a group are going to need; read takes the answers.
func (s *Store) readAhead(c *db.Conn, group []*db.Work) (read func() error, err error) {
	if s.ahead.absent == nil {
		s.ahead = ahead{absent: map[fhir.Key]bool{}, states: map[int64]state{}, places: map[fhir.Seq]fhir.Seq{}}
	}
	seen := map[fhir.Key]bool{}
	var own, refs []fhir.Key
	placed := false
	for _, w := range group {
		ch, ok := w.Data.(*change)
		if !ok {
			continue
		}
		placed = placed || ch.placed != nil
		for i := range ch.Ops {
			if k := ch.Ops[i].Key; !seen[k] {
				seen[k] = true
				own = append(own, k)
			}
		}
	}
	for _, w := range group {
		ch, ok := w.Data.(*change)
		if !ok {
			continue
		}
		for i := range ch.Ops {
			if ch.Ops[i].Values != nil {
				refs = s.referred(refs, seen, ch.Ops[i].Values)
			}
		}
	}
	states, err := s.askStates(c, own, placed)
	if err != nil {
		return nil, err
	}
	names, err := s.askRids(c, refs)
	if err != nil {
		return nil, err
	}
	places, err := s.askPlaces(c, group)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := states(); err != nil {
			return err
		}
		if err := names(); err != nil {
			return err
		}
		return places()
	}, nil
}

// referred adds the names that references give a rid to, as builder.references
// does, without those that were seen.
func (s *Store) referred(to []fhir.Key, seen map[fhir.Key]bool, v *search.Values) []fhir.Key {
	for i := range v.References {
		r := &v.References[i]
		k := fhir.Key{Type: r.Type, ID: r.ID}
		if r.Type == "" && r.URL != "" {
			k.ID = r.URL
		}
		if !seen[k] && s.rids.get(k) == 0 {
			seen[k] = true
			to = append(to, k)
		}
	}
	return to
}

// ask sends a statement that takes names as two arrays, and calls row for each
// of them when read is called. A name whose type nobody used is not asked for.
func (s *Store) ask(c *db.Conn, text string, keys []fhir.Key, row func(*db.Stmt, fhir.Key)) (read func() error, err error) {
	var list []fhir.Key
	var types []int64
	var ids [][]byte
	for _, k := range keys {
		if t := s.types.id(k.Type); t != 0 || k.Type == "" {
			list, types, ids = append(list, k), append(types, t), append(ids, idBytes(k.ID))
		} else {
			s.ahead.untyped = append(s.ahead.untyped, k)
		}
	}
	if len(list) == 0 {
		return func() error { return nil }, nil
	}
	st, err := c.Prepare(text)
	if err != nil {
		return nil, err
	}
	st.Array(0, types)
	st.Array(1, ids)
	if err := st.Ahead(); err != nil {
		return nil, err
	}
	return func() error {
		defer st.Reset()
		for _, k := range list {
			if ok, err := st.Step(); err != nil || !ok {
				return err
			}
			if st.ColNull(0) {
				s.ahead.absent[k] = true
				continue
			}
			s.remember(k, st.ColInt(0))
			row(st, k)
		}
		return nil
	}, nil
}

const (
	sqlRids = `SELECT k.rid FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY q(t, id, i)
LEFT JOIN key k ON k.t=q.t AND k.id=q.id ORDER BY q.i`
	sqlStates = "SELECT k.rid, b.ver, b.seq, b.op, b.z, h.ver, h.seq" + sqlStatesOf
	// Where a version is put among others, it says whether there are others, too.
	sqlPlacedStates = "SELECT k.rid, b.ver, b.seq, b.op, b.z, h.ver, h.seq, NOT EXISTS (SELECT 1 FROM hist o WHERE o.rid=k.rid OFFSET 0)" + sqlStatesOf
	sqlStatesOf     = ` FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY q(t, id, i)
LEFT JOIN key k ON k.t=q.t AND k.id=q.id LEFT JOIN body b ON b.rid=k.rid
LEFT JOIN LATERAL (SELECT x.ver, x.seq FROM hist x WHERE x.rid=k.rid AND b.rid IS NULL ORDER BY x.ver DESC LIMIT 1) h ON TRUE ORDER BY q.i`
	sqlPlaces = `SELECT q.f, (SELECT coalesce(max(g.seq), q.f-1) FROM chg g WHERE g.seq>=q.f AND g.seq<q.f+1048576) FROM unnest($1::bigint[]) q(f)`
)

// askPlaces asks for the last places that are taken in the milliseconds of
// imported versions. The open transaction gives none in one that has passed,
// but to other such versions.
func (s *Store) askPlaces(c *db.Conn, group []*db.Work) (read func() error, err error) {
	now := fhir.SeqAt(s.opt.Now())
	seen := map[fhir.Seq]bool{}
	var firsts []int64
	for _, w := range group {
		ch, ok := w.Data.(*change)
		if !ok {
			continue
		}
		for i := range ch.placed {
			op := &ch.placed[i]
			if op.Time.IsZero() || op.Initial {
				continue
			}
			if first, _, end := fhir.Within(op.Time); end <= now && !seen[first] {
				seen[first] = true
				firsts = append(firsts, int64(first))
			}
		}
	}
	if len(firsts) == 0 {
		return func() error { return nil }, nil
	}
	st, err := c.Prepare(sqlPlaces)
	if err != nil {
		return nil, err
	}
	st.Array(0, firsts)
	if err := st.Ahead(); err != nil {
		return nil, err
	}
	return func() error {
		defer st.Reset()
		for {
			ok, err := st.Step()
			if err != nil || !ok {
				return err
			}
			s.ahead.places[fhir.Seq(st.ColInt(0))] = fhir.Seq(st.ColInt(1))
		}
	}, nil
}

func (s *Store) askRids(c *db.Conn, keys []fhir.Key) (read func() error, err error) {
	return s.ask(c, sqlRids, keys, func(*db.Stmt, fhir.Key) {})
}

func (s *Store) askStates(c *db.Conn, keys []fhir.Key, placed bool) (read func() error, err error) {
	text := sqlStates
	if placed {
		text = sqlPlacedStates
	}
	return s.ask(c, text, keys, func(st *db.Stmt, _ fhir.Key) {
		x := state{rid: st.ColInt(0)}
		switch {
		case !st.ColNull(1):
			x.ver, x.seq, x.op, x.live = st.ColInt(1), fhir.Seq(st.ColInt(2)), st.ColInt(3), true
			x.old = st.ColBlob(4, nil)
			x.only = placed && st.ColInt(7) != 0
		case !st.ColNull(5):
			x.ver, x.seq = st.ColInt(5), fhir.Seq(st.ColInt(6))
		}
		s.ahead.states[x.rid] = x
	})
}
