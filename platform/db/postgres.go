package db

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// isPostgres reports whether a name of a database is an address of a server.
func isPostgres(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

// pgEngine is one schema of a PostgreSQL database. What a file is for SQLite
// a schema is here: a store has it for itself, and several processes may write it.
//
// SQLite lets one transaction write at a time, and stores rely on it: a work
// reads, decides and writes. Here the same holds across all nodes, because
// every transaction of a writer begins with the advisory lock of the schema. It
// is held until the commit is visible, so that whoever gets it next sees
// everything, and numbers given in the order of the lock are in the order of
// the commits.
type pgEngine struct {
	hosts  []*pgconn.Config // one for each server of the address
	server *server
	opened atomic.Bool
	first  int64 // the era in which it was opened
	tell   sync.Once
	schema string
	lock   int64 // the key of the advisory lock
	node   int64 // names this writer in hygeia_writer
	opt    Options
}

var _ engine = (*pgEngine)(nil)

const (
	// reconnectTime is how long the writer asks how a transaction ended, while
	// the server is away. A restart takes less.
	reconnectTime = 20 * time.Second
	reconnectStep = 100 * time.Millisecond
)

func newPostgres(address string, opt Options) (*pgEngine, error) {
	cfg, err := readAddress(address)
	if err != nil {
		return nil, err
	}
	e := &pgEngine{opt: opt, node: rand.Int64()}
	if e.schema = cfg.RuntimeParams["search_path"]; e.schema == "" {
		e.schema = "public"
	}
	delete(cfg.RuntimeParams, "search_path")
	cfg.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
		return e.cancelling(pc)
	}
	e.hosts = split(cfg)
	e.server = serverOf(e.hosts)
	h := fnv.New64a()
	_, _ = h.Write([]byte("hygeia writer of " + e.schema))
	e.lock = int64(h.Sum64())
	return e, nil
}

// cancelling watches over the statements of a connection, see canceller.
func (e *pgEngine) cancelling(pc *pgconn.PgConn) ctxwatch.Handler {
	delay := 2 * time.Second
	if e.opt.StatementTime > 0 {
		delay = min(delay, e.opt.StatementTime)
	}
	return &canceller{pc: pc, patience: delay}
}

// silence is how long a writer waits for an answer. The server ends each
// statement after StatementTime, so that one that has not answered by then is out
// of reach, or its process hangs.
func (e *pgEngine) silence() time.Duration { return e.opt.StatementTime + e.opt.StatementTime/4 }

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (e *pgEngine) dialect() Dialect { return Postgres }
func (e *pgEngine) close()           {}

// settings of a session. The store chose the path of a query and wrote it
// down: joins are taken in the order of the text, along indexes, whatever the
// statistics say. A plan can then not change under load. It is made once for each
// statement of a session (a generic plan): made anew for the values of each
// call, as PostgreSQL does where it expects more of that, it costs several times what the
// statement itself does.
func (e *pgEngine) settings(write bool) string {
	ms := func(d time.Duration) int64 { return d.Milliseconds() }
	common := fmt.Sprintf("SET jit=off; SET statement_timeout=%d; SET idle_in_transaction_session_timeout=%d; ", ms(e.opt.StatementTime), ms(e.opt.StatementTime))
	pins := "SET join_collapse_limit=1; SET from_collapse_limit=1; SET enable_seqscan=off; SET enable_hashjoin=off; SET enable_mergejoin=off; SET enable_material=off; SET enable_bitmapscan=off; SET plan_cache_mode=force_generic_plan; SET max_parallel_workers_per_gather=0; "
	if write {
		return common + pins + fmt.Sprintf("SET default_transaction_read_only=off; SET lock_timeout=%d", ms(e.opt.StatementTime))
	}
	return common + pins + "SET default_transaction_read_only=on"
}

func (e *pgEngine) open(write bool) (conn, error) {
	c := &pgConn{eng: e, write: write}
	return c, c.connect(false)
}

// again: the server gave up a transaction in favour of another, or went away.
func (e *pgEngine) again(err error) bool {
	if errors.Is(err, errMoved) {
		return false
	}
	if u := (*unsure)(nil); errors.As(err, &u) {
		return false
	}
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) {
		switch pe.Code {
		case "40001", "40P01", // serialization failure, deadlock
			"57P01", "57P02", "57P03", // the server stops, or starts
			"25P03", "55P03": // idle in a transaction for too long, lock timeout
			return true
		}
		return strings.HasPrefix(pe.Code, "08")
	}
	return isConnError(err)
}

// connError is an error of the connection rather than of a statement.
type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

func isConnError(err error) bool {
	ce := (*connError)(nil)
	return errors.As(err, &ce)
}

