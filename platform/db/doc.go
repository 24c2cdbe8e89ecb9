// Package db is the floor under every SQL store: connections, prepared
// statements, one writer with group commit, and migrations.
//
// A DB is one SQLite file in WAL mode with synchronous=FULL: a commit that
// returned is on disk. It has exactly one writing connection, owned by one
// goroutine, and a few reading ones. Writes are submitted as functions; the
// writer takes all that wait, runs them in one transaction and commits once,
// so that concurrent writers share an fsync. The page cache of the writer is
// small on purpose: a commit walks it.
//
// The exported types mention no driver. Statements use $1 placeholders and the
// SQL that PostgreSQL shares with SQLite.
//
// Reading order: db.go (open, readers), writer.go (group commit), stmt.go
// (the driver shim), migrate.go.
package db
