package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Conn is one connection. It is used by one goroutine at a time.
type Conn struct {
	c     conn
	kind  Dialect
	write bool
	stmts map[string]*Stmt
	// Of a reader: held says that a transaction is open that began when DB.version
	// was at, broken that one could not be ended.
	held, broken bool
	at           int64
	room         func() bool // of the writer: whether its group should make room for others; may be nil
}

// maxStmts bounds the prepared statements of a connection; beyond it all are
// dropped, which costs a few microseconds per statement to come back.
const maxStmts = 512

// Stmt is a prepared statement. Parameters and columns are numbered from 0 in
// the order of $1, $2, ... and of the select list.
type Stmt struct {
	s stmt
}

// Dialect names the engine, for SQL that differs.
func (c *Conn) Dialect() Dialect { return c.kind }

// Writer reports whether c belongs to the writer, and so sees what is not
// committed yet.
func (c *Conn) Writer() bool { return c.write }

// Others tells the writer whether other nodes write at the same time. Then it
// gathers its next group when it has got its turn, not before.
func (c *Conn) Others(write bool) {
	if pc, ok := c.c.(*pgConn); ok {
		pc.others = write
	}
}

// Prepare returns the statement for a text, prepared once per connection and reset.
func (c *Conn) Prepare(text string) (*Stmt, error) {
	if s := c.stmts[text]; s != nil {
		if err := s.s.reset(); err != nil {
			return nil, err
		}
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		c.forget()
	}
	ps, err := c.c.prepare(text)
	if err != nil {
		return nil, err
	}
	s := &Stmt{s: ps}
	c.stmts[text] = s
	return s, nil
}

func (c *Conn) forget() {
	for k, s := range c.stmts {
		s.s.close()
		delete(c.stmts, k)
	}
}

func (c *Conn) close() {
	c.forget()
	c.c.close()
}

// Exec runs a statement that returns no rows. Arguments are int, int64, float64,
// string, []byte or nil.
func (c *Conn) Exec(text string, args ...any) error {
	s, err := c.Prepare(text)
	if err != nil {
		return err
	}
	s.Bind(args...)
	return s.Run()
}

// Query runs a statement and calls row for each row until it returns an error.
func (c *Conn) Query(text string, row func(*Stmt) error, args ...any) error {
	s, err := c.Prepare(text)
	if err != nil {
		return err
	}
	s.Bind(args...)
	defer s.Reset()
	for {
		ok, err := s.Step()
		if err != nil || !ok {
			return err
		}
		if err := row(s); err != nil {
			return err
		}
	}
}

// Script runs several statements separated by semicolons at line ends.
func (c *Conn) Script(text string) error { return c.c.script(text) }

// Bind sets all parameters from the first on.
func (s *Stmt) Bind(args ...any) {
	for i, a := range args {
		switch v := a.(type) {
		case nil:
			s.s.bindNull(i)
		case int:
			s.s.bindInt(i, int64(v))
		case int64:
			s.s.bindInt(i, v)
		case float64:
			s.s.bindFloat(i, v)
		case string:
			s.s.bindText(i, v)
		case []byte:
			s.s.bindBlob(i, v)
		default:
			panic(fmt.Sprintf("db: cannot bind a %T", a))
		}
	}
}

// Int sets parameter i.
func (s *Stmt) Int(i int, v int64) { s.s.bindInt(i, v) }

// Float sets parameter i.
func (s *Stmt) Float(i int, v float64) { s.s.bindFloat(i, v) }

// Text sets parameter i.
func (s *Stmt) Text(i int, v string) { s.s.bindText(i, v) }

// Blob sets parameter i.
func (s *Stmt) Blob(i int, v []byte) { s.s.bindBlob(i, v) }

// Array sets parameter i to a []int64, []float64, []string or [][]byte. Only
// PostgreSQL has arrays; many rows are inserted by one statement with them.
func (s *Stmt) Array(i int, v any) { s.s.(*pgStmt).bindArray(i, v) }