// unsure says that nobody knows whether a transaction was committed.
type unsure struct{ err error }

func (e *unsure) Error() string { return e.err.Error() }
func (e *unsure) Unwrap() error { return e.err }

// prepare is done once per DB, on its first session.
func (e *pgEngine) prepare(c *pgConn) error {
	if c.met.pooled {
		ctx, cancel := context.WithTimeout(context.Background(), e.opt.StatementTime)
		defer cancel()
		if err := e.proveSessions(ctx, c); err != nil {
			return dbError("open", &connError{err})
		}
	}
	if err := e.prepareSchema(c); err != nil {
		return err
	}
	e.first = c.met.era
	e.opened.Store(true)
	return nil
}

// prepareSchema makes the schema and the tables of writers, leases and grants.
func (e *pgEngine) prepareSchema(c *pgConn) error {
	steps := []string{fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", e.lock)}
	var have bool
	err := c.simple(fmt.Sprintf("SELECT 1 FROM pg_namespace WHERE nspname=%s", quoteText(e.schema)), &have)
	if err != nil {
		return err
	}
	if !have {
		steps = append(steps, "CREATE SCHEMA IF NOT EXISTS "+quoteName(e.schema))
	}
	steps = append(steps,
		"SET LOCAL client_min_messages=warning",
		"CREATE TABLE IF NOT EXISTS hygeia_writer (node BIGINT PRIMARY KEY, grp BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL) WITH (fillfactor=50)",
		"CREATE TABLE IF NOT EXISTS hygeia_lease (name TEXT COLLATE \"C\" PRIMARY KEY, fence BIGINT NOT NULL, until TIMESTAMPTZ NOT NULL) WITH (fillfactor=50)",
		"CREATE TABLE IF NOT EXISTS hygeia_trust (node BIGINT PRIMARY KEY, number BIGINT NOT NULL, revoked BOOLEAN NOT NULL DEFAULT false)",
		"DELETE FROM hygeia_writer WHERE at < now() - interval '7 days'",
		"COMMIT")
	for _, s := range steps {
		if err := c.simple(s, nil); err != nil {
			return err
		}
	}
	return nil
}

func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// dropPostgres removes the schema of an address with everything in it.
func dropPostgres(ctx context.Context, address string) error {
	e, err := newPostgres(address, Options{})
	if err != nil {
		return err
	}
	if e.schema == "public" {
		return fault.New(fault.Invalid, "the address names no schema")
	}
	e.opt.Trust = e.opt.Trust.withDefaults()
	pc, err := e.plain(ctx, func() {})
	if err != nil {
		return dbError("connect", &connError{err})
	}
	defer hangUp(pc)
	// What other nodes remember must not outlive it. There may be no such schema.
	if err := e.revoke(ctx, pc); err != nil && !isServerError(err) {
		return dbError("drop", &connError{err})
	}
	_, err = pc.Exec(ctx, "SET client_min_messages=warning; DROP SCHEMA IF EXISTS "+quoteName(e.schema)+" CASCADE").ReadAll()
	if err != nil {
		return dbError("drop", err)
	}
	return nil
}

// pgError sorts an error of PostgreSQL; nil when it is none.
func pgError(op string, err error) error {
	f := &fault.Error{Kind: fault.Internal, Op: "db: " + op, Msg: "internal error", Err: err}
	gone := func(msg string) error {
		f.Kind, f.Msg, f.RetryAfter = fault.Transient, msg, time.Second
		return f
	}
	if u := (*unsure)(nil); errors.As(err, &u) {
		return gone("the connection to the database was lost at the end of the change; it is not known whether it was stored")
	}
	if words := wordsOf(err); words != "" {
		return gone(words)
	}
	pe := (*pgconn.PgError)(nil)
	if !errors.As(err, &pe) {
		if isConnError(err) {
			return gone("the database is not available now; nothing was stored")
		}
		return nil
	}
	switch {
	case pe.Code == "57014":
		f.Kind, f.Msg = fault.Timeout, "the request took too long or was given up"
	case strings.HasPrefix(pe.Code, "54"): // a limit of the program
		return errTooLarge(op, err)
	case pe.Code == "53100":
		return gone("the disk of the database is full; nothing was stored")
	case pe.Code == "40001", pe.Code == "40P01", pe.Code == "55P03", pe.Code == "25006", pe.Code == "25P03",
		pe.Code == "42P01", pe.Code == "3F000", // the schema was dropped by another node
		strings.HasPrefix(pe.Code, "08"), strings.HasPrefix(pe.Code, "53"), strings.HasPrefix(pe.Code, "57P"), strings.HasPrefix(pe.Code, "58"):
		return gone("the database is not available now; nothing was stored")
	}
	return f
}
