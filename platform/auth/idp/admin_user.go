package idp

import (
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// userView is a user as the API shows it.
type userView struct {
	ID          string     `json:"id"`
	Workspace   string     `json:"workspace,omitempty"`
	Name        string     `json:"name,omitempty"`
	FHIRUser    string     `json:"fhirUser,omitempty"`
	Disabled    bool       `json:"disabled"`
	TOTP        bool       `json:"totp"`
	TOTPSecret  string     `json:"totpSecret,omitempty"` // once, when it was made
	LockedUntil *time.Time `json:"lockedUntil,omitempty"`
	Created     time.Time  `json:"created"`
}

func (p *Provider) viewUser(u *User) userView {
	v := userView{ID: u.ID, Workspace: u.Workspace, Name: u.Name, FHIRUser: u.FHIRUser, Disabled: u.Disabled, TOTP: u.TOTP != "", Created: u.Created}
	if p.d.Now().Before(u.LockedUntil) {
		v.LockedUntil = &u.LockedUntil
	}
	return v
}

// userBody is what may be said about a user. A password that is not there stays
// as it is, and so does the second factor; totp: true makes a new one. A new
// password or second factor ends all logins from before.
type userBody struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	FHIRUser string `json:"fhirUser"`
	Disabled bool   `json:"disabled"`
	TOTP     *bool  `json:"totp"`
}

func (p *Provider) listUsers(q *adminRequest) error {
	p.mu.RLock()
	list := sorted(p.users, func(u *User) bool { return q.within(u.Workspace) })
	p.mu.RUnlock()
	return listOf(q, list, p.viewUser)
}

func (p *Provider) userHere(q *adminRequest) (*User, error) {
	u, ok := p.user(q.Name)
	if !ok || !q.within(u.Workspace) {
		return nil, q.missing("user")
	}
	return u, nil
}

func (p *Provider) showUser(q *adminRequest) error {
	u, err := p.userHere(q)
	if err != nil {
		return err
	}
	return q.answer(false, p.viewUser(u))
}

func (p *Provider) putUser(q *adminRequest) error {
	var b userBody
	if err := q.decode(&b); err != nil {
		return err
	}
	u := &User{ID: q.Name, Workspace: q.Workspace, Name: b.Name, FHIRUser: b.FHIRUser, Disabled: b.Disabled, Created: p.d.Now().UTC()}
	if err := u.check(); err != nil {
		return err
	}
	if b.Password != "" {
		if err := checkNewPassword(b.Password); err != nil {
			return err
		}
		u.PasswordHash = hashPassword(b.Password) // slow, so before the lock
	}
	asked := *u
	return p.changing(q.ctx, func() error {
		next := asked
		u := &next
		if err := p.taken(q); err != nil {
			return err
		}
		old, exists := p.user(q.Name)
		switch {
		case exists:
			u.Created, u.TOTP, u.TOTPLast, u.Proofs = old.Created, old.TOTP, old.TOTPLast, old.Proofs
			if b.Password != "" || b.TOTP != nil {
				u.prove(p.d.Now())
			}
			if u.PasswordHash == "" { // a new password also ends a lockout
				u.PasswordHash, u.Failed, u.LockedUntil = old.PasswordHash, old.Failed, old.LockedUntil
			}
		case u.PasswordHash == "":
			return fault.New(fault.Invalid, "a new user needs a password")
		}
		secret := ""
		if b.TOTP != nil {
			u.TOTP, u.TOTPLast = "", 0
			if *b.TOTP {
				secret = newTOTP()
				u.TOTP = p.d.Sealer.Seal("totp "+u.ID, secret)
			}
		}
		if err := p.keepUser(q, u); err != nil {
			return err
		}
		v := p.viewUser(u)
		v.TOTPSecret = secret
		return q.answer(!exists, v)
	})
}

func (p *Provider) keepUser(q *adminRequest, u *User) error {
	if err := p.save(q.ctx, edit{kindUser, u.ID, u}); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[u.ID] = u
	p.generation.Add(1)
	return nil
}

func (p *Provider) deleteUser(q *adminRequest) error {
	return p.changing(q.ctx, func() error {
		u, err := p.userHere(q)
		if err != nil {
			return err
		}
		return p.remove(q, kindUser, u.ID)
	})
}
