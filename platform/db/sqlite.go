package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// sqliteEngine is one file in WAL mode.
type sqliteEngine struct {
	path string
	opt  Options
}

var _ engine = (*sqliteEngine)(nil)

func (e *sqliteEngine) dialect() Dialect { return SQLite }
func (e *sqliteEngine) again(error) bool { return false }
func (e *sqliteEngine) close()           {}

func (e *sqliteEngine) open(write bool) (conn, error) {
	if !write {
		return e.connect(sqlite.OpenReadOnly|sqlite.OpenURI, fmt.Sprintf(
			"PRAGMA cache_size=-%d;\nPRAGMA temp_store=MEMORY;\nPRAGMA query_only=ON;\n", e.opt.ReaderCache))
	}
	if err := checkLog(e.path); err != nil {
		return nil, err
	}
	return e.connect(sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenWAL|sqlite.OpenURI, fmt.Sprintf(
		"PRAGMA journal_mode=WAL;\nPRAGMA synchronous=FULL;\nPRAGMA cache_size=-%d;\nPRAGMA wal_autocheckpoint=%d;\nPRAGMA journal_size_limit=%d;\nPRAGMA temp_store=MEMORY;\nPRAGMA foreign_keys=OFF;\n",
		e.opt.WriterCache, e.opt.CheckpointKB/4, int64(e.opt.CheckpointKB)*2048))
}

func (e *sqliteEngine) connect(flags sqlite.OpenFlags, pragmas string) (conn, error) {
	bufferWAL()
	if flags&sqlite.OpenCreate != 0 {
		if err := createPrivate(e.path); err != nil {
			return nil, err
		}
	}
	sc, err := sqlite.OpenConn(e.path, flags)
	if err != nil {
		return nil, dbError("open "+e.path, err)
	}
	sc.SetBusyTimeout(5 * time.Second)
	c := &sqliteConn{c: sc, writer: flags&sqlite.OpenReadWrite != 0}
	if err := c.script(pragmas); err != nil {
		_ = sc.Close()
		return nil, err
	}
	return c, nil
}

// createPrivate makes a file that is not there yet, for its owner alone: SQLite
// would give it mode 0644. The log and the shared memory get the mode of the file. A
// file that is there is not touched: to close it would end the locks that SQLite
// has on it.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return &fault.Error{Kind: fault.Transient, Op: "db: create", Msg: "the database is not available now; nothing was stored", Err: err}
	}
	return nil
}

type sqliteConn struct {
	c       *sqlite.Conn
	writer  bool
	given   chan struct{} // interrupts when it is closed; nil = a new one is needed
	watched bool          // the driver has a channel
	stop    func() bool   // of the context that closes it; nil = none
}

func (c *sqliteConn) prepare(text string) (stmt, error) {
	ps, _, err := c.c.PrepareTransient(text)
	if err != nil {
		return nil, dbError("prepare", fmt.Errorf("%w in %s", err, text))
	}
	return &sqliteStmt{s: ps}, nil
}

func (c *sqliteConn) script(text string) error {
	for part := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		ps, _, err := c.c.PrepareTransient(part)
		if err != nil {
			return dbError("script", fmt.Errorf("%w in %s", err, part))
		}
		for {
			more, err := ps.Step()
			if err != nil {
				_ = ps.Finalize()
				return dbError("script", err)
			}
			if !more {
				break
			}
		}
		if err := ps.Finalize(); err != nil {
			return dbError("script", err)
		}
	}
	return nil
}

func (c *sqliteConn) begin(write bool) error {
	if write {
		return c.do("BEGIN IMMEDIATE")
	}
	return c.do("BEGIN")
}

func (c *sqliteConn) commit() error { return c.do("COMMIT") }

// do runs a statement of the transaction; it stays prepared.
func (c *sqliteConn) do(text string) error {
	s, err := c.c.Prepare(text)
	if err != nil {
		return dbError("prepare", err)
	}
	return (&sqliteStmt{s: s}).run()
}

func (c *sqliteConn) rollback() error {
	if c.c.AutocommitEnabled() {
		return nil
	}
	return c.do("ROLLBACK")
}

