package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// server is what this process knows of the servers of one address, for all schemas of it.
//
// A standby that is promoted begins a new timeline. What its primary had not yet
// sent is not there, so that whoever remembers anything has to forget it; and a
// primary of an older timeline must not be used again, though it may still run.
type server struct {
	mu       sync.Mutex
	system   string // the identifier of the cluster
	timeline int64
	era      atomic.Int64 // counts the changes of the two; sessions of an earlier one are dead
	host     atomic.Int64 // which one of the address answered last
	mute     atomic.Bool  // it does not tell its timeline
}

// servers are kept by what addresses have in common.
var servers sync.Map

func serverOf(hosts []*pgconn.Config) *server {
	var key strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&key, "%s:%d ", h.Host, h.Port)
	}
	key.WriteString(hosts[0].Database)
	s, _ := servers.LoadOrStore(key.String(), new(server))
	return s.(*server)
}

// split makes a configuration of each server that an address names. Those that
// differ in the use of TLS stay together.
func split(cfg *pgconn.Config) (out []*pgconn.Config) {
	first := cfg.Copy()
	first.Fallbacks = nil
	out = append(out, first)
	for _, f := range cfg.Fallbacks {
		last := out[len(out)-1]
		if f.Host == last.Host && f.Port == last.Port {
			last.Fallbacks = append(last.Fallbacks, f)
			continue
		}
		next := first.Copy()
		next.Host, next.Port, next.TLSConfig, next.Fallbacks = f.Host, f.Port, f.TLSConfig, nil
		out = append(out, next)
	}
	return out
}

// refusal says why a server that answers cannot be used.
type refusal struct{ msg string }

func (r *refusal) Error() string { return r.msg }

var (
	errStandby = &refusal{"the database server is a standby, which takes no writes; name the primary, or all servers of the cluster: postgres://a,b/database"}
	errOld     = &refusal{"the database server is an old primary: another one was promoted in its place; if it was restored on purpose, restart this node"}
	errPooler  = &refusal{"the pooler in front of the database does not keep a session for each connection, which settings, locks and prepared statements need; let it pool sessions (PgBouncer: pool_mode=session, server_reset_query=DISCARD ALL), or connect to the server itself"}
	errMoved   = &refusal{"another database server was promoted; the store is being opened anew"}
)

// dial connects to the first server that takes writes, beginning with the one that
// did so last: one that is out of reach is silent for as long as ConnectTimeout.
// Only those who settle how a transaction ended may have a session while the
// store waits for being opened anew.
func (e *pgEngine) dial(ctx context.Context, settles bool, edit func(*pgconn.Config)) (*pgconn.PgConn, session, error) {
	var errs []error
	n := int64(len(e.hosts))
	for i, first := int64(0), e.server.host.Load(); i < n && (i == 0 || ctx.Err() == nil); i++ {
		at := (first + i) % n
		pc, s, err := e.dialOne(ctx, e.hosts[at], edit)
		if err == nil && !settles && e.moved() {
			hangUp(pc)
			return nil, s, errMoved
		}
		if err == nil {
			e.server.host.Store(at)
			return pc, s, nil
		}
		errs = append(errs, err)
	}
	return nil, session{}, errors.Join(errs...)
}

func (e *pgEngine) dialOne(ctx context.Context, host *pgconn.Config, edit func(*pgconn.Config)) (*pgconn.PgConn, session, error) {
	cfg := host.Copy()
	edit(cfg)
	within, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	pc, err := pgconn.ConnectConfig(within, cfg)
	if err != nil {
		return nil, session{}, err
	}
	s, err := e.meet(within, pc)
	if err != nil {
		hangUp(pc)
		return nil, s, err
	}
	return pc, s, nil
}

// session is what a new connection found at its other end.
type session struct {
	era    int64
	pooled bool // the process of the server is not the one that the greeting named
}

