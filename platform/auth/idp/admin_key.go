package idp

import (
	"net/http"
	"time"
)

// keyView is a signing key as the API shows it.
type keyView struct {
	ID      string    `json:"id"`
	Alg     string    `json:"alg"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until"` // signs no longer
}

func viewKey(k *signingKey) keyView { return keyView{k.ID, k.Alg, k.Created, k.Created.Add(keyTime)} }

// listKeys answers GET /manage/v1/signingkeys, newest first.
func (p *Provider) listKeys(q *adminRequest) error {
	p.mu.RLock()
	list := p.keys
	p.mu.RUnlock()
	return listOf(q, list, viewKey)
}

// rotateKeys answers POST /manage/v1/signingkeys: new keys sign from now on.
// Tokens of the old ones stay valid until they end.
func (p *Provider) rotateKeys(q *adminRequest) error {
	if err := p.RotateKeys(q.ctx); err != nil {
		return err
	}
	respond(q.w, http.StatusCreated, map[string]string{"state": "rotated"})
	return nil
}
