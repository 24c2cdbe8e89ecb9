package idp

import (
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/db"
)

// TestEpoch: what somebody got by a login ends when client or user are others, be it
// in the same instant; what was made before there were epochs goes by its time.
func TestEpoch(t *testing.T) {
	made := time.Date(2026, 11, 22, 7, 0, 0, 300, time.UTC)
	client := &Client{ID: "app", Created: made}
	user := func(proofs ...time.Time) *User {
		u := &User{ID: "alice", Created: made}
		for _, at := range proofs {
			u.prove(at)
		}
		return u
	}
	second := made.Truncate(time.Second)
	for _, tt := range []struct {
		name   string
		client *Client
		user   *User // as it is now
		old    bool  // made before there were epochs
		at     time.Time
		token  bool
		grant  bool
	}{
		{"the same", client, user(), false, made, true, true},
		{"the same, by a clock that is behind", client, user(), false, made.Add(-time.Hour), true, true},
		{"another password", client, user(made.Add(time.Millisecond)), false, made, false, false},
		{"another password in the same instant", client, user(made), false, made, false, false},
		{"another password, by a clock that is behind", client, user(made.Add(-time.Hour)), false, made, false, false},
		{"disabled", client, &User{ID: "alice", Created: made, Disabled: true}, false, made, false, false},
		{"another user", client, &User{ID: "alice", Created: made.Add(1)}, false, made, false, false},
		{"another client", &Client{ID: "app", Created: made.Add(1)}, user(), false, made, false, false},
		{"no user", client, nil, false, made, false, false},
		{"no client", nil, user(), false, made, false, false},
		{"old", client, user(), true, made, true, true},
		{"old, in the second before", client, user(), true, second.Add(-1), false, false},
		{"old, and another password", client, user(made.Add(time.Minute)), true, made, false, false},
	} {
		p := &Provider{clients: map[string]*Client{}, users: map[string]*User{}}
		if tt.client != nil {
			p.clients["app"] = tt.client
		}
		if tt.user != nil {
			p.users["alice"] = tt.user
		}
		epoch := loginEpoch(client, user())
		if tt.old {
			epoch = ""
		}
		if got := p.counts(&auth.Claims{ClientID: "app", Subject: "alice", IssuedAt: auth.At(tt.at), Epoch: epoch}); got != tt.token {
			t.Errorf("%s: the token counts: %v", tt.name, got)
		}
		if got := p.stands(&grant{Client: "app", User: "alice", AuthTime: tt.at, Epoch: epoch}); got != tt.grant {
			t.Errorf("%s: the grant stands: %v", tt.name, got)
		}
	}
	p := &Provider{clients: map[string]*Client{"app": client}}
	for epoch, want := range map[string]bool{client.epoch(): true, "": true, "1": false, loginEpoch(client, user()): false} {
		if got := p.counts(&auth.Claims{ClientID: "app", Subject: "app", IssuedAt: auth.At(made), Epoch: epoch}); got != want {
			t.Errorf("a client on its own, epoch %q: %v", epoch, got)
		}
	}
}

// TestPasswordMeanwhile: who has the old password is not let in when another one is
// set while it is checked.
func TestPasswordMeanwhile(t *testing.T) {
	p := openProvider(t, time.Now)
	before := hashPassword("correct horse")
	p.users["alice"] = &User{ID: "alice", PasswordHash: before, Created: time.Now()}
	r := httptest.NewRequest("POST", "/auth/login", nil)
	if u, err := p.countLogin(r, "alice", "", before, true); u == nil || err != nil {
		t.Fatalf("nothing changed: %v, %v", u, err)
	}
	p.users["alice"] = &User{ID: "alice", PasswordHash: hashPassword("another horse"), Created: time.Now()}
	if u, err := p.countLogin(r, "alice", "", before, true); u != nil || err != nil {
		t.Fatalf("the old password passes: %v, %v", u, err)
	}
}

// openProvider opens a provider on a file of its own.
func openProvider(t *testing.T, now func() time.Time) *Provider {
	t.Helper()
	d, err := db.Open(filepath.Join(t.TempDir(), "identity.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := OpenSealer(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), Deps{DB: d, Sealer: sealer, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestExpiredTickets: what is expired does not stay until the next start.
func TestExpiredTickets(t *testing.T) {
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	p := openProvider(t, func() time.Time { return now })
	count := func() (n int64) {
		t.Helper()
		err := p.store.db.Read(t.Context(), func(c *db.Conn) error {
			return c.Query("SELECT count(*) FROM ticket", func(s *db.Stmt) error { n = s.ColInt(0); return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put := func(hash string) {
		t.Helper()
		if fresh, err := p.store.put(t.Context(), ticket{hash: hash, kind: ticketSession, expires: now.Add(time.Minute)}); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
	}
	for _, hash := range []string{"a", "b", "c"} {
		put(hash)
	}
	if n := count(); n != 3 {
		t.Fatalf("%d tickets, want 3", n)
	}
	now = now.Add(time.Hour)
	put("a")
	if n := count(); n != 1 {
		t.Errorf("%d tickets after an hour, want that of the last minute", n)
	}
	now = now.Add(time.Hour)
	for want := int64(1); want <= 3; want++ {
		if n, err := p.store.failure(t.Context(), "192.0.2.1", now, now.Add(time.Minute)); err != nil || n != want {
			t.Errorf("%d failures, %v; want %d", n, err, want)
		}
	}
	if n := count(); n != 1 {
		t.Errorf("%d tickets after two hours, want that of the failures", n)
	}
	now = now.Add(time.Hour)
	if n, err := p.store.failure(t.Context(), "192.0.2.1", now, now.Add(time.Minute)); err != nil || n != 1 {
		t.Errorf("%d failures, %v; those from before are forgotten", n, err)
	}
}
