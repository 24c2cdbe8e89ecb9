package eventssql

import (
	"context"
	"embed"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/events"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is an events.Store.
type Store struct {
	db   *db.DB
	term atomic.Pointer[db.Term] // while this node does the work
}

var _ events.Store = (*Store)(nil)

// Open opens or creates the store in the database at path, see db.Open.
func Open(ctx context.Context, path string, opt db.Options) (*Store, error) {
	d, err := db.OpenMigrated(ctx, path, opt, migrations)
	if err != nil {
		return nil, err
	}
	return &Store{db: d}, nil
}

// Close implements events.Store.
func (s *Store) Close() error { return s.db.Close() }

// write runs f in the writer. An error of f undoes all of it; a Conflict comes
// before anything was written.
func (s *Store) write(ctx context.Context, f func(c *db.Conn) error) error {
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		err := f(c)
		if err == nil || fault.Is(err, fault.Conflict) {
			return err
		}
		return &db.Broken{Err: err}
	}})
}

// work is write for what only the node does that has the work.
func (s *Store) work(ctx context.Context, f func(c *db.Conn) error) error {
	return s.db.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
		if err := s.owned(c); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
}

// ms keeps instants in milliseconds, none as 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func instant(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

// Position implements events.Store.
func (s *Store) Position(ctx context.Context, source string) (pos int64, ok bool, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT pos FROM src WHERE name=$1", func(st *db.Stmt) error { pos, ok = st.ColInt(0), true; return nil }, source)
	})
	return pos, ok, err
}

// Append implements events.Store.
func (s *Store) Append(ctx context.Context, source string, from, to int64, changes []events.Change) (first int64, err error) {
	stale := false
	err = s.db.Write(ctx, &db.Work{Size: 1 + len(changes)/8, Do: func(c *db.Conn) error {
		stale = false
		if err := s.owned(c); err != nil {
			return err
		}
		pos, known := int64(0), false
		err := c.Query("SELECT pos FROM src WHERE name=$1", func(st *db.Stmt) error { pos, known = st.ColInt(0), true; return nil }, source)
		if err != nil {
			return err
		}
		if known && pos != from || !known && from != 0 {
			stale = true
			return nil
		}
		if first, err = appendRows(c, source, to, changes); err != nil {
			return &db.Broken{Err: err}
		}
		return nil
	}})
	if err == nil && stale {
		err = fault.New(fault.Conflict, "another node collected these events")
	}
	return first, err
}

func appendRows(c *db.Conn, source string, to int64, changes []events.Change) (first int64, err error) {
	err = c.Exec("INSERT INTO src (name, pos) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET pos = excluded.pos", source, to)
	if err != nil || len(changes) == 0 {
		return 0, err
	}
	seq := int64(0)
	if err := c.Query("SELECT v FROM meta WHERE k='seq'", func(st *db.Stmt) error { seq = st.ColInt(0); return nil }); err != nil {
		return 0, err
	}
	first = seq + 1
	err = db.Insert(c, "INSERT INTO log (seq, src, at, kind, ref, ver, t)", 7, changes, func(st *db.Stmt, i int, ch *events.Change) {
		seq++
		st.Int(i, seq)
		st.Text(i+1, source)
		st.Int(i+2, ch.At)
		st.Int(i+3, int64(ch.Kind))
		st.Text(i+4, ch.Ref)
		st.Int(i+5, ch.Version)
		st.Int(i+6, ms(ch.Time))
	})
	if err != nil {
		return 0, err
	}
	return first, c.Exec("INSERT INTO meta (k, v, s) VALUES ('seq', $1, '') ON CONFLICT (k) DO UPDATE SET v = excluded.v", seq)
}

const eventColumns = "SELECT seq, src, at, kind, ref, ver, t FROM log "

func event(st *db.Stmt) events.Event {
	return events.Event{Seq: st.ColInt(0), Source: st.ColText(1), Change: events.Change{
		At: st.ColInt(2), Kind: events.Kind(st.ColInt(3)), Ref: st.ColText(4), Version: st.ColInt(5), Time: instant(st.ColInt(6)),
	}}
}

