package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/platform/audit"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestDevice connects devices to a built-in broker: with the token of somebody who
// may send, with that of somebody else, and with none. All stand in the trail.
func TestDevice(t *testing.T) {
	cfg := Defaults()
	cfg.Data, cfg.Log.Level = t.TempDir(), "error"
	s, err := New(context.Background(), cfg, Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token, body string) map[string]any {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if path == "/auth/token" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if token == "" {
			r.Header.Del("Authorization")
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		out := map[string]any{}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code > 299 {
			t.Fatalf("%s %s: %d %s %v", method, path, w.Code, w.Body, err)
		}
		return out
	}
	token := func(id, secret any) string {
		return ask("POST", "/auth/token", "", fmt.Sprintf("grant_type=client_credentials&client_id=%s&client_secret=%s", id, secret))["access_token"].(string)
	}
	var first map[string]string
	text, err := os.ReadFile(filepath.Join(cfg.Data, bootstrapFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &first); err != nil {
		t.Fatal(err)
	}
	owner := token(first["client_id"], first["client_secret"])
	tokens := map[string]string{}
	for id, role := range map[string]string{"pump": "MedTech Data Sender", "reader": "FHIR Data Reader"} {
		tokens[id] = token(id, ask("PUT", "/manage/v1/workspaces/default/clients/"+id, owner, "{}")["clientSecret"])
		ask("PUT", "/manage/v1/workspaces/default/roleassignments/"+id, owner, `{"principal":"`+id+`","role":"`+role+`"}`)
	}
	medtech := s.services.table.Load().byPath["default/medtech"]
	for _, c := range []struct {
		password string
		want     fault.Kind
	}{{tokens["pump"], 0}, {tokens["reader"], fault.Forbidden}, {"guess", fault.Unauthenticated}, {"", fault.Unauthenticated}} {
		if _, err := medtech.authenticateDevice(context.Background(), "pump", []byte(c.password)); (err == nil) != (c.want == 0) || err != nil && !fault.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
	still, err := medtech.authenticateDevice(context.Background(), "pump", []byte(tokens["pump"]))
	if err != nil || still(context.Background()) != nil {
		t.Fatalf("a device that may send may not: %v", err)
	}
	ask("PUT", "/manage/v1/workspaces/default/roleassignments/pump", owner, `{"principal":"pump","role":"FHIR Data Reader"}`)
	if err := still(context.Background()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("after it lost its role: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	page, err := audit.Find(context.Background(), AuditFolder(cfg.Data), audit.Query{Action: "connect"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range page.Records {
		got = append(got, strings.TrimSpace(fmt.Sprint(r.Service, " ", r.Status, " ", r.Principal)))
	}
	if want := []string{"default/medtech 200 pump", "default/medtech 403 reader", "default/medtech 401", "default/medtech 401", "default/medtech 200 pump"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
