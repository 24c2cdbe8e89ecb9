package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// algorithms are the signatures that a token may have. There is no "none" and
// no HMAC: a public key must never be usable as a secret (RFC 8725 section 3.1).
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// maxToken bounds what is parsed.
const maxToken = 16 << 10

// skew is how far clocks may differ.
const skew = time.Minute

// Claims are what a token says (RFC 7519, RFC 9068, SMART App Launch 2.2).
type Claims struct {
	Issuer    string       `json:"iss,omitempty"`
	Subject   string       `json:"sub,omitempty"`
	Audience  Strings      `json:"aud,omitempty"`
	Expiry    *NumericDate `json:"exp,omitempty"`
	NotBefore *NumericDate `json:"nbf,omitempty"`
	IssuedAt  *NumericDate `json:"iat,omitempty"`
	ID        string       `json:"jti,omitempty"`

	ClientID string  `json:"client_id,omitempty"`
	AZP      string  `json:"azp,omitempty"`   // OpenID Connect
	AppID    string  `json:"appid,omitempty"` // Entra ID, version 1
	ObjectID string  `json:"oid,omitempty"`   // Entra ID
	Scope    Words   `json:"scope,omitempty"`
	SCP      Words   `json:"scp,omitempty"` // Entra ID
	Roles    Strings `json:"roles,omitempty"`
	Groups   Strings `json:"groups,omitempty"`
	FHIRUser string  `json:"fhirUser,omitempty"`
	Patient  string  `json:"patient,omitempty"`
	Nonce    string  `json:"nonce,omitempty"`
	Session  string  `json:"sid,omitempty"`   // the login that a token of the built-in provider came from
	Epoch    string  `json:"epoch,omitempty"` // state of client and user then, of the built-in provider
	Name     string  `json:"name,omitempty"`
}

// Strings is a list that JSON may write as a single string.
type Strings []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *Strings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*s = make(Strings, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// Words is a list that JSON writes as words in one string, or as a list.
type Words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *Words) UnmarshalJSON(b []byte) error {
	var list Strings
	if err := list.UnmarshalJSON(b); err != nil {
		return err
	}
	*w = nil
	for _, s := range list {
		*w = append(*w, strings.Fields(s)...)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (w Words) MarshalJSON() ([]byte, error) { return json.Marshal(strings.Join(w, " ")) }

// NumericDate is a time in seconds since 1970 (RFC 7519 section 2).
type NumericDate int64

// UnmarshalJSON implements json.Unmarshaler. Fractions are cut off.
func (d *NumericDate) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	if f < 0 || f > 1<<40 {
		return errors.New("a time is out of range")
	}
	*d = NumericDate(f)
	return nil
}

// At returns t as a NumericDate.
func At(t time.Time) *NumericDate {
	d := NumericDate(t.Unix())
	return &d
}

// Time returns d as a time.
func (d NumericDate) Time() time.Time { return time.Unix(int64(d), 0) }

// client returns the application that got the token.
func (c *Claims) client() string {
	for _, s := range []string{c.ClientID, c.AZP, c.AppID} {
		if s != "" {
			return s
		}
	}
	return ""
}

// rejected is why a token is refused. The reason is one sentence that names
// nothing out of the token: a token is as secret as a password.
func rejected(why string) *fault.Error {
	return fault.At(fault.Unauthenticated, "login", "", "the bearer token is refused: %s", why)
}

// parseToken reads a signed token without believing it.
func parseToken(token string) (*jose.JSONWebSignature, *Claims, error) {
	if len(token) > maxToken {
		return nil, nil, rejected("it is too long")
	}
	sig, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, nil, rejected("it is no token in compact form with an algorithm that is accepted here")
	}
	h := sig.Signatures[0].Protected
	if typ, _ := h.ExtraHeaders[jose.HeaderType].(string); typ != "" {
		if typ := strings.TrimPrefix(strings.ToLower(typ), "application/"); typ != "jwt" && typ != "at+jwt" {
			return nil, nil, rejected("its type is not JWT")
		}
	}
	c, err := readClaims(sig.UnsafePayloadWithoutVerification())
	return sig, c, err
}

func readClaims(payload []byte) (*Claims, error) {
	c := new(Claims)
	if err := json.Unmarshal(payload, c); err != nil {
		return nil, rejected("its claims cannot be read")
	}
	return c, nil
}

// checkTimes refuses what is expired or not valid yet. exp is required: a token
// that never ends cannot be taken back.
func (c *Claims) checkTimes(now time.Time) error {
	switch {
	case c.Expiry == nil:
		return rejected("it has no expiry")
	case !now.Before(c.Expiry.Time().Add(skew)):
		return rejected("it is expired")
	case c.NotBefore != nil && now.Add(skew).Before(c.NotBefore.Time()):
		return rejected("it is not valid yet")
	case c.IssuedAt != nil && now.Add(skew).Before(c.IssuedAt.Time()):
		return rejected("it was issued in the future")
	}
	return nil
}

// scopes returns all scopes, in the form of SMART.
func (c *Claims) scopes(builtin bool) []string {
	out := append(slices.Clone([]string(c.Scope)), c.SCP...)
	if !builtin {
		for i := range out {
			out[i] = foreignScope(out[i])
		}
	}
	return out
}

// narrowed reports whether the scopes of a token narrow what roles allow: every
// SMART token, and every token that the built-in provider gave to a user
// without the scope user_impersonation.
func (c *Claims) narrowed(builtin bool) bool {
	scopes := c.scopes(builtin)
	smart := slices.ContainsFunc(scopes, func(s string) bool {
		return IsClinical(s) || s == "fhirUser" || s == "launch" || strings.HasPrefix(s, "launch/")
	})
	return smart || builtin && c.Subject != c.ClientID && !slices.Contains(scopes, ScopeImpersonation)
}

// ScopeImpersonation lets an application do all that the user may do, as in
// Azure Health Data Services.
const ScopeImpersonation = "user_impersonation"