// Read implements events.Store.
func (s *Store) Read(ctx context.Context, after int64, limit int) (list []events.Event, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query(eventColumns+"WHERE seq>$1 ORDER BY seq LIMIT $2+0", func(st *db.Stmt) error {
			list = append(list, event(st))
			return nil
		}, after, limit)
	})
	return list, err
}

// together is how many events are asked for in one statement, which is always the
// same: missing positions repeat the last one.
const together = 100

var sqlGet = func() string {
	marks := make([]string, together)
	for i := range marks {
		marks[i] = "$" + strconv.Itoa(i+1)
	}
	return eventColumns + "WHERE seq IN (" + strings.Join(marks, ", ") + ")"
}()

// Get implements events.Store.
func (s *Store) Get(ctx context.Context, seqs []int64) (list []events.Event, err error) {
	at := make(map[int64]events.Event, len(seqs))
	err = s.db.Read(ctx, func(c *db.Conn) error {
		for some := range slices.Chunk(seqs, together) {
			args := make([]any, together)
			for i := range args {
				args[i] = some[min(i, len(some)-1)]
			}
			err := c.Query(sqlGet, func(st *db.Stmt) error {
				e := event(st)
				at[e.Seq] = e
				return nil
			}, args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, seq := range seqs {
		if e, ok := at[seq]; ok {
			list = append(list, e)
		}
	}
	return list, err
}

// Bounds implements events.Store.
func (s *Store) Bounds(ctx context.Context) (first, last int64, err error) {
	err = s.db.ReadTx(ctx, func(c *db.Conn) error {
		if err := c.Query("SELECT v FROM meta WHERE k='seq'", func(st *db.Stmt) error { last = st.ColInt(0); return nil }); err != nil {
			return err
		}
		first = last + 1
		return c.Query("SELECT min(seq) FROM log", func(st *db.Stmt) error {
			if !st.ColNull(0) {
				first = st.ColInt(0)
			}
			return nil
		})
	})
	if last == 0 {
		first = 0
	}
	return first, last, err
}

// needed are the positions that deliveries go on from. What waits for a
// subscription that ended (Failed, Disabled) keeps nothing.
var needed = []string{
	"SELECT min(try.seq) FROM try JOIN sub ON sub.name = try.sub WHERE sub.state='Succeeded'",
	"SELECT min(pos)+1 FROM sub WHERE state='Succeeded'",
}

// Prune implements events.Store. It removes from the old end of the log, up to
// the first event that is needed.
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.work(ctx, func(c *db.Conn) error {
		n = 0
		stop := int64(1<<63 - 1)
		for _, text := range needed {
			err := c.Query(text, func(st *db.Stmt) error {
				if !st.ColNull(0) {
					stop = min(stop, st.ColInt(0))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		last := int64(0)
		err := c.Query("SELECT seq, t FROM log ORDER BY seq LIMIT $1+0", func(st *db.Stmt) error {
			if st.ColInt(1) >= ms(before) {
				stop = min(stop, st.ColInt(0)) // nothing behind the first that stays
			}
			if st.ColInt(0) < stop {
				last = st.ColInt(0)
				n++
			}
			return nil
		}, limit)
		if err != nil || n == 0 {
			return err
		}
		if err := c.Exec("DELETE FROM dead WHERE seq<=$1", last); err != nil {
			return err
		}
		return c.Exec("DELETE FROM log WHERE seq<=$1", last)
	})
	return n, err
}

// Active implements events.Store.
func (s *Store) Active(ctx context.Context) (on bool, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT v FROM meta WHERE k='active'", func(st *db.Stmt) error { on = st.ColInt(0) == 1; return nil })
	})
	return on, err
}

// Activate implements events.Store.
func (s *Store) Activate(ctx context.Context) error {
	return s.write(ctx, func(c *db.Conn) error {
		return c.Exec("INSERT INTO meta (k, v, s) VALUES ('active', 1, '') ON CONFLICT (k) DO UPDATE SET v = 1")
	})
}

// Lead implements events.Store.
func (s *Store) Lead(ctx context.Context, work func(context.Context)) {
	s.db.Lead(ctx, "deliveries", func(ctx context.Context, t *db.Term) {
		s.term.Store(t)
		defer s.term.Store(nil)
		work(ctx)
	})
}

// owned returns nil when this node may still do the work, see Lead.
func (s *Store) owned(c *db.Conn) error {
	if t := s.term.Load(); t != nil {
		return t.Check(c)
	}
	return nil
}

// Subscriptions implements events.Store.
func (s *Store) Subscriptions(ctx context.Context) (list []events.Record, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT name, spec, state, reason, code, created, changed, start, pos, origin, rate FROM sub ORDER BY name", func(st *db.Stmt) error {
			r := events.Record{
				State: events.State(st.ColText(2)), Reason: st.ColText(3), Code: st.ColText(4),
				Created: instant(st.ColInt(5)), Changed: time.Unix(0, st.ColInt(6)).UTC(), From: st.ColInt(7), Position: st.ColInt(8),
				Origin: st.ColText(9), Rate: int(st.ColInt(10)),
			}
			if err := json.Unmarshal([]byte(st.ColText(1)), &r.Subscription); err != nil {
				return fault.Wrap("eventssql: subscription "+st.ColText(0), err)
			}
			list = append(list, r)
			return nil
		})
	})
	return list, err
}

// PutSubscription implements events.Store. The position of one that exists only
// ever moves on.
func (s *Store) PutSubscription(ctx context.Context, r, old *events.Record) error {
	spec, err := json.Marshal(&r.Subscription)
	if err != nil {
		return fault.Wrap("eventssql: subscription", err)
	}
	return s.write(ctx, func(c *db.Conn) error {
		was, there := int64(0), false
		if err := c.Query("SELECT changed FROM sub WHERE name=$1", func(st *db.Stmt) error { was, there = st.ColInt(0), true; return nil }, r.Name); err != nil {
			return err
		}
		if there != (old != nil) || there && was != old.Changed.UnixNano() {
			return fault.New(fault.Conflict, "event subscription %s was changed by somebody else at the same time", r.Name)
		}
		return c.Exec(`INSERT INTO sub (name, spec, state, reason, code, created, changed, start, pos, origin, rate) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
 ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, state = excluded.state, reason = excluded.reason, code = excluded.code, changed = excluded.changed, origin = excluded.origin, rate = excluded.rate`,
			r.Name, string(spec), string(r.State), r.Reason, r.Code, ms(r.Created), r.Changed.UnixNano(), r.From, r.Position, r.Origin, r.Rate)
	})
}

// DeleteSubscription implements events.Store.
func (s *Store) DeleteSubscription(ctx context.Context, name string) error {
	return s.write(ctx, func(c *db.Conn) error {
		for _, text := range []string{"DELETE FROM try WHERE sub=$1", "DELETE FROM dead WHERE sub=$1", "DELETE FROM sub WHERE name=$1"} {
			if err := c.Exec(text, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Tries implements events.Store.
func (s *Store) Tries(ctx context.Context, name string, after int64, limit int) (list []events.Try, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT seq, attempts, due, since, last, outcome FROM try WHERE sub=$1 AND seq>$2 ORDER BY seq LIMIT $3+0", func(st *db.Stmt) error {
			list = append(list, events.Try{
				Seq: st.ColInt(0), Attempts: int(st.ColInt(1)), Due: instant(st.ColInt(2)), Since: instant(st.ColInt(3)),
				Last: instant(st.ColInt(4)), Outcome: events.Outcome(st.ColText(5)),
			})
			return nil
		}, name, after, limit)
	})
	return list, err
}

// Counts implements events.Store.
func (s *Store) Counts(ctx context.Context, name string) (tries, letters int, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT (SELECT count(*) FROM try WHERE sub=$1), (SELECT count(*) FROM dead WHERE sub=$1)", func(st *db.Stmt) error {
			tries, letters = int(st.ColInt(0)), int(st.ColInt(1))
			return nil
		}, name)
	})
	return tries, letters, err
}

