package auth

import (
	"crypto"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// PublicKey is a key that checks signatures.
type PublicKey struct {
	ID  string
	Alg string // "" = whatever suits the key
	Key crypto.PublicKey
}

// ParseJWKS reads a JSON Web Key Set (RFC 7517). Keys that are not for
// signatures, symmetric keys and private keys are left out: the first cannot
// help, the others must not be there.
func ParseJWKS(text []byte) ([]PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the text is no JSON Web Key Set: %w", err)
	}
	var out []PublicKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// A set may hold keys of kinds that are not known here (RFC 7517 section 5).
		if err := k.UnmarshalJSON(raw); err != nil || !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
			continue
		}
		if _, symmetric := k.Key.([]byte); symmetric {
			continue
		}
		out = append(out, PublicKey{ID: k.KeyID, Alg: k.Algorithm, Key: k.Key})
	}
	return out, nil
}

// MarshalJWKS writes a JSON Web Key Set.
func MarshalJWKS(keys []PublicKey) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Key, KeyID: k.ID, Algorithm: k.Alg, Use: "sig"})
	}
	return json.Marshal(set)
}

// Sign makes a signed token of claims.
func Sign(key crypto.Signer, alg, kid, typ string, claims any) (string, error) {
	opt := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", kid)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, opt)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	sig, err := s.Sign(text)
	if err != nil {
		return "", err
	}
	return sig.CompactSerialize()
}

// verify returns the claims when one of keys made the signature. A key counts
// when it has the id that the token names, or one of them has none; when a key
// says which algorithm it is for, the token must use that one.
func verify(sig *jose.JSONWebSignature, keys []PublicKey) (*Claims, bool) {
	h := sig.Signatures[0].Protected
	for _, k := range keys {
		if h.KeyID != "" && k.ID != "" && h.KeyID != k.ID || k.Alg != "" && k.Alg != h.Algorithm {
			continue
		}
		payload, err := sig.Verify(k.Key)
		if err != nil {
			continue
		}
		c, err := readClaims(payload)
		return c, err == nil
	}
	return nil, false
}

// VerifyAssertion checks a token that a client signed for itself (RFC 7523,
// SMART Backend Services: RS384 or ES384) and returns its claims. The caller
// checks issuer, subject, audience and that the id is new.
func VerifyAssertion(token string, keys []PublicKey, algs ...string) (*Claims, error) {
	sig, _, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	ok := false
	for _, a := range algs {
		ok = ok || a == sig.Signatures[0].Protected.Algorithm
	}
	if !ok {
		return nil, rejected("its algorithm is not accepted here")
	}
	c, ok := verify(sig, keys)
	if !ok {
		return nil, rejected("no key of the client made its signature")
	}
	return c, nil
}

// UnverifiedClaims reads claims to find out whose keys to ask; nothing in them
// may be believed.
func UnverifiedClaims(token string) (*Claims, error) {
	_, c, err := parseToken(token)
	return c, err
}

// VerifyOwn checks an access token of the built-in provider: signature and
// times. Id tokens are none.
func VerifyOwn(token string, keys []PublicKey, now time.Time) (*Claims, error) {
	sig, _, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	c, ok := verify(sig, keys)
	if !ok {
		return nil, rejected("its signature is not that of its issuer")
	}
	own := false
	for _, a := range c.Audience {
		own = own || strings.HasPrefix(a, audiencePrefix)
	}
	switch {
	case !own:
		return nil, rejected("it is no access token")
	case c.Issuer == "":
		return nil, rejected("it names no issuer")
	}
	return c, c.checkTimes(now)
}
