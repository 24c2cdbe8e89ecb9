package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Conn is one connection. It is used by one goroutine at a time.
type Conn struct {
	c     *sqlite.Conn
	stmts map[string]*Stmt
}

// maxStmts bounds the prepared statements of a connection; beyond it all are
// dropped, which costs a few microseconds per statement to come back.
const maxStmts = 512

// Stmt is a prepared statement. Parameters and columns are numbered from 0 in
// the order of $1, $2, ... and of the select list.
type Stmt struct {
	s *sqlite.Stmt
}

// Prepare returns the statement for a text, prepared once per connection, reset
// and with all parameters NULL.
func (c *Conn) Prepare(text string) (*Stmt, error) {
	if s := c.stmts[text]; s != nil {
		if err := s.s.Reset(); err != nil {
			return nil, dbError("reset", err)
		}
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		for k, s := range c.stmts {
			_ = s.s.Finalize()
			delete(c.stmts, k)
		}
	}
	ps, _, err := c.c.PrepareTransient(text)
	if err != nil {
		return nil, dbError("prepare", fmt.Errorf("%w in %s", err, text))
	}
	s := &Stmt{s: ps}
	c.stmts[text] = s
	return s, nil
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
func (c *Conn) Script(text string) error {
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

// Bind sets all parameters from the first on.
func (s *Stmt) Bind(args ...any) {
	for i, a := range args {
		switch v := a.(type) {
		case nil:
			s.s.BindNull(i + 1)
		case int:
			s.s.BindInt64(i+1, int64(v))
		case int64:
			s.s.BindInt64(i+1, v)
		case float64:
			s.s.BindFloat(i+1, v)
		case string:
			s.s.BindText(i+1, v)
		case []byte:
			s.s.BindBytes(i+1, v)
		default:
			panic(fmt.Sprintf("db: cannot bind a %T", a))
		}
	}
}

// Int sets parameter i.
func (s *Stmt) Int(i int, v int64) { s.s.BindInt64(i+1, v) }

// Float sets parameter i.
func (s *Stmt) Float(i int, v float64) { s.s.BindFloat(i+1, v) }

// Text sets parameter i.
func (s *Stmt) Text(i int, v string) { s.s.BindText(i+1, v) }

// Blob sets parameter i.
func (s *Stmt) Blob(i int, v []byte) { s.s.BindBytes(i+1, v) }

// Null sets parameter i.
func (s *Stmt) Null(i int) { s.s.BindNull(i + 1) }

// Step moves to the next row; false at the end.
func (s *Stmt) Step() (bool, error) {
	ok, err := s.s.Step()
	if err != nil {
		return false, dbError("step", err)
	}
	return ok, nil
}

// Run steps to the end and resets.
func (s *Stmt) Run() error {
	_, err := s.s.Step()
	if e := s.s.Reset(); err == nil {
		err = e
	}
	if err != nil {
		return dbError("run", err)
	}
	return nil
}

// Reset ends a query and makes the statement ready for the next one.
func (s *Stmt) Reset() { _ = s.s.Reset() }

// ColInt returns column i as an integer; 0 for NULL.
func (s *Stmt) ColInt(i int) int64 { return s.s.ColumnInt64(i) }

// ColFloat returns column i as a float.
func (s *Stmt) ColFloat(i int) float64 { return s.s.ColumnFloat(i) }

// ColText returns column i as text.
func (s *Stmt) ColText(i int) string { return s.s.ColumnText(i) }

// ColNull reports whether column i is NULL.
func (s *Stmt) ColNull(i int) bool { return s.s.ColumnIsNull(i) }

// ColBlob appends column i to dst.
func (s *Stmt) ColBlob(i int, dst []byte) []byte {
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

// ColValue returns column i as int64, float64, string, []byte or nil.
func (s *Stmt) ColValue(i int) any {
	switch s.s.ColumnType(i) {
	case sqlite.TypeInteger:
		return s.s.ColumnInt64(i)
	case sqlite.TypeFloat:
		return s.s.ColumnFloat(i)
	case sqlite.TypeText:
		return s.s.ColumnText(i)
	case sqlite.TypeBlob:
		return s.ColBlob(i, nil)
	}
	return nil
}

// dbError turns a driver's error into a fault: a full disk, a busy or read-only
// file and an interrupted query are Transient or Timeout, all else Internal.
func dbError(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &fault.Error{Kind: fault.Timeout, Op: "db: " + op, Msg: "the request took too long or was given up", Err: err}
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultInterrupt:
		return &fault.Error{Kind: fault.Timeout, Op: "db: " + op, Msg: "the request took too long or was given up", Err: err}
	case sqlite.ResultFull:
		return &fault.Error{Kind: fault.Transient, Op: "db: " + op, Msg: "the disk is full; nothing was stored", Err: err}
	case sqlite.ResultIOErr, sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultReadOnly, sqlite.ResultCantOpen:
		return &fault.Error{Kind: fault.Transient, Op: "db: " + op, Msg: "the database is not available now; nothing was stored", Err: err}
	}
	return &fault.Error{Kind: fault.Internal, Op: "db: " + op, Msg: "internal error", Err: err}
}
