package idp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// The algorithms of the provider's own signatures: a fast one for access tokens,
// which only this server reads, and for id tokens the one that every OpenID
// client must know (OpenID Connect Core 1.0, section 15.1).
const (
	algAccess = "ES256"
	algID     = "RS256"
)

// Keys are replaced after keyTime; the old one still checks tokens for keyGrace.
const (
	keyTime  = 90 * 24 * time.Hour
	keyGrace = 48 * time.Hour
)

// storedKey is a signing key on disk.
type storedKey struct {
	ID      string    `json:"id"`
	Alg     string    `json:"alg"`
	Private string    `json:"private"` // PKCS 8, sealed
	Created time.Time `json:"created"`
}

type signingKey struct {
	storedKey
	signer crypto.Signer
}

func (p *Provider) loadKey(body []byte) error {
	k := new(signingKey)
	if err := json.Unmarshal(body, &k.storedKey); err != nil {
		return err
	}
	text, err := p.d.Sealer.Open("key "+k.ID, k.Private)
	if err != nil {
		return err
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	k.signer = private.(crypto.Signer) // every kind that PKCS 8 has here is one
	p.keys = append(p.keys, k)
	return nil
}

// sortKeys puts the newest first; the caller holds mu, or is the only one.
func (p *Provider) sortKeys() {
	slices.SortFunc(p.keys, func(a, b *signingKey) int { return b.Created.Compare(a.Created) })
	p.public = nil
	for _, k := range p.keys {
		p.public = append(p.public, auth.PublicKey{ID: k.ID, Alg: k.Alg, Key: k.signer.Public()})
	}
}

// newest returns the key to sign with, nil when a new one is due.
func (p *Provider) newest(alg string) *signingKey {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, k := range p.keys {
		if k.Alg == alg && p.d.Now().Sub(k.Created) < keyTime {
			return k
		}
	}
	return nil
}

// signing returns the key to sign with, making one when it is due.
func (p *Provider) signing(ctx context.Context, alg string) (*signingKey, error) {
	if k := p.newest(alg); k != nil {
		return k, nil
	}
	if err := p.ensureKey(ctx, alg); err != nil {
		return nil, err
	}
	return p.newest(alg), nil
}

func (p *Provider) ensureKey(ctx context.Context, alg string) error {
	return p.changing(ctx, func() error {
		if p.newest(alg) != nil {
			return nil
		}
		return p.rotate(ctx, alg)
	})
}

// rotate makes a new key and forgets those that no valid token can need; the
// caller holds change.
func (p *Provider) rotate(ctx context.Context, alg string) error {
	var signer crypto.Signer
	var err error
	if alg == algID {
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return fault.Wrap("idp: new key", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return fault.Wrap("idp: new key", err)
	}
	k := &signingKey{signer: signer, storedKey: storedKey{ID: newSecret()[:16], Alg: alg, Created: p.d.Now().UTC()}}
	k.Private = p.d.Sealer.Seal("key "+k.ID, base64.StdEncoding.EncodeToString(der))
	edits := []edit{{kindKey, k.ID, &k.storedKey}}
	keep := []*signingKey{k}
	for _, old := range p.keys {
		if p.d.Now().Sub(old.Created) < keyTime+keyGrace {
			keep = append(keep, old)
		} else {
			edits = append(edits, edit{kindKey, old.ID, nil})
		}
	}
	if err := p.save(ctx, edits...); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keep
	p.sortKeys()
	p.generation.Add(1)
	return nil
}

// RotateKeys makes new signing keys at once. Tokens of the old ones stay valid.
func (p *Provider) RotateKeys(ctx context.Context) error {
	return p.changing(ctx, func() error {
		for _, alg := range []string{algAccess, algID} {
			if err := p.rotate(ctx, alg); err != nil {
				return err
			}
		}
		return nil
	})
}

// Issuer implements auth.Keys. Realms do not ask the built-in provider.
func (p *Provider) Issuer(context.Context) (string, error) { return p.d.Issuer, nil }

// Keys implements auth.Keys.
func (p *Provider) Keys(ctx context.Context, refresh bool) ([]auth.PublicKey, error) {
	if refresh {
		if err := p.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.public, nil
}

// accessKeys are those that sign access tokens: an id token must never pass as one.
func (p *Provider) sign(ctx context.Context, alg, typ string, claims any) (string, error) {
	k, err := p.signing(ctx, alg)
	if err != nil {
		return "", err
	}
	text, err := auth.Sign(k.signer, k.Alg, k.ID, typ, claims)
	return text, fault.Wrap("idp: sign", err)
}
