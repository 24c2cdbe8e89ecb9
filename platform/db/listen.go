package db

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Notify tells the other nodes that listen on a channel of this database that
// the open transaction changed something, when it is committed. A file has no
// other nodes.
func (c *Conn) Notify(channel string) error {
	pc, ok := c.c.(*pgConn)
	if !ok {
		return nil
	}
	return c.Exec("SELECT pg_notify($1, '')", pc.eng.channel(channel))
}

// Announce is Notify for all who listen to a topic on any schema of the server's
// database; they are told which schema it comes from. One connection of a
// node can so follow all of its stores.
func (c *Conn) Announce(topic string) error {
	pc, ok := c.c.(*pgConn)
	if !ok {
		return nil
	}
	return c.Exec("SELECT pg_notify($1, $2)", announced(topic), pc.eng.schema)
}

func announced(topic string) string { return "hygeia/" + topic }

// ListenAll is Listen for Announce: f gets the schema that it comes from, or ""
// when any may have announced something. f runs for one at a time.
func (d *DB) ListenAll(ctx context.Context, topic string, f func(ctx context.Context, schema string)) {
	e, ok := d.eng.(*pgEngine)
	if !ok {
		f(ctx, "")
		<-ctx.Done()
		return
	}
	e.keepListening(ctx, announced(topic), f)
}

// Schema returns the schema on the server, "" for a file.
func (d *DB) Schema() string {
	if e, ok := d.eng.(*pgEngine); ok {
		return e.schema
	}
	return ""
}

// Listen calls f once at its beginning and then after each Notify, by any
// node, until ctx ends. Several in a row may be one call, and after the
// connection was lost f is called because something may have been missed. On a
// file, f is called only once: its one process knows what it wrote.
func (d *DB) Listen(ctx context.Context, channel string, f func(context.Context)) {
	e, ok := d.eng.(*pgEngine)
	if !ok {
		f(ctx)
		<-ctx.Done()
		return
	}
	e.keepListening(ctx, e.channel(channel), func(ctx context.Context, _ string) { f(ctx) })
}

// keepListening calls f with what was sent on a channel, and with "" when the
// connection was made.
func (e *pgEngine) keepListening(ctx context.Context, channel string, f func(context.Context, string)) {
	for ctx.Err() == nil {
		_ = e.listen(ctx, channel, f) // it is tried again; the checks of readiness tell
		select {
		case <-time.After(listenPause):
		case <-ctx.Done():
		}
	}
}

const (
	listenPause = 200 * time.Millisecond // before the connection is made again
	listenAlive = 10 * time.Second       // how often a quiet connection is asked whether it lives
)

// channel returns the name of a channel: those of a server are shared by its schemas.
func (e *pgEngine) channel(name string) string {
	name = e.schema + "." + name
	return name[:min(len(name), 63)] // the limit of PostgreSQL
}

// listen returns when the connection is lost.
func (e *pgEngine) listen(ctx context.Context, channel string, f func(context.Context, string)) error {
	var heard []string
	pc, met, err := e.dial(ctx, false, func(cfg *pgconn.Config) {
		cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { heard = append(heard, n.Payload) }
		// There is no query to cancel: the wait for the next message ends at once.
		cfg.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.DeadlineContextWatcherHandler{Conn: pc.Conn()}
		}
	})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = pc.Close(ctx)
	}()
	if _, err := pc.Exec(ctx, "LISTEN "+quoteName(channel)).ReadAll(); err != nil {
		return err
	}
	f(ctx, "") // what was written before anybody listened
	for {
		wait, cancel := context.WithTimeout(ctx, listenAlive)
		err := pc.WaitForNotification(wait)
		late := wait.Err()
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			for len(heard) > 0 {
				list := slices.Compact(heard)
				heard = nil
				for _, payload := range list {
					f(ctx, payload)
				}
			}
		case errors.Is(late, context.DeadlineExceeded) && !pc.IsClosed():
			if err := pc.Ping(ctx); err != nil || met.era != e.server.era.Load() {
				return err
			}
		default:
			return err
		}
	}
}

// InSchema returns the address of a schema of the PostgreSQL database at an address.
func InSchema(address, schema string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || !isPostgres(address) { // the text of the error may hold a password
		return "", fault.New(fault.Invalid, "the address of the PostgreSQL database cannot be read; it looks like postgres://user@host/database")
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