// Null sets parameter i.
func (s *Stmt) Null(i int) { s.s.bindNull(i) }

// Ahead sends a query with its parameters, to save a round trip: its rows come
// with those of the next query that is stepped through. It has to be stepped
// through itself before its text is prepared again. An engine without round
// trips runs it then.
func (s *Stmt) Ahead() error { return s.s.ahead() }

// Step moves to the next row; false at the end.
func (s *Stmt) Step() (bool, error) { return s.s.step() }

// Run runs a statement that returns no rows, and resets it. Inside the writer
// the error may come later: from the next query, or from the end of the
// transaction. The work fails with it all the same.
func (s *Stmt) Run() error { return s.s.run() }

// Reset ends a query and makes the statement ready for the next one.
func (s *Stmt) Reset() { _ = s.s.reset() }

// ColInt returns column i as an integer; 0 for NULL.
func (s *Stmt) ColInt(i int) int64 { return s.s.colInt(i) }

// ColText returns column i as text.
func (s *Stmt) ColText(i int) string { return s.s.colText(i) }

// ColNull reports whether column i is NULL.
func (s *Stmt) ColNull(i int) bool { return s.s.colNull(i) }

// ColBlob appends column i to dst.
func (s *Stmt) ColBlob(i int, dst []byte) []byte { return s.s.colBlob(i, dst) }

// ColValue returns column i as int64, float64, string, []byte or nil.
func (s *Stmt) ColValue(i int) any { return s.s.colValue(i) }

// dbError turns a driver's error into a fault: a full disk, a busy or read-only
// file and an interrupted query are Transient or Timeout, all else Internal.
func dbError(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &fault.Error{Kind: fault.Timeout, Op: "db: " + op, Msg: "the request took too long or was given up", Err: err}
	}
	if e := pgError(op, err); e != nil {
		return e
	}
	code := sqlite.ErrCode(err)
	if isDamage(code) {
		return damageError(op, err)
	}
	switch code.ToPrimary() {
	case sqlite.ResultInterrupt:
		return &fault.Error{Kind: fault.Timeout, Op: "db: " + op, Msg: "the request took too long or was given up", Err: err}
	case sqlite.ResultFull:
		return &fault.Error{Kind: fault.Transient, Op: "db: " + op, Msg: "the disk is full; nothing was stored", Err: err}
	case sqlite.ResultIOErr, sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultReadOnly, sqlite.ResultCantOpen:
		return &fault.Error{Kind: fault.Transient, Op: "db: " + op, Msg: "the database is not available now; nothing was stored", Err: err}
	}
	if tooLarge(err) {
		return errTooLarge(op, err)
	}
	return &fault.Error{Kind: fault.Internal, Op: "db: " + op, Msg: "internal error", Err: err}
}

// errDamaged marks what is not as it was written.
var errDamaged = errors.New("it is not what was written; restore a backup")

// isDamage reports whether SQLite found a file that is not as it was written.
func isDamage(code sqlite.ResultCode) bool {
	return code == sqlite3.SQLITE_IOERR_DATA || code.ToPrimary() == sqlite.ResultCorrupt || code.ToPrimary() == sqlite.ResultNotADB
}

func damageError(op string, err error) error {
	return &fault.Error{Kind: fault.Internal, Op: "db: " + op, Msg: "the database file is damaged", Err: fmt.Errorf("%w: %w", errDamaged, err)}
}

// tooLarge reports whether a statement went beyond a limit of SQLite, or had
// more parameters than the protocol of PostgreSQL takes. No code tells it.
func tooLarge(err error) bool {
	text := err.Error()
	return slices.ContainsFunc([]string{
		"too many terms in compound SELECT", "Expression tree is too large", "too many SQL variables",
		"parser stack overflow", "too many FROM clause terms", "limited to 65535 parameters",
	}, func(s string) bool { return strings.Contains(text, s) })
}

func errTooLarge(op string, err error) error {
	return &fault.Error{Kind: fault.TooCostly, Op: "db: " + op, Msg: "the request has more parts than the database takes at a time", Err: err}
}