// Save implements events.Store.
func (s *Store) Save(ctx context.Context, name string, p *events.Progress) error {
	return s.work(ctx, func(c *db.Conn) error {
		there := false
		if err := c.Query("SELECT 1 FROM sub WHERE name=$1", func(*db.Stmt) error { there = true; return nil }, name); err != nil || !there {
			return err
		}
		for i := range p.Put {
			if err := putTry(c, name, &p.Put[i]); err != nil {
				return err
			}
		}
		for _, seq := range p.Done {
			if err := c.Exec("DELETE FROM try WHERE sub=$1 AND seq=$2", name, seq); err != nil {
				return err
			}
		}
		for i := range p.Dead {
			l := &p.Dead[i]
			err := c.Exec(`INSERT INTO dead (sub, seq, reason, attempts, last, outcome, t, blob) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
 ON CONFLICT (sub, seq) DO UPDATE SET reason = excluded.reason, attempts = excluded.attempts, last = excluded.last, outcome = excluded.outcome, t = excluded.t, blob = excluded.blob`,
				name, l.Seq, l.Reason, l.Try.Attempts, ms(l.Try.Last), string(l.Try.Outcome), ms(l.Time), l.Blob)
			if err != nil {
				return err
			}
		}
		return c.Exec("UPDATE sub SET pos=$1 WHERE name=$2 AND pos<$1", p.Position, name)
	})
}

