package db

import "context"

// Dialect names the engine below a DB, for the few places where SQL differs.
type Dialect uint8

// The dialects.
const (
	SQLite Dialect = iota
	Postgres
)

// String returns the name that files of a dialect carry: sqlite or postgres.
func (d Dialect) String() string {
	if d == Postgres {
		return "postgres"
	}
	return "sqlite"
}

// engine opens connections to one database. There is one per DB.
type engine interface {
	dialect() Dialect
	// open returns a connection; that of the writer when write is set.
	open(write bool) (conn, error)
	// again reports whether a transaction that failed with err may succeed
	// when it is run once more.
	again(err error) bool
	close()
}

// conn is one connection of an engine, used by one goroutine at a time.
type conn interface {
	prepare(text string) (stmt, error)
	script(text string) error
	begin(write bool) error
	// turn begins a transaction of the writer ahead of begin and waits for its
	// turn, where other nodes are known to write. What fails is left to begin.
	turn()
	commit() error
	// rollback ends the transaction if one is open.
	rollback() error
	// failed reports whether the open transaction can only be rolled back.
	failed() bool
	// dead reports whether the connection is of no more use.
	dead() bool
	// interrupt makes running statements fail when ctx is done; nil ends that.
	interrupt(ctx context.Context)
	close()
}

// stmt is a prepared statement. Parameters and columns count from 0.
type stmt interface {
	bindNull(i int)
	bindInt(i int, v int64)
	bindFloat(i int, v float64)
	bindText(i int, v string)
	bindBlob(i int, v []byte)
	// ahead sends a query whose rows are asked for later.
	ahead() error
	// step moves to the next row, running the statement at first.
	step() (bool, error)
	// run executes a statement whose rows nobody wants. Inside the writer an
	// engine may send it later, together with the statement after it.
	run() error
	reset() error
	colInt(i int) int64
	colText(i int) string
	colNull(i int) bool
	colBlob(i int, dst []byte) []byte
	colValue(i int) any
	close()
}
