package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// directory grants a role to one name.
type directory struct {
	name, issuer string
	actions      auth.Actions
	inactive     atomic.Bool
	generation   atomic.Uint64
}

func (d *directory) Grants(issuer string, names, roles []string, scope string) []auth.Grant {
	var out []auth.Grant
	for _, n := range names {
		if n == d.name && issuer == d.issuer {
			out = append(out, auth.Grant{Scope: scope, Actions: d.actions})
		}
	}
	for _, r := range roles {
		if a, ok := auth.BuiltinRole(r); ok {
			out = append(out, auth.Grant{Scope: scope, Actions: a})
		}
	}
	return out
}
func (d *directory) Active(context.Context, *auth.Claims) bool { return !d.inactive.Load() }
func (d *directory) Generation() uint64                        { return d.generation.Load() }

// issuer is an OpenID provider of a test.
type issuer struct {
	*httptest.Server
	keys    atomic.Pointer[[]auth.PublicKey]
	fetches atomic.Int64
	down    atomic.Bool
}

func newIssuer(t testing.TB) *issuer {
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		text, err := auth.MarshalJWKS(*i.keys.Load())
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// realm returns one that trusts the issuer, which signs with key, and in which alice
// may read.
func (i *issuer) realm(t testing.TB, scope string, key crypto.Signer) (*directory, *auth.Realm) {
	t.Helper()
	keys := public("k1", "ES256", key)
	i.keys.Store(&keys)
	ext, err := auth.NewExternal(i.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{name: "alice", issuer: i.URL, actions: auth.FHIRRead}
	return d, auth.NewRealm(scope, d, []auth.Trust{{Keys: ext, Audience: []string{"api://records"}}}, nil)
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(id, alg string, k crypto.Signer) []auth.PublicKey {
	return []auth.PublicKey{{ID: id, Alg: alg, Key: k.Public()}}
}

// claims returns claims that are in order, changed by edit.
func claims(iss string, edit func(map[string]any)) map[string]any {
	now := time.Now()
	c := map[string]any{"iss": iss, "sub": "alice", "aud": "api://records", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "azp": "app"}
	if edit != nil {
		edit(c)
	}
	return c
}

func sign(t testing.TB, k crypto.Signer, alg, kid string, c any) string {
	t.Helper()
	s, err := auth.Sign(k, alg, kid, "JWT", c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// raw makes a token without a library, so that it can be wrong.
func raw(header, claims any, mac []byte) string {
	enc := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	s := enc(header) + "." + enc(claims)
	if mac == nil {
		return s + "."
	}
	h := hmac.New(sha256.New, mac)
	h.Write([]byte(s))
	return s + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func TestAuthenticate(t *testing.T) {
	i, key, other := newIssuer(t), ecKey(t), ecKey(t)
	d, r := i.realm(t, "/clinic/records", key)
	good := sign(t, key, "ES256", "k1", claims(i.URL, nil))
	tampered := []byte(good)
	dot := strings.IndexByte(good, '.')
	tampered[dot+20] ^= 1
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, v any) string {
		return sign(t, key, "ES256", "k1", claims(i.URL, func(c map[string]any) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}))
	}
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for _, tc := range []struct{ name, header string }{
		{"no token", ""},
		{"basic", "Basic YTpi"},
		{"empty bearer", "Bearer "},
		{"no token at all", "Bearer nonsense"},
		{"alg none", "Bearer " + raw(map[string]string{"alg": "none"}, claims(i.URL, nil), nil)},
		{"alg None", "Bearer " + raw(map[string]string{"alg": "None", "kid": "k1"}, claims(i.URL, nil), nil)},
		{"HS256 with the public key", "Bearer " + raw(map[string]string{"alg": "HS256", "kid": "k1"}, claims(i.URL, nil), der)},
		{"tampered", "Bearer " + string(tampered)},
		{"signature cut", "Bearer " + good[:len(good)-4]},
		{"another key", "Bearer " + sign(t, other, "ES256", "k1", claims(i.URL, nil))},
		{"another issuer", "Bearer " + with("iss", "https://elsewhere.example.org")},
		{"no issuer", "Bearer " + with("iss", nil)},
		{"no subject", "Bearer " + with("sub", nil)},
		{"wrong audience", "Bearer " + with("aud", "api://other")},
		{"no audience", "Bearer " + with("aud", nil)},
		{"expired", "Bearer " + with("exp", ago(2*time.Minute))},
		{"no expiry", "Bearer " + with("exp", nil)},
		{"not yet valid", "Bearer " + with("nbf", ago(-5*time.Minute))},
		{"issued later", "Bearer " + with("iat", ago(-5*time.Minute))},
		{"wrong type of claim", "Bearer " + with("exp", "tomorrow")},
		{"critical header", "Bearer " + raw(map[string]any{"alg": "ES256", "kid": "k1", "crit": []string{"x"}, "x": 1}, claims(i.URL, nil), der)},
		{"too long", "Bearer " + strings.Repeat("a", 20000)},
	} {
		p, err := r.Authenticate(context.Background(), tc.header)
		if !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: got %v, %v", tc.name, p, err)
		}
	}
	for _, header := range []string{"Bearer " + good, "bearer " + good, "Bearer " + with("exp", ago(30*time.Second)), "Bearer " + with("aud", []string{"x", "api://records"})} {
		p, err := r.Authenticate(context.Background(), header)
		if err != nil || p.ID != "alice" || p.Client != "app" || !p.Allowed("/clinic/records").Has(auth.FHIRRead) || p.Limited {
			t.Errorf("got %+v, %v", p, err)
		}
	}
	again, err := r.Authenticate(context.Background(), "Bearer "+good)
	first, err2 := r.Authenticate(context.Background(), "Bearer "+good)
	if err != nil || err2 != nil || again != first {
		t.Error("a token is checked anew every time")
	}
	d.generation.Add(1)
	if later, err := r.Authenticate(context.Background(), "Bearer "+good); err != nil || later == first {
		t.Errorf("a change of roles is not seen: %v", err)
	}
}

// TestRoles grants by the claim roles, and only at the scope of the realm.
func TestRoles(t *testing.T) {
	i, key := newIssuer(t), ecKey(t)
	keys := public("", "", key)
	i.keys.Store(&keys)
	ext, err := auth.NewExternal(i.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{name: "bootstrap", issuer: "", actions: auth.All}
	r := auth.NewRealm("/clinic/records", d, []auth.Trust{{Keys: ext, Audience: []string{"api://records"}}}, nil)
	token := sign(t, key, "ES256", "any", claims(i.URL, func(c map[string]any) {
		c["roles"], c["sub"], c["scp"] = []string{"FHIR Data Exporter", "Unknown"}, "bootstrap", "user_impersonation"
	}))
	p, err := r.Authenticate(context.Background(), "Bearer "+token)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Allowed("/clinic/records"); got != auth.FHIRRead|auth.FHIRExport {
		t.Errorf("got %s: an issuer elsewhere must not speak for our own clients", got)
	}
	if got := p.Allowed("/clinic/images"); got != 0 {
		t.Errorf("at another service: %s", got)
	}
	smart := sign(t, key, "ES256", "any", claims(i.URL, func(c map[string]any) {
		c["roles"], c["scope"], c["patient"], c["fhirUser"] = "FHIR SMART User", "openid launch/patient patient/Observation.rs", "p1", "https://x.example.org/r4/Practitioner/7"
	}))
	p, err = r.Authenticate(context.Background(), "Bearer "+smart)
	if err != nil || !p.Limited || len(p.Scopes) != 1 || p.Patient != "p1" || p.FHIRUser != "Practitioner/7" || !p.SMARTOnly("/clinic/records") {
		t.Errorf("got %+v, %v", p, err)
	}
	if got := p.Allowed("/clinic/records"); got != auth.FHIRSMART|auth.FHIRRead|auth.FHIRWrite|auth.FHIRDelete && got != auth.FHIRRead|auth.FHIRWrite|auth.FHIRDelete {
		t.Errorf("a SMART user may %s", got)
	}
}

// TestKeyRotation changes the key of an issuer, and lets it fail.
func TestKeyRotation(t *testing.T) {
	i, one, two := newIssuer(t), ecKey(t), ecKey(t)
	keys := public("k1", "ES256", one)
	i.keys.Store(&keys)
	now := time.Now()
	clock := func() time.Time { return now }
	ext, err := auth.NewExternal(i.URL, clock)
	if err != nil {
		t.Fatal(err)
	}
	r := auth.NewRealm("/a/b", &directory{}, []auth.Trust{{Keys: ext, Audience: []string{"api://records"}}}, clock)
	far := func(c map[string]any) { c["exp"] = now.Add(1000 * time.Hour).Unix() }
	ask := func(k crypto.Signer, kid, id string) error {
		_, err := r.Authenticate(context.Background(), "Bearer "+sign(t, k, "ES256", kid, claims(i.URL, func(c map[string]any) { far(c); c["jti"] = id })))
		return err
	}
	if err := ask(one, "k1", "1"); err != nil {
		t.Fatal(err)
	}
	rotated := append(public("k2", "ES256", two), keys...)
	i.keys.Store(&rotated)
	if err := ask(two, "k2", "2"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("within the pause: %v", err)
	}
	now = now.Add(time.Minute)
	if err := ask(two, "k2", "3"); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	fetched := i.fetches.Load()
	for n := range 20 {
		_ = ask(two, "k3", string(rune('a'+n))) // an unknown key must not make us a flood
	}
	if got := i.fetches.Load(); got != fetched {
		t.Errorf("%d fetches for tokens of unknown keys", got-fetched)
	}
	i.down.Store(true)
	now = now.Add(2 * time.Hour)
	if err := ask(two, "k2", "4"); err != nil {
		t.Errorf("while the issuer is down: %v", err)
	}
	now = now.Add(25 * time.Hour)
	if err := ask(two, "k2", "5"); !fault.Is(err, fault.Transient) {
		t.Errorf("down for more than a day: %v", err)
	}
}

func TestCheckURL(t *testing.T) {
	for text, want := range map[string]bool{
		"https://login.example.org/x": true, "http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:1/": true,
		"http://login.example.org": false, "ftp://x": false, "": false, "https://": false, "https://user:pw@x.org": false, "https://x.org/#f": false,
		"http://localhost.evil.org": false,
	} {
		if err := auth.CheckURL(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseScope(t *testing.T) {
	for text, want := range map[string]string{
		"patient/Observation.read": "patient/Observation.rs", "user/*.write": "user/*.cud", "system/Patient.*": "system/Patient.cruds",
		"patient/Observation.rs": "patient/Observation.rs", "patient/*.cruds": "patient/*.cruds", "user/Condition.d": "user/Condition.d",
		"patient/Observation.rs?category=laboratory": "patient/Observation.rs?category=laboratory",
	} {
		s, err := auth.ParseScope(text)
		if err != nil || s.String() != want {
			t.Errorf("%s: got %s, %v", text, s, err)
		}
	}
	for _, bad := range []string{
		"", "openid", "patient/", "patient/Observation", "patient/Observation.", "patient/.rs", "patient/Observation.sr", "patient/Observation.rr",
		"patient/Observation.x", "patient/observation.rs", "patient/Obs3.rs", "other/Observation.rs", "patient/Observation.rs?", "patient/*.rs?a=b",
		"patient/Observation.read?category=x",
	} {
		if s, err := auth.ParseScope(bad); err == nil {
			t.Errorf("%q: got %s", bad, s)
		}
	}
}

// TestForeignScopes has scopes in the form of Entra ID: they limit as those of
// SMART do, also when they cannot be understood.
func TestForeignScopes(t *testing.T) {
	i, key := newIssuer(t), ecKey(t)
	_, r := i.realm(t, "/a/b", key)
	for scp, want := range map[string]string{
		"patient.Observation.rs":             "patient/Observation.rs",
		"patient$Patient.read":               "patient/Patient.rs",
		"user.all.all launch":                "user/*.cruds",
		"patient.*.read system/Group.read":   "patient/*.rs system/Group.rs",
		"patient.Observation.sr":             "", // limited to nothing
		"patient.all.rs?category=laboratory": "",
		"user_impersonation":                 "all",
		"user.read patient.data":             "all", // not of SMART
	} {
		token := sign(t, key, "ES256", "k1", claims(i.URL, func(c map[string]any) { c["scp"] = scp }))
		p, err := r.Authenticate(context.Background(), "Bearer "+token)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.Scopes {
			got = append(got, s.String())
		}
		if !p.Limited {
			got = append(got, "all")
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: got %q, want %q", scp, text, want)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	k := ecKey(t)
	text, err := auth.MarshalJWKS(public("k", "ES256", k))
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := auth.ParseJWKS(text); err != nil || len(keys) != 1 || keys[0].ID != "k" {
		t.Errorf("got %v, %v", keys, err)
	}
	for _, set := range []string{
		`{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}`, `{"keys":[{"kty":"OKP-NEW","x":"1"}]}`, `{"keys":[]}`, `{}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}`,
	} {
		if keys, err := auth.ParseJWKS([]byte(set)); err != nil || len(keys) != 0 {
			t.Errorf("%s: got %v, %v", set, keys, err)
		}
	}
	if _, err := auth.ParseJWKS([]byte("[]")); err == nil {
		t.Error("an array is accepted")
	}
}

// FuzzAuthenticate looks for a panic, and for a token that passes without our key.
func FuzzAuthenticate(f *testing.F) {
	i, key := newIssuer(f), ecKey(f)
	keys := public("k1", "ES256", key)
	i.keys.Store(&keys)
	ext, err := auth.NewExternal(i.URL, nil)
	if err != nil {
		f.Fatal(err)
	}
	good := sign(f, key, "ES256", "k1", claims(i.URL, nil))
	r := auth.NewRealm("/a/b", &directory{}, []auth.Trust{{Keys: ext, Audience: []string{"api://records"}}}, nil)
	f.Add("Bearer " + good)
	f.Add("Bearer " + good + "=")
	f.Add("Bearer e30.e30.e30")
	f.Add("Bearer " + raw(map[string]string{"alg": "none"}, claims(i.URL, nil), nil))
	f.Fuzz(func(t *testing.T, header string) {
		p, err := r.Authenticate(context.Background(), header)
		if (p == nil) == (err == nil) {
			t.Fatalf("got %v and %v", p, err)
		}
		if _, token, _ := strings.Cut(header, " "); err == nil && !strings.HasPrefix(strings.TrimSpace(token), good[:strings.LastIndexByte(good, '.')]) {
			t.Errorf("a token that we did not sign passes: %q", header)
		}
	})
}

// FuzzParseScope reads scopes of both forms: what is read writes itself in a form
// that is read as the same, and what was meant as a limit is never lost.
func FuzzParseScope(f *testing.F) {
	for _, s := range []string{"patient/Observation.rs", "user/*.cruds", "system/Patient.read", "patient/Observation.rs?category=a|b", "patient.all.read", "launch/patient", "user_impersonation"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := auth.ParseScope(text)
		if err != nil {
			return
		}
		if !auth.IsClinical(text) || s.Perms == 0 || s.Type == "" {
			t.Errorf("%q reads as %+v", text, s)
		}
		if back, err := auth.ParseScope(s.String()); err != nil || back != s {
			t.Errorf("%q becomes %q, which reads as %+v, %v", text, s.String(), back, err)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	i := newIssuer(b)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for _, k := range []struct {
		alg string
		key crypto.Signer
	}{{"RS256", rsaKey}, {"ES256", ecKey(b)}} {
		keys := public("k", k.alg, k.key)
		i.keys.Store(&keys)
		for _, cached := range []bool{true, false} {
			name := k.alg + "/first"
			if cached {
				name = k.alg + "/again"
			}
			b.Run(name, func(b *testing.B) {
				ext, err := auth.NewExternal(i.URL, nil)
				if err != nil {
					b.Fatal(err)
				}
				d := &directory{name: "alice", issuer: i.URL, actions: auth.FHIRRead}
				r := auth.NewRealm("/a/b", d, []auth.Trust{{Keys: ext, Audience: []string{"api://records"}}}, nil)
				token := "Bearer " + sign(b, k.key, k.alg, "k", claims(i.URL, nil))
				b.ReportAllocs()
				for b.Loop() {
					if !cached {
						d.generation.Add(1)
					}
					if _, err := r.Authenticate(context.Background(), token); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
