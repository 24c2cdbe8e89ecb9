package idp

import (
	"encoding/json"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// clientView is a client as the API shows it.
type clientView struct {
	ID           string          `json:"id"`
	Workspace    string          `json:"workspace,omitempty"`
	Name         string          `json:"name,omitempty"`
	Public       bool            `json:"public"`
	Secret       string          `json:"clientSecret,omitempty"` // once, when it was made
	JWKS         json.RawMessage `json:"jwks,omitempty"`
	JWKSURI      string          `json:"jwksUri,omitempty"`
	RedirectURIs []string        `json:"redirectUris,omitempty"`
	LaunchURI    string          `json:"launchUri,omitempty"`
	GrantTypes   []string        `json:"grantTypes"`
	Scopes       []string        `json:"scopes,omitempty"`
	Created      time.Time       `json:"created"`
}

func viewClient(c *Client) clientView {
	return clientView{
		ID: c.ID, Workspace: c.Workspace, Name: c.Name, Public: c.Public, JWKS: c.JWKS, JWKSURI: c.JWKSURI,
		RedirectURIs: c.RedirectURIs, LaunchURI: c.LaunchURI, GrantTypes: c.GrantTypes, Scopes: c.Scopes, Created: c.Created,
	}
}

// clientBody is what may be said about a client.
type clientBody struct {
	Name         string          `json:"name"`
	Public       bool            `json:"public"`
	JWKS         json.RawMessage `json:"jwks"`
	JWKSURI      string          `json:"jwksUri"`
	RedirectURIs []string        `json:"redirectUris"`
	LaunchURI    string          `json:"launchUri"`
	GrantTypes   []string        `json:"grantTypes"`
	Scopes       []string        `json:"scopes"`
}

func (p *Provider) listClients(q *adminRequest) error {
	p.mu.RLock()
	list := sorted(p.clients, func(c *Client) bool { return q.within(c.Workspace) })
	p.mu.RUnlock()
	return listOf(q, list, viewClient)
}

func (p *Provider) clientHere(q *adminRequest) (*Client, error) {
	c, ok := p.client(q.Name)
	if !ok || !q.within(c.Workspace) {
		return nil, q.missing("client")
	}
	return c, nil
}

func (p *Provider) showClient(q *adminRequest) error {
	c, err := p.clientHere(q)
	if err != nil {
		return err
	}
	return q.answer(false, viewClient(c))
}

func (p *Provider) putClient(q *adminRequest) error {
	var b clientBody
	if err := q.decode(&b); err != nil {
		return err
	}
	if string(b.JWKS) == "null" {
		b.JWKS = nil
	}
	return p.changing(q.ctx, func() error {
		if err := p.taken(q); err != nil {
			return err
		}
		c := &Client{
			ID: q.Name, Workspace: q.Workspace, Name: b.Name, Public: b.Public, JWKS: b.JWKS, JWKSURI: b.JWKSURI,
			RedirectURIs: b.RedirectURIs, LaunchURI: b.LaunchURI, GrantTypes: unique(b.GrantTypes), Scopes: b.Scopes, Created: p.d.Now().UTC(),
		}
		if err := c.check(); err != nil {
			return err
		}
		secret := ""
		old, exists := p.client(q.Name)
		switch {
		case exists:
			c.Created, c.SecretHash = old.Created, old.SecretHash
			if c.Public {
				c.SecretHash = ""
			}
		case !c.Public && len(c.JWKS) == 0 && c.JWKSURI == "":
			secret = newSecret()
			c.SecretHash = hashSecret(secret)
		}
		if err := p.keepClient(q, c); err != nil {
			return err
		}
		v := viewClient(c)
		v.Secret = secret
		return q.answer(!exists, v)
	})
}

func (p *Provider) keepClient(q *adminRequest, c *Client) error {
	if err := p.save(q.ctx, edit{kindClient, c.ID, c}); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[c.ID] = c
	p.generation.Add(1)
	return nil
}

func (p *Provider) deleteClient(q *adminRequest) error {
	return p.changing(q.ctx, func() error {
		c, err := p.clientHere(q)
		if err != nil {
			return err
		}
		return p.remove(q, kindClient, c.ID)
	})
}

// newClientSecret answers POST .../clients/{name}/secret: the old secret ends at once.
func (p *Provider) newClientSecret(q *adminRequest) error {
	return p.changing(q.ctx, func() error {
		old, err := p.clientHere(q)
		if err != nil {
			return err
		}
		if old.Public {
			return fault.New(fault.Conflict, "a public client has no secret")
		}
		c, secret := *old, newSecret()
		c.SecretHash = hashSecret(secret)
		if err := p.keepClient(q, &c); err != nil {
			return err
		}
		v := viewClient(&c)
		v.Secret = secret
		return q.answer(false, v)
	})
}
