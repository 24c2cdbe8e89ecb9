package managehttp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/manage/managefile"
	"github.com/hygeia-health/hygeia/manage/managehttp"
	"github.com/hygeia-health/hygeia/platform/jobs"
)

// idle is a manage.Runner that has nothing to run.
type idle struct{}

func (idle) Start(context.Context, manage.Ref, manage.Spec) error { return nil }
func (idle) Stop(context.Context, manage.Ref) error               { return nil }
func (idle) Remove(context.Context, manage.Ref) error             { return nil }

func open(t *testing.T) http.Handler {
	t.Helper()
	p, err := manage.New(context.Background(), manage.Deps{
		Store: managefile.New(filepath.Join(t.TempDir(), "manage.json")), Runner: idle{},
		Now:   func() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) },
		First: []manage.Workspace{{Name: "default", Services: []manage.Service{{Name: "fhir", Spec: manage.Spec{Kind: manage.KindFHIR}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return managehttp.New(p, managehttp.Options{Log: slog.New(slog.DiscardHandler), Jobs: oneJob{}})
}

// oneJob is a queue with one job.
type oneJob struct{}

func (oneJob) List(context.Context, jobs.Filter) ([]jobs.Job, error) {
	return []jobs.Job{{ID: "j"}}, nil
}
func (oneJob) Get(_ context.Context, id string) (jobs.Job, error)    { return jobs.Job{ID: id}, nil }
func (oneJob) Children(context.Context, string) ([]jobs.Job, error)  { return nil, nil }
func (oneJob) Cancel(_ context.Context, id string) (jobs.Job, error) { return jobs.Job{ID: id}, nil }

func do(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, "http://hygeia.example:8080"+path, strings.NewReader(body)))
	return rec
}

func TestScenario(t *testing.T) {
	h := open(t)
	const ws, svc = "/manage/v1/workspaces/clinic", "/manage/v1/workspaces/clinic/fhirservices/records"
	for _, tt := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/manage/v1/workspaces", "", 200, `{"value":[{"name":"default","services":[{"name":"fhir","workspace":"default","kind":"fhir","state":"running","url":"http://hygeia.example:8080/default/fhir"`},
		{"GET", ws, "", 404, `there is no workspace \"clinic\"`},
		{"PUT", svc, "", 404, "there is no workspace"},
		{"PUT", ws, `{"tags":{"team":"a"}}`, 201, `"tags":{"team":"a"}`},
		{"PUT", ws, `{"tags":{"team":"a"}}`, 200, `"name":"clinic"`},
		{"PUT", ws, `{"tag":1}`, 400, `unknown field \"tag\"`},
		{"PUT", ws, `{} {}`, 400, "more after"},
		{"PUT", "/manage/v1/workspaces/Clinic", "", 400, "cannot name a workspace"},
		{"PUT", svc, `{"compat":"ahds"}`, 201, `"url":"http://hygeia.example:8080/clinic/records"`},
		{"PUT", svc, "", 200, `"state":"running"`},
		{"PUT", svc, `{"compat":"dstu2"}`, 400, "is unknown"},
		{"PUT", svc, `null`, 400, "no JSON object"},
		{"PUT", svc, `[]`, 400, "no JSON object"},
		{"PUT", svc, `{"compat":5}`, 400, "compat may not be a JSON number"},
		{"PUT", svc, `{"compat"`, 400, "ends too early"},
		{"PUT", svc, `{"compat" 1}`, 400, "at byte 11"},
		{"PUT", svc, `{"versions":1}`, 400, `unknown field \"versions\"`},
		{"PUT", svc, `{"versioning":{"patient":"versioned"}}`, 400, `\"patient\" is no resource type of R4`},
		{"PUT", svc, `{"versioning":{"Patient":"latest"}}`, 400, "not one of versioned, versioned-update, no-version"},
		{"PUT", ws + "/fhirservices/events", "", 400, "reserved"},
		{"PUT", ws + "/dicomservices/img", `{"compat":"ahds"}`, 400, `unknown field \"compat\"`},
		{"PUT", ws + "/dicomservices/img", `{"partitions":true}`, 201, `"partitions":true`},
		{"PUT", ws + "/dicomservices/img", "", 409, "has partitions"},
		{"DELETE", ws + "/dicomservices/img", "", 204, ""},
		{"PUT", ws + "/medtechservices/devices", "", 400, "destination is missing"},
		{"PUT", ws + "/medtechservices/devices", `{"destination":"records","versioning":{}}`, 400, `unknown field \"versioning\"`},
		{"PUT", ws + "/medtechservices/devices", `{"destination":"records","resolution":"Lookup","retention":"24h"}`, 201, `"destination":"records","resolution":"Lookup","retention":"24h"`},
		{"GET", ws + "/medtechservices", "", 200, `{"value":[{"name":"devices"`},
		{"GET", ws + "/fhirservices/devices", "", 404, "is of kind medtech"},
		{"PUT", ws + "/fhirservices/devices", "", 409, "the kind of a service cannot change"},
		{"DELETE", ws + "/fhirservices/devices", "", 404, "is of kind medtech"},
		{"DELETE", ws + "/medtechservices/devices", "", 204, ""},
		{"GET", svc, "", 200, `"workspace":"clinic"`},
		{"GET", ws + "/fhirservices", "", 200, `{"value":[{"name":"records"`},
		{"DELETE", ws, "", 409, "still has 1 services"},
		{"DELETE", ws + "?force=perhaps", "", 400, "neither true nor false"},
		{"DELETE", ws + "?force=true&force=false", "", 400, "more than once"},
		{"DELETE", ws + "?forced=true", "", 400, "there is no parameter"},
		{"GET", ws + "?force=true", "", 400, "there is no parameter"},
		{"GET", ws + "?a=%zz", "", 400, "not encoded"},
		{"DELETE", svc, "", 204, ""},
		{"DELETE", svc, "", 404, "there is no service"},
		{"DELETE", ws + "?force=true", "", 204, ""},
		{"POST", "/manage/v1/workspaces", "", 405, "allowed are GET, HEAD"},
		{"PATCH", svc, "", 405, "allowed are GET, HEAD, PUT, DELETE"},
		{"OPTIONS", svc, "", 204, ""},
		{"GET", "/manage/v1/nothing", "", 404, "openapi.json"},
		{"GET", "/manage/v2", "", 404, "openapi.json"},
	} {
		rec := do(h, tt.method, tt.path, tt.body)
		if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.contains) {
			t.Errorf("%s %s: %d %s\nwant %d with %s", tt.method, tt.path, rec.Code, rec.Body, tt.status, tt.contains)
		}
		if rec.Code >= 400 && rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: content type %q", tt.method, tt.path, rec.Header().Get("Content-Type"))
		}
	}
}