func putTry(c *db.Conn, name string, t *events.Try) error {
	return c.Exec(`INSERT INTO try (sub, seq, attempts, due, since, last, outcome) VALUES ($1, $2, $3, $4, $5, $6, $7)
 ON CONFLICT (sub, seq) DO UPDATE SET attempts = excluded.attempts, due = excluded.due, since = excluded.since, last = excluded.last, outcome = excluded.outcome`,
		name, t.Seq, t.Attempts, ms(t.Due), ms(t.Since), ms(t.Last), string(t.Outcome))
}

// Letters implements events.Store.
func (s *Store) Letters(ctx context.Context, name string, after int64, limit int) (list []events.Letter, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT seq, reason, attempts, last, outcome, t, blob FROM dead WHERE sub=$1 AND seq>$2 ORDER BY seq LIMIT $3+0", func(st *db.Stmt) error {
			seq := st.ColInt(0)
			list = append(list, events.Letter{
				Seq: seq, Reason: st.ColText(1), Time: instant(st.ColInt(5)), Blob: st.ColText(6),
				Try: events.Try{Seq: seq, Attempts: int(st.ColInt(2)), Last: instant(st.ColInt(3)), Outcome: events.Outcome(st.ColText(4))},
			})
			return nil
		}, name, after, limit)
	})
	return list, err
}

// Redrive implements events.Store.
func (s *Store) Redrive(ctx context.Context, name string, seqs []int64, now time.Time) (n int, err error) {
	where, args := "sub=$1", []any{name}
	if seqs != nil {
		marks := make([]string, len(seqs))
		for i, seq := range seqs {
			marks[i] = "$" + strconv.Itoa(i+2)
			args = append(args, seq)
		}
		if len(marks) == 0 {
			return 0, nil
		}
		where += " AND seq IN (" + strings.Join(marks, ", ") + ")"
	}
	err = s.write(ctx, func(c *db.Conn) error {
		var list []int64
		err := c.Query("SELECT seq FROM dead WHERE "+where+" ORDER BY seq", func(st *db.Stmt) error { list = append(list, st.ColInt(0)); return nil }, args...)
		if err != nil {
			return err
		}
		n = len(list)
		for _, seq := range list {
			if err := putTry(c, name, &events.Try{Seq: seq, Due: now, Since: now}); err != nil {
				return err
			}
		}
		return c.Exec("DELETE FROM dead WHERE "+where, args...)
	})
	return n, err
}
