package medtechhttp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/medtechhttp"
	"github.com/hygeia-health/hygeia/medtech/medtechsql"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// nowhere is a destination that does not answer: what is sent stays in the log.
type nowhere struct{}

var errNowhere = fault.New(fault.Transient, "nowhere")

func (nowhere) Find(context.Context, string, string, string) ([]medtech.Resource, error) {
	return nil, errNowhere
}
func (nowhere) Read(context.Context, string, []string) ([]medtech.Resource, error) {
	return nil, errNowhere
}
func (nowhere) Write(context.Context, []medtech.Put) ([]error, error) { return nil, errNowhere }

func open(t *testing.T, guard *auth.Guard, maxBody int64) http.Handler {
	t.Helper()
	store, err := medtechsql.Open(t.Context(), filepath.Join(t.TempDir(), "m.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := medtech.New(t.Context(), medtech.Deps{Store: store, Destination: nowhere{}, Guard: guard, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return medtechhttp.New(s, medtechhttp.Options{BasePath: "/w/m", MaxBody: maxBody, Log: log})
}

func do(h http.Handler, method, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://host:8080/w/m"+path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

const (
	device = `{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {"typeName": "hr",
 "typeMatchExpression": "$..[?(@hr)]", "deviceIdExpression": "$.d", "timestampExpression": "$.t", "values": [{"valueName": "hr", "valueExpression": "$.hr"}]}}]}`
	fhir = `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {"typeName": "pulse", "codes": [],
 "value": {"valueName": "hr", "valueType": "Quantity"}}}]}`
)

// TestScenario walks through the routes in the order in which somebody sets up
// a service.
func TestScenario(t *testing.T) {
	h := open(t, nil, 1<<20)
	const js = "application/json"
	for _, tt := range []struct {
		method, path, typ, body string
		status                  int
		contains                string
	}{
		{"GET", "/devicemapping", "", "", 404, "no device mapping yet"},
		{"POST", "/$test", js, `{"message":{}}`, 400, "there is no mapping to try"},
		{"PUT", "/devicemapping", js, `{"templateType":"CollectionContent","template":[{"templateType":"JsonPathContent","template":{"typeName":""}}]}`, 400, `"errors":[{"detail":"line 1, column`},
		{"PUT", "/devicemapping", "text/xml", device, 415, "application/json"},
		{"PUT", "/devicemapping", js, device, 201, `"version":1`},
		{"PUT", "/devicemapping", "", device, 200, `"version":2`},
		{"GET", "/devicemapping", "", "", 200, device},
		{"PUT", "/fhirmapping", js, fhir, 201, `no template of the FHIR mapping has the typeName \"hr\"`},
		{"PUT", "/fhirmapping", js, strings.Replace(fhir, "pulse", "hr", 1), 200, `"warnings":[]`},
		{"POST", "/messages", js, `{"x":1}`, 202, `{"accepted":1,"rejected":0,"messages":[{"index":0,"status":202,"offset":1}]}`},
		{"POST", "/messages", js, `[{"x":1},7,{"x":2}]`, 202, `{"accepted":2,"rejected":1,"messages":[{"index":0,"status":202,"offset":2},{"index":1,"status":400,"error":"a message is a JSON object, not number"},{"index":2,"status":202,"offset":3}]}`},
		{"POST", "/messages", "application/x-ndjson", "{\"x\":1}\n\n{oops\r\n{\"x\":2}\n", 202, `"accepted":2,"rejected":1`},
		{"POST", "/messages", js, "{\"x\":1}\n{\"x\":2}\n", 202, `"accepted":2,"rejected":0`},
		{"POST", "/messages", "", `{"x":1}`, 202, `"accepted":1`},
		{"POST", "/messages", js, `[]`, 202, `"messages":[]`},
		{"POST", "/messages", js, `[1]`, 400, `"accepted":0`},
		{"POST", "/messages", js, `{"x":`, 400, "the body is no JSON"},
		{"POST", "/messages", js, ``, 400, "the body is empty"},
		{"POST", "/messages", "image/png", `{}`, 415, "not supported"},
		{"POST", "/messages", js, `{"x":"` + strings.Repeat("y", 1<<20) + `"}`, 413, "larger than"},
		{"GET", "/messages", "", "", 405, "allowed are POST"},
		{"POST", "/$test", js, `{"deviceEvents":[{"d":"d1","t":"2020-01-01T00:00:00Z","hr":5}]}`, 200, `"valueQuantity":{"value":5}`},
		{"POST", "/$test", js, `{"message":{"d":"d1","t":"2020-01-01T00:00:00Z","hr":5},"fhirMapping":` + fhir + `}`, 200, `"Class":"TemplateNotFound"`},
		{"POST", "/$test", js, `{"message":{"d":"d1","time":"2020-01-01T00:00:00Z","hr":5}}`, 200, `"Unused":["$.time"]`},
		{"POST", "/$test", js, `{"message":{"d":"d1","hr":5},"deviceMapping":` + strings.Replace(device, "$.t", "$.SystemProperties.iothub-enqueuedtime", 1) + `}`, 200, `"issued":`},
		{"POST", "/$test", js, `{"messages":{}}`, 400, "must be an array"},
		{"POST", "/$test", js, `{"what":1}`, 400, "has no member"},
		{"GET", "/deadletters", "", "", 200, `{"value":[]}`},
		{"GET", "/deadletters?state=closed", "", "", 400, "state is open"},
		{"GET", "/deadletters?page=1", "", "", 400, "is unknown"},
		{"GET", "/deadletters/1", "", "", 404, "no dead letter 1"},
		{"PUT", "/deadletters/1", js, `{}`, 404, "no dead letter 1"},
		{"DELETE", "/deadletters/1", "", "", 404, "no dead letter 1"},
		{"POST", "/deadletters/1/$redrive", "", "", 404, "no dead letter 1"},
		{"POST", "/deadletters/$redrive", js, `{}`, 400, "say which"},
		{"POST", "/deadletters/$redrive", js, `{"all":true}`, 202, `{"redriven":0}`},
		{"POST", "/deadletters/$discard", js, `{"errorType":"IncompatibleData"}`, 200, `{"discarded":0}`},
		{"POST", "/replays", js, `{"dryRun":true,"device":"nobody"}`, 200, `"messages":0`},
		{"POST", "/replays", js, `{"fromOffset":1,"from":"2020-01-01T00:00:00Z"}`, 400, "not both"},
		{"POST", "/replays", js, `{"from":"yesterday"}`, 400, "cannot be read"},
		{"POST", "/replays", js, `{"device":"nobody"}`, 202, `"state":"running"`},
		{"GET", "/replays", "", "", 200, `{"value":[{"id":1`},
		{"DELETE", "/replays/7", "", "", 404, "no replay 7"},
		{"GET", "/status?verbose=true", "", "", 400, "there are no parameters here"},
		{"GET", "/status", "", "", 200, `"messages":8`},
		{"POST", "/messages", "text/csv; header=present", "d,t,hr\nd1,2020-01-01T00:00:00Z,61\nd1\n", 202, `"accepted":1,"rejected":1,"messages":[{"index":0,"status":202,"offset":9},{"index":1,"status":400,"error":"the record`},
		{"POST", "/messages", "text/csv", "d,d\n1,2\n", 400, "the body is no CSV"},
		{"POST", "/messages", "text/csv", "d,hr\n", 400, "no message"},
		{"POST", "/messages", "application/cbor", "\xa2ad\x62d1bhr\x18\x3d", 202, `"accepted":1`},
		{"POST", "/messages", "application/cbor", "\x82\xa1ad\x01\x07", 202, `"accepted":1,"rejected":1`},
		{"POST", "/messages", "application/cbor-seq", "\xa1ad\x01\xa1ad\x02", 202, `"accepted":2`},
		{"POST", "/messages", "application/cbor", "\xa2ad", 400, "the body is no CBOR"},
		{"POST", "/messages", "application/cbor", "", 400, "no message"},
		{"GET", "/status", "", "", 200, `"messages":13`},
		{"GET", "/nothing", "", "", 404, "nothing at this path"},
		{"DELETE", "/deadletters/x", "", "", 404, "is no id"},
	} {
		rec := do(h, tt.method, tt.path, tt.typ, tt.body)
		if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.contains) {
			t.Errorf("%s %s %.60s: %d %.600s\nwant %d with %s", tt.method, tt.path, tt.body, rec.Code, rec.Body, tt.status, tt.contains)
		}
	}
}

func TestGzip(t *testing.T) {
	h := open(t, nil, 10_000)
	send := func(text string) *httptest.ResponseRecorder {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/w/m/messages", &b)
		r.Header.Set("Content-Encoding", "gzip")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	if rec := send(`{"hr":1}`); rec.Code != 202 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := send(`{"hr":"` + strings.Repeat("1", 20_000) + `"}`); rec.Code != 413 {
		t.Errorf("a bomb: %d %s", rec.Code, rec.Body)
	}
	r := httptest.NewRequest("POST", "/w/m/messages", strings.NewReader("not gzip"))
	r.Header.Set("Content-Encoding", "gzip")
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, r); rec.Code != 400 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestIfMatch(t *testing.T) {
	h := open(t, nil, 0)
	put := func(tag string) int {
		r := httptest.NewRequest("PUT", "/w/m/devicemapping", strings.NewReader(device))
		r.Header.Set("If-Match", tag)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code
	}
	if got := []int{put("*"), do(h, "PUT", "/devicemapping", "", device).Code, put(`"1"`), put(`"1"`), put(`"9", "2"`)}; got[0] != 412 || got[1] != 201 || got[2] != 200 || got[3] != 412 || got[4] != 200 {
		t.Errorf("%v", got)
	}
}

// TestRoles pins who may do what: a sender sends and no more.
func TestRoles(t *testing.T) {
	h := open(t, auth.NewGuard("/w/m"), 0)
	sender, ok := auth.BuiltinRole("MedTech Data Sender")
	if !ok {
		t.Fatal("no role")
	}
	as := func(p *auth.Principal, method, path, body string) int {
		r := httptest.NewRequest(method, "/w/m"+path, strings.NewReader(body))
		if p != nil {
			r = r.WithContext(auth.WithPrincipal(r.Context(), p))
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code
	}
	p := &auth.Principal{ID: "x", Grants: []auth.Grant{{Scope: "/w", Actions: sender}}}
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/messages", `{}`, 202}, {"GET", "/devicemapping", "", 403}, {"PUT", "/fhirmapping", fhir, 403}, {"POST", "/$test", `{"message":{}}`, 403},
		{"GET", "/deadletters", "", 403}, {"POST", "/deadletters/$redrive", `{"all":true}`, 403}, {"POST", "/replays", `{}`, 403}, {"GET", "/status", "", 403},
		{"POST", "/replays", `{"dryRun":true}`, 403}, {"DELETE", "/deadletters/1", "", 403}, {"PUT", "/deadletters/1", `{}`, 403},
	} {
		if got := as(p, tt.method, tt.path, tt.body); got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got, tt.want)
		}
		if got := as(nil, tt.method, tt.path, tt.body); got != 401 {
			t.Errorf("%s %s without a token: %d", tt.method, tt.path, got)
		}
	}
}
