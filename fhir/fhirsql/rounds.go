package fhirsql

import (
	"context"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// A shared store answers reads by rounds: those that come while others are on
// their way to the server go together, with one statement. A round brings the
// newest change, so that what is kept in memory can be trusted, and the bodies
// that are not; while no other node writes, what is kept is trusted without one
// (see db.Trust). One read alone waits for nobody; the more there are, the less
// each costs.
type rounds struct {
	mu   sync.Mutex
	next *round        // one that has not begun
	turn chan struct{} // holds a token while one is under way
}

// round is one statement, for all who came before it began.
type round struct {
	wants []*want
	done  chan struct{}
	err   error
}

// want is a resource that a round reads.
type want struct {
	key   fhir.Key
	t     int64
	epoch uint64 // of the cache, before the round
	found byte
	rid   int64
	rec   fhir.Record
	z     []byte // the compressed body
}

const (
	nowhere byte = iota // a name that nobody used
	current
	unclear // deleted, or only referred to
)

const (
	maxWants = 64 // bounds what lies in memory
	// roundTime is how long a round waits for the one before. Mostly that costs
	// less than going with few; when it reads something large it is not waited for.
	roundTime = 2 * time.Millisecond
	// roundLimit is how long a round may take: it reads a few rows by their keys.
	// Whose connection hangs is given an answer then.
	roundLimit = 10 * time.Second
)

func newRounds() rounds { return rounds{turn: make(chan struct{}, 1)} }

// readShared is Read of a store that other nodes may write.
func (s *Store) readShared(ctx context.Context, k fhir.Key) (rec fhir.Record, err error) {
	rec, ok, epoch := s.cache.get(k)
	if ok && s.trust.Grant() != 0 {
		return rec, nil
	}
	var w *want
	if t := s.types.id(k.Type); !ok && t != 0 {
		w = &want{key: k, t: t, epoch: epoch}
	}
	if err := s.catchUp(ctx, w); err != nil {
		return rec, err
	}
	switch {
	case w != nil && w.found == current:
		defer func() { zPool.put(&w.z) }()
		if w.rec.Stored, err = s.unpack(nil, k, w.z); err != nil {
			return rec, &fault.Error{Kind: fault.Internal, Op: "fhirsql: decode " + k.Type, Msg: "internal error", Err: err}
		}
		s.cache.put(w.rec, w.rid, w.epoch)
		return w.rec, nil
	case w != nil && w.found == nowhere:
		return rec, unknown(k)
	case w == nil:
		if rec, ok, epoch = s.cache.get(k); ok {
			return rec, nil
		}
	}
	rec, rid, err := s.read(ctx, k)
	if err == nil && !rec.Deleted {
		s.cache.put(rec, rid, epoch)
	}
	return rec, err
}

// catchUp makes what is kept in memory as new as everything that was
// committed before the call, and reads what is wanted, if anything is.
func (s *Store) catchUp(ctx context.Context, w *want) error {
	t := &s.rounds
	t.mu.Lock()
	r := t.next
	lead := r == nil || w != nil && len(r.wants) >= maxWants
	if lead {
		r = &round{done: make(chan struct{})}
		t.next = r
	}
	if w != nil {
		r.wants = append(r.wants, w)
	}
	t.mu.Unlock()
	if !lead {
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	end := t.wait() // meanwhile more join
	t.mu.Lock()
	if t.next == r {
		t.next = nil
	}
	t.mu.Unlock()
	// Others wait for this round, so it does not end with one request.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundLimit)
	defer cancel()
	r.err = s.db.Read(within, func(c *db.Conn) error {
		if len(r.wants) == 0 {
			return s.follows(c)
		}
		return s.readWants(c, r.wants)
	})
	end()
	close(r.done)
	return r.err
}

// wait waits for the round that is under way, and returns what ends the next.
func (t *rounds) wait() (end func()) {
	select {
	case t.turn <- struct{}{}:
	default:
		late := time.NewTimer(roundTime)
		defer late.Stop()
		select {
		case t.turn <- struct{}{}:
		case <-late.C:
			return func() {}
		}
	}
	return func() { <-t.turn }
}

const sqlWants = `SELECT (SELECT coalesce(max(seq), 0) FROM chg), k.rid, b.ver, b.seq, b.op, b.z
FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY q(t, id, i) LEFT JOIN key k ON k.t=q.t AND k.id=q.id LEFT JOIN body b ON b.rid=k.rid ORDER BY q.i`

// readWants reads the newest change and the bodies of one moment.
func (s *Store) readWants(c *db.Conn, wants []*want) error {
	types, ids := make([]int64, len(wants)), make([][]byte, len(wants))
	for i, w := range wants {
		types[i], ids[i] = w.t, idBytes(w.key.ID)
	}
	st, err := c.Prepare(sqlWants)
	if err != nil {
		return err
	}
	defer st.Reset()
	st.Array(0, types)
	st.Array(1, ids)
	var seq fhir.Seq
	for _, w := range wants {
		if ok, err := st.Step(); err != nil || !ok {
			return err
		}
		seq = fhir.Seq(st.ColInt(0))
		switch {
		case st.ColNull(1):
		case st.ColNull(2):
			w.found = unclear
		default:
			w.found, w.rid = current, st.ColInt(1)
			w.rec = fhir.Record{Key: w.key, Version: st.ColInt(2), Seq: fhir.Seq(st.ColInt(3)), Method: methods[st.ColInt(4)]}
			w.z = st.ColBlob(5, (*zPool.get())[:0])
		}
	}
	return s.followTo(c, seq)
}