// meet gives a session what all need, and refuses a server that cannot be
// used. The schema is no parameter of the start, which poolers refuse or, worse, ignore.
func (e *pgEngine) meet(ctx context.Context, pc *pgconn.PgConn) (s session, err error) {
	if enc := pc.ParameterStatus("server_encoding"); enc != "UTF8" {
		return s, &refusal{fmt.Sprintf("the database has the encoding %s, which does not hold every text; make one with ENCODING 'UTF8' TEMPLATE template0", enc)}
	}
	own := "SET search_path=" + quoteName(e.schema) + `; SET client_encoding='UTF8';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit')='off';
SELECT pg_is_in_recovery(), pg_backend_pid()`
	const who = `, system_identifier, CASE WHEN NOT pg_is_in_recovery()
THEN ('x'||left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END FROM pg_control_system()`
	tells := !e.server.mute.Load()
	text := own
	if tells {
		text += who
	}
	res, err := pc.Exec(ctx, text).ReadAll()
	if tells && isServerError(err) && !e.server.told() { // a service that keeps the log elsewhere, and does not lose its end either
		tells = false
		if res, err = pc.Exec(ctx, own).ReadAll(); err == nil {
			e.server.mute.Store(true)
		}
	}
	if err != nil {
		return s, err
	}
	row := res[len(res)-1].Rows[0]
	if string(row[0]) != "f" {
		return s, errStandby
	}
	s.pooled = string(row[1]) != strconv.FormatUint(uint64(pc.PID()), 10)
	if !tells {
		s.era = e.server.era.Load()
		return s, nil
	}
	timeline, _ := strconv.ParseInt(string(row[3]), 10, 64)
	return s, e.server.know(string(row[2]), timeline, &s.era)
}

// told reports whether a session told its timeline: an error is not to let in one that does not.
func (s *server) told() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.system != ""
}

// know compares what a new session found with what was found before.
func (s *server) know(system string, timeline int64, era *int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.system == system && timeline < s.timeline:
		return errOld
	case s.system != "" && (s.system != system || s.timeline != timeline):
		s.era.Add(1)
	}
	s.system, s.timeline = system, timeline
	*era = s.era.Load()
	return nil
}

// moved reports whether the server of this DB is another one than when it was
// opened, and its owner has to open it anew.
func (e *pgEngine) moved() bool {
	if e.opt.OnMoved == nil || !e.opened.Load() || e.server.era.Load() == e.first {
		return false
	}
	e.tell.Do(e.opt.OnMoved)
	return true
}

// releaseTime is how long a pooler may take to clean a session that was left.
const releaseTime = 3 * time.Second

// proveSessions refuses a pooler that gives a connection another session for each
// transaction, or the session of another with what that one left in it: a lock of
// a session has to be there as long as its connection, and no longer.
func (e *pgEngine) proveSessions(ctx context.Context, c *pgConn) error {
	key := rand.Int64()
	other, err := e.plain(ctx, func() {})
	if err != nil {
		return err
	}
	const locked = "SELECT 1 FROM pg_locks WHERE locktype='advisory' AND objsubid=1 AND classid::bigint=%d AND objid::bigint=%d"
	high, low := uint64(key)>>32, uint64(key)&(1<<32-1)
	_, err = ask(ctx, other, "SELECT pg_advisory_lock(%d)", key)
	mine := false
	if err == nil {
		mine, err = ask(ctx, other, locked+" AND pid=pg_backend_pid()", high, low)
	}
	hangUp(other)
	if err != nil {
		return err
	}
	for end := time.Now().Add(releaseTime); mine; time.Sleep(10 * time.Millisecond) {
		left := false
		if err := c.simple(fmt.Sprintf(locked, high, low), &left); err != nil {
			return err
		}
		if !left {
			return nil
		}
		mine = time.Now().Before(end)
	}
	return errPooler
}

// wordsOf returns the message of a refusal in an error, or "".
func wordsOf(err error) string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.msg
	}
	return ""
}

// cannotOpen tells whoever opens a DB why it cannot be used: it is an operator, not a client.
func (e *pgEngine) cannotOpen(err error) error {
	if err == nil || wordsOf(err) != "" {
		return err
	}
	cause := err.Error()
	if ce := (*connError)(nil); errors.As(err, &ce) {
		cause = ce.Error()
	}
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) {
		cause = pe.Message
		if pe.Code == "42501" || pe.Code == "3F000" {
			cause += fmt.Sprintf("; the role has to own the schema %s, or may create it (GRANT CREATE ON DATABASE)", quoteName(e.schema))
		}
	}
	cause = strings.Join(strings.FieldsFunc(cause, func(r rune) bool { return r == '\n' || r == '\t' }), " ")
	return &fault.Error{Kind: fault.Transient, Op: "db: open", Msg: "the database cannot be used: " + cause, Err: err, RetryAfter: time.Second}
}

// readAddress parses an address.
func readAddress(address string) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(address)
	if err != nil { // it may hold a password
		return nil, &fault.Error{Kind: fault.Invalid, Op: "db: open", Msg: "the address of the PostgreSQL database cannot be read; are its parameters right, such as sslmode?"}
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "hygeia"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	return cfg, nil
}
