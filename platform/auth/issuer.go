package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Keys are the keys of an issuer.
type Keys interface {
	// Issuer returns the name that tokens must carry. It is not asked of the
	// built-in provider: only that one has its keys.
	Issuer(ctx context.Context) (string, error)
	// Keys returns the keys. With refresh set, a key was missing: new ones
	// are fetched unless that was done a moment ago.
	Keys(ctx context.Context, refresh bool) ([]PublicKey, error)
}

// The times of the cache of an external issuer.
const (
	keysFresh   = time.Hour        // fetched again after
	keysStale   = 24 * time.Hour   // used while the issuer does not answer
	keysPause   = 30 * time.Second // between two fetches, whoever asks
	fetchTime   = 10 * time.Second
	maxDocument = 1 << 20
)

// External is an OpenID provider that somebody else runs. Its metadata and keys
// are fetched when they are first needed, then kept.
type External struct {
	authority string
	client    *http.Client
	now       func() time.Time

	mu      sync.Mutex // held while fetching, so that many requests fetch once
	issuer  string
	keys    []PublicKey
	doc     map[string]json.RawMessage // the metadata as they came
	fetched time.Time                  // last success
	tried   time.Time                  // last attempt
	failure error                      // of the last attempt
}

var _ Keys = (*External)(nil)

// NewExternal returns the issuer at an authority: the URL below which
// .well-known/openid-configuration is. nil stands for time.Now.
func NewExternal(authority string, now func() time.Time) (*External, error) {
	if err := CheckURL(authority); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &External{authority: strings.TrimRight(authority, "/"), client: Fetcher(), now: now}, nil
}

// Fetcher returns the HTTP client for documents of others. It follows no
// redirect: an address that was checked must not lead to one that was not.
func Fetcher() *http.Client {
	return &http.Client{Timeout: fetchTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// CheckURL accepts https, and http on a loopback address.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%.200q is no URL such as https://login.example.org/realm", text)
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%.200q: https is needed, except on this machine", text)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Issuer implements Keys.
func (e *External) Issuer(ctx context.Context) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.ensure(ctx, false)
	return e.issuer, err
}

// Keys implements Keys.
func (e *External) Keys(ctx context.Context, refresh bool) ([]PublicKey, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.ensure(ctx, refresh)
	return e.keys, err
}

// Metadata returns the metadata of the issuer. They must not be changed.
func (e *External) Metadata(ctx context.Context) (map[string]json.RawMessage, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.ensure(ctx, false)
	return e.doc, err
}

// ensure fetches what is missing or old. What was fetched before outlives a
// failure for a day.
func (e *External) ensure(ctx context.Context, refresh bool) error {
	now := e.now()
	age := now.Sub(e.fetched)
	if e.issuer != "" && age < keysFresh && !refresh {
		return nil
	}
	if now.Sub(e.tried) >= keysPause {
		e.tried = now
		e.failure = e.fetch(ctx)
	}
	if e.issuer != "" && age < keysStale {
		return nil
	}
	return e.failure
}

// fetch reads the metadata (OpenID Connect Discovery 1.0, section 4) and the keys.
func (e *External) fetch(ctx context.Context) error {
	// The answer serves others too, so it does not end with this request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	text, err := Fetch(ctx, e.client, e.authority+"/.well-known/openid-configuration")
	if err != nil {
		return err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.Issuer == "" {
		return fmt.Errorf("the metadata of %s name no issuer", e.authority)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return err
	}
	if err := CheckURL(doc.JWKSURI); err != nil {
		return fmt.Errorf("jwks_uri of %s: %w", e.authority, err)
	}
	if text, err = Fetch(ctx, e.client, doc.JWKSURI); err != nil {
		return err
	}
	keys, err := ParseJWKS(text)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return fmt.Errorf("%s has no key that can check a signature", doc.JWKSURI)
	}
	e.issuer, e.keys, e.doc, e.fetched = doc.Issuer, keys, whole, e.now()
	return nil
}

// Fetch reads a small JSON document.
func Fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("%s is larger than %d bytes", address, maxDocument)
	}
	return text, err
}