func TestBody(t *testing.T) {
	h := open(t)
	if rec := do(h, "PUT", "/manage/v1/workspaces/big", `{"tags":{"a":"`+strings.Repeat("x", 1<<20)+`"}}`); rec.Code != 413 {
		t.Errorf("large body: %d", rec.Code)
	}
	r := httptest.NewRequest("PUT", "/manage/v1/workspaces/xml", strings.NewReader("<a/>"))
	r.Header.Set("Content-Type", "text/xml")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != 415 {
		t.Errorf("XML body: %d", rec.Code)
	}
}

// TestOpenAPI walks the document: every operation answers with a status that
// the document names, and every method that a path does not name is refused.
func TestOpenAPI(t *testing.T) {
	h := open(t)
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(do(h, "GET", "/manage/v1/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	// Those of the identity provider and of events are answered by them; the tests of the server try them.
	maps.DeleteFunc(doc.Paths, func(path string, _ map[string]json.RawMessage) bool {
		return regexp.MustCompile(`/(clients|users|roles|roleassignments|signingkeys|eventsubscriptions|audit)(/|$)`).MatchString(path)
	})
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) != 11 {
		t.Fatalf("version %s, %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path, item := range doc.Paths {
		// delete comes last: what it removes is needed before.
		for _, method := range []string{"get", "put", "post", "patch", "delete"} {
			text, documented := item[method]
			if method == "delete" {
				h = open(t)
			}
			name, body := "fhir", ""
			if strings.Contains(path, "dicomservices") {
				name = "images"
				do(h, "PUT", "/manage/v1/workspaces/default/dicomservices/images", "")
			}
			if strings.Contains(path, "medtechservices") {
				name, body = "devices", `{"destination":"fhir"}`
				do(h, "PUT", "/manage/v1/workspaces/default/medtechservices/devices", body)
			}
			if method != "put" {
				body = ""
			}
			target := strings.NewReplacer("{workspace}", "default", "{service}", name, "{job}", "j").Replace(path)
			rec := do(h, strings.ToUpper(method), target, body)
			if !documented {
				if rec.Code != 405 {
					t.Errorf("%s %s is not documented but answers %d", method, path, rec.Code)
				}
				continue
			}
			var op struct {
				Responses map[string]json.RawMessage `json:"responses"`
			}
			if err := json.Unmarshal(text, &op); err != nil {
				t.Fatal(err)
			}
			code := rec.Result().StatusCode
			if op.Responses[strconv.Itoa(code)] == nil || code == 404 || code == 405 {
				t.Errorf("%s %s answers %d, which is not documented", method, path, code)
			}
		}
	}
}

// TestSchemas checks that what is answered has the members that the document
// requires and no others.
func TestSchemas(t *testing.T) {
	h := open(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Required   []string                   `json:"required"`
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(do(h, "GET", "/manage/v1/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	do(h, "PUT", "/manage/v1/workspaces/default", `{"tags":{"a":"b"}}`)
	do(h, "PUT", "/manage/v1/workspaces/default/fhirservices/fhir", `{"compat":"ahds","narrative":"safe","versioning":{"default":"no-version"},"tags":{"a":"b"}}`)
	for path, schema := range map[string]string{
		"/manage/v1/workspaces":                           "WorkspaceList",
		"/manage/v1/workspaces/default":                   "Workspace",
		"/manage/v1/workspaces/default/fhirservices":      "ServiceList",
		"/manage/v1/workspaces/default/fhirservices/fhir": "Service",
		"/manage/v1/workspaces/nobody":                    "Problem",
	} {
		body, err := io.ReadAll(do(h, "GET", path, "").Body)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		s := doc.Components.Schemas[schema]
		for name := range got {
			if _, ok := s.Properties[name]; !ok {
				t.Errorf("%s: %q is not in the schema", schema, name)
			}
			s.Required = slices.DeleteFunc(s.Required, func(r string) bool { return r == name })
		}
		if diff := cmp.Diff(0, len(s.Required)); diff != "" {
			t.Errorf("%s: missing %v", schema, s.Required)
		}
	}
}

// TestSpecSchemas checks that the members which the document has for a service
// are those that are taken for it.
func TestSpecSchemas(t *testing.T) {
	h := open(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(do(h, "GET", "/manage/v1/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{"fhirservices": "ServiceSpec", "dicomservices": "DICOMServiceSpec", "medtechservices": "MedTechServiceSpec"}
	members := map[string]bool{"kind": true}
	for _, schema := range kinds {
		for name := range doc.Components.Schemas[schema].Properties {
			members[name] = true
		}
	}
	for name := range doc.Components.Schemas["Service"].Properties {
		members[name] = true
	}
	for kind, schema := range kinds {
		for name := range members {
			_, documented := doc.Components.Schemas[schema].Properties[name]
			answer := do(h, "PUT", "/manage/v1/workspaces/default/"+kind+"/new", `{"`+name+`":null}`).Body.String()
			if taken := !strings.Contains(answer, "unknown field"); taken != documented {
				t.Errorf("%s %s: taken %v, documented %v", kind, name, taken, documented)
			}
		}
	}
}
