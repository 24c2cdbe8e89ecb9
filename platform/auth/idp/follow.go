package idp

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/platform/db"
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

// reload reads everything anew.
func (p *Provider) reload(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
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
	p.sortKeys()
	p.index()
	return nil
}
