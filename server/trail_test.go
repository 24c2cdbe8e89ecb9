package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/audit"
	"github.com/hygeia-health/hygeia/server"
)

// trailOf returns the records that a query finds, as "principal action Type/id status".
func (x *secured) trailOf(query string) []string {
	x.t.Helper()
	var out []string
	for _, v := range x.json(200, "GET", "/manage/v1/audit?"+query, x.owner, "")["value"].([]any) {
		r := v.(map[string]any)
		text := func(name string) string {
			if v, ok := r[name]; ok {
				return fmt.Sprint(v)
			}
			return "-"
		}
		out = append(out, strings.Join([]string{text("principal"), text("action"), text("type") + "/" + text("id"), text("status")}, " "))
	}
	return out
}

// TestTrail does one of everything and finds one record for each.
func TestTrail(t *testing.T) {
	x := openSecured(t, nil)
	reader, _ := x.client("reader", "FHIR Data Reader", "/default/fhir")
	x.json(201, "PUT", "/default/fhir/Patient/p1", x.owner, patientBody)
	x.json(200, "GET", "/default/fhir/Patient/p1", reader, "", "X-Request-Id", "mine", "X-MS-AZUREFHIR-AUDIT-Site", "ward 7", "X-Hygeia-Audit-Reason", "round")
	x.json(403, "DELETE", "/default/fhir/Patient/p1", reader, "")
	x.json(401, "GET", "/default/fhir/Patient/p1", "", "")
	x.json(404, "GET", "/default/fhir/Patient/p2", reader, "")
	x.json(200, "GET", "/default/fhir/Patient?name=Chalmers", reader, "")
	x.json(200, "GET", "/default/fhir/metadata", "", "")
	x.do("GET", "/healthz", "", "")
	x.json(200, "POST", "/default/fhir", x.owner, `{"resourceType":"Bundle","type":"batch","entry":[
		{"request":{"method":"POST","url":"Organization"},"resource":{"resourceType":"Organization","name":"x"}},
		{"request":{"method":"GET","url":"Patient/p1"}},{"request":{"method":"GET","url":"Patient/p3"}}]}`)
	got := x.trailOf("service=default/fhir")
	want := []string{
		"bootstrap update Patient/p1 201", "reader read Patient/p1 200", "reader delete Patient/p1 403", "- authenticate -/- 401",
		"reader read Patient/p2 404", "reader search Patient/- 200", "bootstrap bundle -/- 200",
		"bootstrap create Organization/", "bootstrap read Patient/p1 200", "bootstrap read Patient/p3 404",
	}
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("record %d: got %s, want %s", i, got[i], want[i])
		}
	}
	// The correlation, custom headers, outcomes, paging, scopes and FHIR.
	r := x.json(200, "GET", "/manage/v1/workspaces/default/audit?request=mine", x.owner, "")["value"].([]any)[0].(map[string]any)
	if custom := r["custom"].(map[string]any); custom["site"] != "ward 7" || custom["reason"] != "round" || r["correlation"] != "mine" || r["address"] != "127.0.0.1" || r["client"] != "reader" {
		t.Errorf("got %v", r)
	}
	if refused := x.trailOf("outcome=refused&service=default/fhir"); len(refused) != 2 {
		t.Errorf("refused: %v", refused)
	}
	page := x.json(200, "GET", "/manage/v1/audit?limit=2&action=read", x.owner, "")
	if next, _ := page["next"].(string); !strings.Contains(next, "after=") || len(page["value"].([]any)) != 2 {
		t.Errorf("got %v", page)
	}
	x.json(403, "GET", "/manage/v1/audit", reader, "")
	x.json(400, "GET", "/manage/v1/audit?nonsense=1", x.owner, "")
	x.json(400, "GET", "/manage/v1/workspaces/default/audit?service=other/fhir", x.owner, "")
	events := x.json(200, "GET", "/manage/v1/audit?service=default/fhir", x.owner, "", "Accept", "application/fhir+json")
	if len(events["entry"].([]any)) != len(want) {
		t.Errorf("%d AuditEvents", len(events["entry"].([]any)))
	}
	for _, e := range events["entry"].([]any) {
		// The resources are right: the service itself takes them.
		text := marshal(t, e.(map[string]any)["resource"])
		x.json(201, "PUT", "/default/fhir/AuditEvent/"+fmt.Sprint(e.(map[string]any)["resource"].(map[string]any)["id"]), x.owner, text)
	}
	x.json(431, "GET", "/default/fhir/Patient/p1", reader, "", "X-Hygeia-Audit-Long", strings.Repeat("a", 2049))
	twice, err := http.NewRequest("GET", x.url+"/default/fhir/Patient/p1", nil)
	if err != nil {
		t.Fatal(err)
	}
	twice.Header["X-Hygeia-Audit-Twice"] = []string{strings.Repeat("a", 1100), strings.Repeat("a", 1100)}
	if res, err := http.DefaultClient.Do(twice); err != nil || res.StatusCode != 431 {
		t.Errorf("a header that is there twice: %v %v", res, err)
	} else {
		res.Body.Close()
	}
	x.json(431, "GET", "/default/fhir/Patient/p1", reader, "", "X-Hygeia-Audit-"+strings.Repeat("a", 129), "a")
	if len(x.trailOf("action=token")) < 2 || len(x.trailOf("action=manage&outcome=refused")) == 0 && len(x.trailOf("outcome=refused")) < 3 {
		t.Error("tokens and the management API leave no trace")
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTrailCounts compares the number of records with that of the requests, and
// finds a byte that was changed.
// TestTrailOfIdentity finds in the trail who asked the provider for what.
func TestTrailOfIdentity(t *testing.T) {
	x := openSMART(t)
	_, secret := x.client("app", "", "")
	x.form(401, "/auth/token", url.Values{"grant_type": {"client_credentials"}}, "app", "wrong")
	if back := x.authorize(newBrowser(t), "alice", "wrong horse", nil, nil); back.Get("code") != "" {
		t.Errorf("got %v", back)
	}
	if back := x.authorize(newBrowser(t), "hunter2", "hunter2", nil, nil); back.Get("code") != "" {
		t.Errorf("got %v", back)
	}
	back := x.authorize(newBrowser(t), "alice", "correct horse", nil, url.Values{"patient": {"p1"}})
	a := x.exchange(200, back.Get("code"), nil)
	x.json(200, "GET", "/auth/userinfo", a["access_token"].(string), "")
	x.form(200, "/auth/introspect", url.Values{"token": {x.owner}}, "app", secret)
	var got []string
	for _, rec := range x.json(200, "GET", "/manage/v1/audit", x.owner, "")["value"].([]any) {
		r := rec.(map[string]any)
		if action, _ := r["action"].(string); action == "token" || action == "login" || action == "authorize" || action == "userinfo" || action == "introspect" {
			got = append(got, strings.TrimSpace(fmt.Sprint(action, " ", r["principal"], " ", r["client"], " ", r["status"])))
		}
	}
	want := []string{
		"token bootstrap bootstrap 200", "token app app 200", "token <nil> <nil> 401", "login alice <nil> 401", "login <nil> <nil> 401", "login alice <nil> 303",
		"authorize alice growth 303", "token alice growth 200", "userinfo alice growth 200", "introspect app app 200",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTrailCounts(t *testing.T) {
	x := openSecured(t, nil)
	x.json(201, "PUT", "/default/fhir/Patient/p1", x.owner, patientBody)
	const n = 200
	for range n {
		if res := x.do("GET", "/default/fhir/Patient/p1", x.owner, ""); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		page := x.json(200, "GET", "/manage/v1/audit?action=read&limit=1000", x.owner, "")
		if got := len(page["value"].([]any)); got == n {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d records of %d reads", got, n)
		}
	}
	dir := server.AuditFolder(x.dir)
	path := filepath.Join(dir, "00000001.log")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	copied := t.TempDir()
	for name, content := range map[string][]byte{"00000001.log": text} {
		if err := os.WriteFile(filepath.Join(copied, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line := 1 + strings.Count(string(text[:len(text)/2]), "\n")
	if _, err := audit.Verify(copied); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("line %d", line)) {
		t.Errorf("got %v, want line %d", err, line)
	}
}

// TestTrailOfKinds asks each kind of service without a token, without an action
// and with both, and finds a record that says what was asked.
func TestTrailOfKinds(t *testing.T) {
	x := openSecured(t, nil)
	nobody, _ := x.client("nobody", "", "")
	const study = "1.2.826.0.1.3680043.10.1499.1.1"
	want := map[string][]string{} // by service
	for _, c := range []struct {
		service, method, path, body string
		status                      int
		want                        string // action type/id
	}{
		{"default/fhir", "GET", "/default/fhir/Patient?name=x", "", 200, "search Patient/-"},
		{"default/dicom", "GET", "/default/dicom/v2/studies", "", 204, "query -/-"},
		{"default/dicom", "GET", "/default/dicom/v2/studies/" + study + "/series/1.2.3", "", 404, "retrieve -/" + study + "/1.2.3"},
		{"default/dicom", "GET", "/default/dicom/v2/changefeed", "", 200, "change-feed -/-"},
		{"default/dicom", "GET", "/default/dicom/v2/extendedquerytags", "", 200, "get-all-extended-query-tag -/-"},
		{"default/dicom", "DELETE", "/default/dicom/v2/studies/" + study, "", 404, "delete -/" + study},
		{"default/medtech", "GET", "/default/medtech/status", "", 200, "status -/-"},
		{"default/medtech", "GET", "/default/medtech/deadletters/7", "", 404, "deadletter -/7"},
		{"default/medtech", "POST", "/default/medtech/messages", "{}", 202, "messages -/-"},
		{"default/events", "GET", "/default/events?after=0", "", 200, "events -/-"},
		{"", "GET", "/manage/v1/workspaces/default", "", 200, "manage -//manage/v1/workspaces/default"},
	} {
		for _, who := range []struct {
			name, token string
			status      int
		}{{"-", "", 401}, {"nobody", nobody, 403}, {"bootstrap", x.owner, c.status}} {
			if res := x.do(c.method, c.path, who.token, c.body); res.StatusCode != who.status {
				t.Errorf("%s %s as %s: %s, want %d", c.method, c.path, who.name, res.Status, who.status)
			}
			asked := c.want
			if who.token == "" && c.service != "" && c.service != "default/events" {
				asked = "authenticate -/-" // before the service has read what is asked
			}
			want[c.service] = append(want[c.service], fmt.Sprintf("%s %s %d", who.name, asked, who.status))
		}
	}
	for service, want := range want {
		query, got := url.Values{"service": {service}, "limit": {"1000"}}.Encode(), []string(nil)
		if service == "" {
			query = "action=manage"
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			got = slices.DeleteFunc(x.trailOf(query), func(s string) bool { return service == "" && !slices.Contains(want, s) }) // clients were made
			if len(got) >= len(want) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %s\nwant %s", service, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
