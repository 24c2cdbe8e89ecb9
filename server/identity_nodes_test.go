package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/server"
)

// securedNodes starts servers with authentication on one database, all at once.
// Each has a data folder of its own and they share the key of their secrets.
func securedNodes(t *testing.T, n int) []*secured {
	t.Helper()
	address := dbtest.Database(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	nodes := make([]*secured, n)
	var wg sync.WaitGroup
	for i := range nodes {
		cfg := server.Defaults()
		cfg.Data, cfg.Log.Level, cfg.Database, cfg.Identity.Key, cfg.Identity.Issuer = t.TempDir(), "error", address, "file:"+key, "https://login.example.org"
		wg.Go(func() {
			s, err := server.New(context.Background(), cfg, server.Options{Version: "test", Log: io.Discard})
			if err != nil {
				t.Error(err)
				return
			}
			hs := httptest.NewServer(s.Handler())
			nodes[i] = &secured{t: t, url: hs.URL, dir: cfg.Data, srv: s}
			t.Cleanup(func() {
				hs.Close()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return nodes
}

// soon waits until a request is answered with status; that a node follows the
// others within a second is what is promised.
func (x *secured) soon(status int, path, token string) {
	x.t.Helper()
	begin := time.Now()
	for {
		res := x.do("GET", path, token, "")
		if took := time.Since(begin); res.StatusCode == status {
			if took > time.Second {
				x.t.Logf("%s took %s", path, took)
			}
			return
		} else if took > time.Minute { // a loaded machine
			x.t.Fatalf("%s: still %s", path, res.Status)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TestIdentityOfNodes uses on one node at once what another one made, and what
// one node takes back ends on the other.
func TestIdentityOfNodes(t *testing.T) {
	nodes := securedNodes(t, 2)
	a, b := nodes[0], nodes[1]
	found := 0
	for _, x := range nodes { // one of them made the first client, whoever was faster
		text, err := os.ReadFile(filepath.Join(x.dir, "bootstrap.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found++
		var first map[string]string
		if err := errors.Join(err, json.Unmarshal(text, &first)); err != nil {
			t.Fatal(err)
		}
		a.owner = a.token(first["client_id"], first["client_secret"], "")
		b.owner = b.token(first["client_id"], first["client_secret"], "")
	}
	if found != 1 {
		t.Fatalf("%d nodes made the first client", found)
	}
	b.json(200, "GET", "/manage/v1/roles", a.owner, "")
	a.soon(200, "/default/fhir/Patient", a.owner)
	b.soon(200, "/default/fhir/Patient", a.owner)
	a.json(201, "PUT", "/default/fhir/Patient/p1", a.owner, patientBody)

	t.Run("clients and roles", func(t *testing.T) {
		secret := a.json(201, "PUT", "/manage/v1/workspaces/default/clients/etl", a.owner, "{}")["clientSecret"].(string)
		token := b.token("etl", secret, "") // without waiting
		a.json(201, "PUT", "/manage/v1/workspaces/default/roleassignments/etl", a.owner, `{"principal":"etl","role":"FHIR Data Reader","scope":"/default/fhir"}`)
		b.soon(200, "/default/fhir/Patient/p1", token)
		b.json(204, "DELETE", "/manage/v1/workspaces/default/roleassignments/etl", b.owner, "")
		a.soon(403, "/default/fhir/Patient/p1", token)
		a.json(204, "DELETE", "/manage/v1/workspaces/default/clients/etl", a.owner, "")
		b.soon(401, "/default/fhir/Patient/p1", token)
	})
	t.Run("keys", func(t *testing.T) {
		a.json(201, "POST", "/manage/v1/signingkeys", a.owner, "")
		_, secret := a.client("checker", "", "")
		token := a.token("checker", secret, "")
		b.json(403, "GET", "/default/fhir/Patient/p1", token, "") // a new key, without waiting
		if i := b.form(200, "/auth/introspect", url.Values{"token": {token}}, "checker", secret); i["active"] != true {
			t.Errorf("introspection: %v", i)
		}
		a.form(200, "/auth/revoke", url.Values{"token": {token}}, "checker", secret)
		b.soon(401, "/default/fhir/Patient/p1", token)
		if i := b.form(200, "/auth/introspect", url.Values{"token": {token}}, "checker", secret); i["active"] != false {
			t.Errorf("introspection of what was taken back: %v", i)
		}
	})
	t.Run("logins", func(t *testing.T) { nodesLogin(t, a, b) })
	t.Run("lockout", func(t *testing.T) {
		a.json(201, "PUT", "/manage/v1/workspaces/default/users/carol", a.owner, `{"password":"correct horse","fhirUser":"Practitioner/8"}`)
		b.soon(200, "/manage/v1/workspaces/default/users/carol", b.owner)
		for i := range 5 {
			if back := nodes[i%2].authorize(newBrowser(t), "carol", "wrong", nil, nil); back.Get("code") != "" {
				t.Fatal("a wrong password passes")
			}
		}
		for _, x := range nodes {
			if back := x.authorize(newBrowser(t), "carol", "correct horse", nil, url.Values{"patient": {"p1"}}); back.Get("code") != "" {
				t.Error("who failed five times on two nodes is let in")
			}
		}
	})
	t.Run("changes at the same time", func(t *testing.T) { nodesChange(t, nodes) })
	t.Run("addresses", func(t *testing.T) {
		for i := 0; ; i++ { // some have failed before
			res := nodes[i%2].do("POST", "/auth/token", "", "grant_type=client_credentials&client_id=x&client_secret=y", "Content-Type", "application/x-www-form-urlencoded")
			if res.StatusCode == http.StatusTooManyRequests {
				break
			}
			if i > 21 {
				t.Fatal("each node counts for itself")
			}
		}
	})
}

// nodesLogin begins a login on one node and goes on with it on the other.
func nodesLogin(t *testing.T, a, b *secured) {
	a.json(201, "PUT", "/manage/v1/workspaces/default/clients/growth", a.owner, `{"public":true,"redirectUris":["https://app.example.org/cb"]}`)
	a.json(201, "PUT", "/manage/v1/workspaces/default/users/alice", a.owner, `{"password":"correct horse","fhirUser":"Practitioner/7"}`)
	a.json(201, "PUT", "/manage/v1/workspaces/default/roleassignments/alice", a.owner, `{"principal":"alice","role":"FHIR Data Reader","scope":"/default/fhir"}`)
	b.soon(200, "/manage/v1/workspaces/default/roleassignments/alice", b.owner)
	back := b.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p1"}})
	if back.Get("code") == "" {
		t.Fatalf("got %v", back)
	}
	first := a.exchange(200, back.Get("code"), nil)
	token, refresh := first["access_token"].(string), first["refresh_token"].(string)
	b.json(200, "GET", "/default/fhir/Patient/p1", token, "")
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {refresh}}
	second := b.form(200, "/auth/token", form)
	a.json(200, "GET", "/default/fhir/Patient/p1", second["access_token"].(string), "")
	a.form(400, "/auth/token", form) // the second use ends the login everywhere
	a.soon(401, "/default/fhir/Patient/p1", token)
	b.soon(401, "/default/fhir/Patient/p1", token)
	b.soon(401, "/default/fhir/Patient/p1", second["access_token"].(string))
	b.form(400, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {second["refresh_token"].(string)}})
	back = a.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p1"}})
	token = b.exchange(200, back.Get("code"), nil)["access_token"].(string)
	b.exchange(400, back.Get("code"), nil) // and so does the second use of a code
	a.soon(401, "/default/fhir/Patient/p1", token)
	back = a.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p1"}})
	token = b.exchange(200, back.Get("code"), nil)["access_token"].(string)
	b.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", b.owner, `{"disabled":true,"fhirUser":"Practitioner/7"}`)
	a.soon(401, "/default/fhir/Patient/p1", token)
	a.json(200, "PUT", "/manage/v1/workspaces/default/users/alice", a.owner, `{"password":"another horse","fhirUser":"Practitioner/7"}`)
	back = a.authorize(newBrowser(t), "alice", "another horse", nil, url.Values{"patient": {"p1"}})
	if back.Get("code") == "" {
		t.Fatalf("after a new password: %v", back)
	}
	third := a.exchange(200, back.Get("code"), nil)
	b.json(200, "GET", "/default/fhir/Patient/p1", third["access_token"].(string), "") // without waiting for what is new about the user
	b.form(200, "/auth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"growth"}, "refresh_token": {third["refresh_token"].(string)}})
}

// nodesChange has both nodes make and change objects together: nothing gets lost.
func nodesChange(t *testing.T, nodes []*secured) {
	var wg sync.WaitGroup
	const each = 8
	for i, x := range nodes {
		wg.Go(func() {
			for n := range each {
				name := fmt.Sprintf("c%d-%d", i, n)
				for _, path := range []string{"clients/" + name, "roleassignments/" + name} {
					body := "{}"
					if strings.HasPrefix(path, "role") {
						body = `{"principal":"` + name + `","role":"FHIR Data Reader"}`
					}
					if res := x.do("PUT", "/manage/v1/workspaces/default/"+path, x.owner, body); res.StatusCode != 201 {
						text, _ := io.ReadAll(res.Body)
						t.Errorf("%s: %s %s", path, res.Status, text)
					}
				}
			}
		})
	}
	wg.Wait()
	for _, x := range nodes {
		for i := range nodes {
			for n := range each {
				x.soon(200, fmt.Sprintf("/manage/v1/workspaces/default/roleassignments/c%d-%d", i, n), x.owner)
			}
		}
	}
}