// failed is always false: an error of SQLite that ends the transaction is seen
// by the commit.
func (c *sqliteConn) failed() bool { return false }
func (c *sqliteConn) dead() bool   { return false }

// interrupt has the driver watch one channel for as long as the connection
// lives: its goroutine is asked at each change, and two turns of the scheduler
// took longer than most queries.
func (c *sqliteConn) interrupt(ctx context.Context) {
	if c.stop != nil && !c.stop() {
		<-c.given // the end of ctx came first; the driver needs a new channel
		c.given = nil
	}
	c.stop = nil
	if ctx == nil || ctx.Done() == nil {
		if c.given == nil && c.watched {
			c.c.SetInterrupt(nil)
			c.watched = false
		}
		return
	}
	if c.given == nil {
		c.given, c.watched = make(chan struct{}), true
		c.c.SetInterrupt(c.given)
	}
	given := c.given
	if ctx.Err() != nil {
		close(given)
		c.stop = func() bool { return false }
		return
	}
	c.stop = context.AfterFunc(ctx, func() { close(given) })
}

func (c *sqliteConn) close() {
	if c.writer {
		_ = c.script("PRAGMA wal_checkpoint(TRUNCATE);\n")
	}
	_ = c.c.Close()
}

// largeValue is the size from which on a value is not kept by its statement until
// the next one takes its place.
const largeValue = 64 << 10

type sqliteStmt struct {
	s     *sqlite.Stmt
	large bool // a parameter has a large value
}

func (s *sqliteStmt) bindNull(i int)             { s.s.BindNull(i + 1) }
func (s *sqliteStmt) bindInt(i int, v int64)     { s.s.BindInt64(i+1, v) }
func (s *sqliteStmt) bindFloat(i int, v float64) { s.s.BindFloat(i+1, v) }

func (s *sqliteStmt) bindText(i int, v string) {
	s.large = s.large || len(v) >= largeValue
	s.s.BindText(i+1, v)
}

func (s *sqliteStmt) bindBlob(i int, v []byte) {
	s.large = s.large || len(v) >= largeValue
	s.s.BindBytes(i+1, v)
}

func (c *sqliteConn) turn() {}

func (s *sqliteStmt) ahead() error { return nil } // nothing to save

func (s *sqliteStmt) step() (bool, error) {
	ok, err := s.s.Step()
	if err != nil {
		return false, dbError("step", err)
	}
	return ok, nil
}

func (s *sqliteStmt) run() error {
	_, err := s.s.Step()
	if e := s.s.Reset(); err == nil {
		err = e
	}
	if s.large {
		s.large = false
		if e := s.s.ClearBindings(); err == nil {
			err = e
		}
	}
	if err != nil {
		return dbError("run", err)
	}
	return nil
}

func (s *sqliteStmt) reset() error {
	if err := s.s.Reset(); err != nil {
		return dbError("reset", err)
	}
	return nil
}

func (s *sqliteStmt) colInt(i int) int64   { return s.s.ColumnInt64(i) }
func (s *sqliteStmt) colText(i int) string { return s.s.ColumnText(i) }
func (s *sqliteStmt) colNull(i int) bool   { return s.s.ColumnIsNull(i) }

func (s *sqliteStmt) colBlob(i int, dst []byte) []byte {
	n := s.s.ColumnLen(i)
	if n == 0 {
		return dst
	}
	at := len(dst)
	for cap(dst)-at < n {
		dst = append(dst[:cap(dst)], 0)
	}
	dst = dst[:at+n]
	s.s.ColumnBytes(i, dst[at:])
	return dst
}

func (s *sqliteStmt) colValue(i int) any {
	switch s.s.ColumnType(i) {
	case sqlite.TypeInteger:
		return s.s.ColumnInt64(i)
	case sqlite.TypeFloat:
		return s.s.ColumnFloat(i)
	case sqlite.TypeText:
		return s.s.ColumnText(i)
	case sqlite.TypeBlob:
		return s.colBlob(i, nil)
	}
	return nil
}

func (s *sqliteStmt) close() { _ = s.s.Finalize() }
