// Package db is the floor under every SQL store: connections, prepared
// statements, one writer with group commit, and migrations.
//
// A DB is one SQLite file in WAL mode with synchronous=FULL, or one schema of
// PostgreSQL: a commit that returned is on disk. It has exactly one writing
// connection, owned by one goroutine, and a few reading ones. Writes are
// submitted as functions; the writer takes all that wait, runs them in one
// transaction and commits once, so that concurrent writers share an fsync. What SQLite appends to
// its log is written with few calls (sqlite_wal.go), and a commit does not walk the
// page cache (sqlite_pages.go). Pages of a file end with checksums, so that damage is an error and no
// answer (sqlite_seal.go). A reader keeps its snapshot for the next read as
// long as nobody has committed since (DB.ReadTx).
//
// Several nodes may have a schema open. The transactions of their writers take
// turns, by a lock that each holds from its beginning to its end: a work may
// read, decide and write as if it were alone on either engine. What a
// store keeps in memory it must compare with the tables at the beginning of a
// transaction (OnBegin), because another node may have written in between.
//
// # One owner among the nodes
//
// What only one node may do at a time - deliver events, read a broker, move files -
// runs inside Lead:
//
//	d.Lead(ctx, "pipeline", func(ctx context.Context, term *db.Term) {
//		for ctx.Err() == nil {
//			... read what is next, do it ...
//			err := d.Write(ctx, &db.Work{Do: func(c *db.Conn) error {
//				if err := term.Check(c); err != nil {
//					return err // db.ErrNotLeading: another node goes on
//				}
//				return ... write how far it is ...
//			}})
//		}
//	})
//
// The term ends by itself when the node cannot renew its lease, and Check fences off
// an owner that did not notice: what is written in the schema is written by one
// owner at a time. What it does elsewhere between two checks, such as a
// request to somebody else, may be done again by the next owner; so it has to
// do no harm twice. Other nodes are woken by Notify and Listen (a node that stores
// a message tells the owner), and must not wait for it longer than a poll would
// take: a notification is lost with its connection. Announce and
// ListenAll do the same for all schemas of a database, with one connection. On a file the same code runs
// alone.
//
// # What a node remembers
//
// A cache of what other nodes may write is right when it was compared with the
// change sequence of the tables, which is a round trip, or while the node has a
// grant: see Trust.
//
// # SQL that every engine takes
//
// The exported types mention no driver: below them lies a small engine. Stores
// write SQL that SQLite and PostgreSQL share:
//
//   - parameters are $1, $2, ..., numbered in the order in which they first appear;
//   - a derived table has a name: FROM (SELECT ...) n;
//   - CROSS JOIN has no ON; the condition stands in WHERE. SQLite joins in the
//     order that is written;
//   - a condition is a truth value, not a number: (c) IS TRUE instead of coalesce(c, 0);
//   - ORDER BY says NULLS FIRST or NULLS LAST where a column may be NULL;
//   - LIMIT takes a sum, LIMIT $1+0: a bare parameter there makes SQLite prepare
//     the statement anew each time it is bound, which costs more than most searches;
//   - ON CONFLICT and RETURNING are there; functions of SQLite alone are not;
//   - an id is given by the program, not by an INTEGER PRIMARY KEY left out.
//
// What still differs asks Conn.Dialect. A work of the writer may be run again
// after its transaction was rolled back, so it changes nothing but the
// database, or takes it back in OnEnd.
//
// Reading order: db.go (open, readers), writer.go (group commit), stmt.go
// (statements), insert.go (many rows), migrate.go, listen.go, lead.go and
// trust.go (several nodes), engine.go (what an engine is), sqlite.go with
// sqlite_wal.go and sqlite_pages.go (fewer calls), sqlite_seal.go and sqlite_log.go
// (damage), inspect.go (after a crash), postgres.go (sessions and errors),
// postgres_dial.go (servers and connections), postgres_cancel.go, postgres_conn.go (round trips),
// postgres_stmt.go (values).
package db
