package idp

import (
	"context"
	"errors"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// channel is where nodes announce that objects or revocations changed.
const channel = "identity"

// announce tells the other nodes when the transaction is committed.
func announce(c *db.Conn) error {
	if err := c.Notify(channel); err != nil {
		return &db.Broken{Err: err}
	}
	return nil
}

// Follow takes over what other nodes change: clients, users, roles,
// assignments, keys and revocations. It returns when ctx ends.
func (p *Provider) Follow(ctx context.Context, failed func(error)) {
	p.store.db.Listen(ctx, channel, func(ctx context.Context) {
		if err := p.reload(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
	})
}

// errStale means that another node changed something since this one read it.
var errStale error = &fault.Error{
	Kind: fault.Transient, Op: "idp: change", Msg: "clients, users and roles are changed by many at the same time; try again", RetryAfter: time.Second,
}

// maxStale is how often a change is tried anew.
const maxStale = 20

// changing does a change of objects. f decides by what is in memory and saves;
// when another node was faster it is called again, with what that one wrote, so
// it must not answer before it has saved.
func (p *Provider) changing(ctx context.Context, f func() error) error {
	p.change.Lock()
	defer p.change.Unlock()
	for try := 0; ; try++ {
		err := f()
		if !errors.Is(err, errStale) || try == maxStale {
			return err
		}
		if err := p.refresh(ctx); err != nil {
			return err
		}
	}
}

// save does all edits or none; the caller is inside changing.
func (p *Provider) save(ctx context.Context, edits ...edit) error {
	err := p.store.save(ctx, p.version.Load(), edits...)
	if err == nil {
		p.version.Add(1)
	}
	return err
}

// shared reports whether other nodes may use the same database.
func (p *Provider) shared() bool { return p.d.DB.Dialect() != db.SQLite }

// catchUp reads everything anew when something is asked for that is not there and
// another node changed something: what it made a moment ago may be used here
// before its message comes.
func (p *Provider) catchUp(ctx context.Context) error {
	if !p.shared() {
		return nil
	}
	if now, err := p.store.version(ctx); err != nil || now == p.version.Load() {
		return err
	}
	return p.reload(ctx)
}

// reload reads everything anew.
func (p *Provider) reload(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	return p.refresh(ctx)
}

// refresh reads everything anew; the caller holds change.
func (p *Provider) refresh(ctx context.Context) error {
	fresh := &Provider{
		d: p.d, store: p.store,
		clients: map[string]*Client{}, users: map[string]*User{}, roles: map[string]*Role{},
		assigned: map[string]*Assignment{}, revoked: map[string]time.Time{},
	}
	if err := fresh.read(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients, p.users, p.roles, p.assigned = fresh.clients, fresh.users, fresh.roles, fresh.assigned
	p.keys, p.revoked = fresh.keys, fresh.revoked
	p.version.Store(fresh.version.Load())
	p.sortKeys()
	p.index()
	return nil
}
