package idp

import (
	"context"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// What somebody got by a login carries its epoch: which client it was for, and by
// which proofs of which user. It counts as long as the epoch is still the same. The
// times of tokens do not tell: they are whole seconds, clocks of nodes differ, and a
// password may be replaced while it is being checked.

// epoch differs between clients that had the same name one after the other.
func (c *Client) epoch() string { return strconv.FormatInt(c.Created.UnixNano(), 36) }

// epoch changes with each new password or second factor.
func (u *User) epoch() string { return strconv.FormatInt(u.since().UnixNano(), 36) }

// loginEpoch is the epoch of a login of a user with a client.
func loginEpoch(c *Client, u *User) string { return c.epoch() + "." + u.epoch() }

// prove notes that the proofs of a user are others now, whatever the clock says.
func (u *User) prove(now time.Time) {
	if last := u.since(); !now.After(last) {
		now = last.Add(time.Nanosecond)
	}
	u.Proofs = now.UTC()
}

// proven reports whether a user may still log in, with the proofs of an epoch.
// What has none was made by a version before this, and goes by its time.
func (u *User) proven(epoch string, at time.Time) bool {
	if u == nil || u.Disabled {
		return false
	}
	if epoch == "" {
		return !at.Before(u.since())
	}
	return epoch == u.epoch()
}

// counts reports whether client and user of a token are those that it was given to.
func (p *Provider) counts(t *auth.Claims) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c, alone := p.clients[t.ClientID], t.Subject == t.ClientID
	u := p.users[t.Subject]
	if c == nil || !alone && (u == nil || u.Disabled) {
		return false
	}
	switch {
	case t.Epoch == "": // of a version before this
		return !issuedBefore(t, c.Created) && (alone || !issuedBefore(t, u.since()))
	case alone:
		return t.Epoch == c.epoch()
	}
	return t.Epoch == loginEpoch(c, u)
}

// stands reports whether client and user of a grant are those that it was given to.
func (p *Provider) stands(g *grant) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c, u := p.clients[g.Client], p.users[g.User]
	if c == nil || u == nil || u.Disabled {
		return false
	}
	if g.Epoch == "" { // of a version before this
		return !g.AuthTime.Before(u.since())
	}
	return g.Epoch == loginEpoch(c, u)
}

// issuedBefore finds tokens of somebody who had the same name before.
func issuedBefore(c *auth.Claims, created time.Time) bool {
	return c.IssuedAt == nil || c.IssuedAt.Time().Before(created.Truncate(time.Second))
}

// caughtUp asks whether something counts, and if not once more with what other nodes
// wrote: somebody may have logged in there, a moment after the password was set.
func (p *Provider) caughtUp(ctx context.Context, counts func() bool) bool {
	return counts() || p.shared() && p.catchUp(ctx) == nil && counts()
}
