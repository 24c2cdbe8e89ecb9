package idp

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// store keeps objects and tickets.
type store struct {
	db  *db.DB
	now func() time.Time
}

func openStore(ctx context.Context, d *db.DB, now func() time.Time) (*store, error) {
	if err := d.Migrate(ctx, migrations); err != nil {
		return nil, err
	}
	return &store{d, now}, nil
}

// load calls f with every object of a kind.
func (s *store) load(ctx context.Context, kind string, f func(id string, body []byte) error) error {
	return s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT id, body FROM object WHERE kind = $1 ORDER BY id", func(r *db.Stmt) error {
			return f(r.ColText(0), []byte(r.ColText(1)))
		}, kind)
	})
}

// edit is one change of an object; a nil body deletes it.
type edit struct {
	kind, id string
	body     any
}

// kindVersion is the kind of the one object that counts the changes of the others.
const kindVersion = "version"

// version returns how often objects were changed.
func (s *store) version(ctx context.Context) (n int64, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		n, err = readVersion(c)
		return err
	})
	return n, err
}

func readVersion(c *db.Conn) (n int64, err error) {
	err = c.Query("SELECT body FROM object WHERE kind = $1 AND id = $2", func(r *db.Stmt) error {
		n, err = strconv.ParseInt(r.ColText(0), 10, 64)
		return err
	}, kindVersion, "")
	return n, err
}

const putObject = "INSERT INTO object (kind, id, body) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"

// save does all edits or none. It is errStale unless version is still what it
// was when the objects were read that the edits come from.
func (s *store) save(ctx context.Context, version int64, edits ...edit) error {
	texts := make([]string, len(edits))
	for i, e := range edits {
		if e.body == nil {
			continue
		}
		text, err := json.Marshal(e.body)
		if err != nil {
			return fault.Wrap("idp: save", err)
		}
		texts[i] = string(text)
	}
	return s.write(ctx, func(c *db.Conn) error {
		if now, err := readVersion(c); err != nil || now != version {
			return cmp.Or(err, errStale)
		}
		if err := c.Exec(putObject, kindVersion, "", strconv.FormatInt(version+1, 10)); err != nil {
			return &db.Broken{Err: err}
		}
		for i, e := range edits {
			var err error
			if e.body == nil {
				err = c.Exec("DELETE FROM object WHERE kind = $1 AND id = $2", e.kind, e.id)
			} else {
				err = c.Exec(putObject, e.kind, e.id, texts[i])
			}
			if err != nil {
				return &db.Broken{Err: err} // the edits belong together
			}
		}
		return announce(c)
	})
}

func (s *store) write(ctx context.Context, f func(*db.Conn) error) error {
	return fault.Wrap("idp: write", s.db.Write(ctx, &db.Work{Do: f}))
}

// The kinds of tickets.
const (
	ticketCode      = "code"
	ticketRefresh   = "refresh"
	ticketSession   = "session"
	ticketLaunch    = "launch"
	ticketAssertion = "assertion" // the id of an assertion that was used
	ticketFailure   = "failure"   // how often somebody at an address guessed wrong
	ticketRevoked   = "revoked"   // the id of a token, or of a family, that was taken back
)

// ticket is something short-lived that is found by a secret.
type ticket struct {
	hash    string
	kind    string
	family  string // what came from the same login
	expires time.Time
	body    any
}

// put keeps a ticket; it reports whether there was none with this hash. Those that
// are expired go, so that there are never many more than what is valid.
func (s *store) put(ctx context.Context, t ticket) (fresh bool, err error) {
	text, err := json.Marshal(t.body)
	if err != nil {
		return false, fault.Wrap("idp: ticket", err)
	}
	err = s.write(ctx, func(c *db.Conn) error {
		fresh = false
		if err := sweep(c, s.now()); err != nil {
			return err
		}
		if t.kind == ticketRevoked {
			if err := announce(c); err != nil {
				return err
			}
		}
		return c.Query("INSERT INTO ticket (hash, kind, family, expires, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO NOTHING RETURNING 1",
			func(*db.Stmt) error { fresh = true; return nil }, t.hash, t.kind, t.family, t.expires.Unix(), string(text))
	})
	return fresh, err
}

// get reads a ticket that is not expired.
func (s *store) get(ctx context.Context, hash, kind string, now time.Time, body any) (ok bool, family string, err error) {
	err = s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT family, body FROM ticket WHERE hash = $1 AND kind = $2 AND expires > $3", func(r *db.Stmt) error {
			ok, family = true, r.ColText(0)
			return json.Unmarshal([]byte(r.ColText(1)), body)
		}, hash, kind, now.Unix())
	})
	return ok, family, fault.Wrap("idp: ticket", err)
}

// replace puts another body into a ticket if it still has the old one, which
// decides between two who use it at the same time.
func (s *store) replace(ctx context.Context, hash string, old, next any) (done bool, err error) {
	a, err := json.Marshal(old)
	if err != nil {
		return false, fault.Wrap("idp: ticket", err)
	}
	b, err := json.Marshal(next)
	if err != nil {
		return false, fault.Wrap("idp: ticket", err)
	}
	err = s.write(ctx, func(c *db.Conn) error {
		done = false
		return c.Query("UPDATE ticket SET body = $1 WHERE hash = $2 AND body = $3 RETURNING 1",
			func(*db.Stmt) error { done = true; return nil }, string(b), hash, string(a))
	})
	return done, err
}

// remove deletes a ticket, removeFamily all that came from the same login.
func (s *store) remove(ctx context.Context, hash string) error {
	return s.write(ctx, func(c *db.Conn) error { return c.Exec("DELETE FROM ticket WHERE hash = $1", hash) })
}

func (s *store) removeFamily(ctx context.Context, family string) error {
	return s.write(ctx, func(c *db.Conn) error {
		return c.Exec("DELETE FROM ticket WHERE family = $1 AND kind <> $2", family, ticketRevoked)
	})
}

// sweep deletes the tickets that are expired.
func sweep(c *db.Conn, now time.Time) error {
	return c.Exec("DELETE FROM ticket WHERE expires <= $1", now.Unix())
}

// revoked calls f with everything that was taken back and could still be shown.
func (s *store) revoked(ctx context.Context, now time.Time, f func(id string, until time.Time)) error {
	return s.db.Read(ctx, func(c *db.Conn) error {
		return c.Query("SELECT body, expires FROM ticket WHERE kind = $1 AND expires > $2", func(r *db.Stmt) error {
			var id string
			if err := json.Unmarshal([]byte(r.ColText(0)), &id); err != nil {
				return err
			}
			f(id, time.Unix(r.ColInt(1), 0))
			return nil
		}, ticketRevoked, now.Unix())
	})
}

// failure counts a failure of somebody, and returns how many there were until
// then; it is forgotten after until.
func (s *store) failure(ctx context.Context, who string, now, until time.Time) (n int64, err error) {
	err = s.write(ctx, func(c *db.Conn) error {
		if err := sweep(c, now); err != nil {
			return err
		}
		return c.Query("INSERT INTO ticket (hash, kind, family, expires, body) VALUES ($1, $2, '', $3, '1') ON CONFLICT (hash) DO UPDATE SET expires = excluded.expires,"+
			" body = CAST(CAST(ticket.body AS BIGINT) + 1 AS TEXT) RETURNING body", func(r *db.Stmt) error {
			n, err = strconv.ParseInt(r.ColText(0), 10, 64)
			return err
		}, "failure:"+hashSecret(who), ticketFailure, until.Unix())
	})
	return n, err
}
