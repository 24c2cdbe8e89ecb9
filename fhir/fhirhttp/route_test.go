package fhirhttp

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// TestRoutes lists what method and path mean.
func TestRoutes(t *testing.T) {
	type meaning struct {
		Verb                  fhir.Verb
		Type, ID, Version, Op string
		Compartment           string
		Conditional           bool
	}
	for route, want := range map[string]meaning{
		"GET /":                               {Verb: fhir.VerbSearch},
		"GET ":                                {Verb: fhir.VerbSearch},
		"POST /":                              {Verb: fhir.VerbBundle},
		"GET /metadata":                       {Verb: fhir.VerbCapabilities},
		"GET /_search":                        {Verb: fhir.VerbSearch},
		"POST /_search":                       {Verb: fhir.VerbSearch},
		"GET /_history":                       {Verb: fhir.VerbHistory},
		"GET /$versions":                      {Verb: fhir.VerbVersions, Op: "versions"},
		"GET /Patient":                        {Verb: fhir.VerbSearch, Type: "Patient"},
		"POST /Patient":                       {Verb: fhir.VerbCreate, Type: "Patient"},
		"PUT /Patient":                        {Verb: fhir.VerbUpdate, Type: "Patient", Conditional: true},
		"DELETE /Patient":                     {Verb: fhir.VerbDelete, Type: "Patient", Conditional: true},
		"POST /Patient/_search":               {Verb: fhir.VerbSearch, Type: "Patient"},
		"GET /Patient/_history":               {Verb: fhir.VerbHistory, Type: "Patient"},
		"GET /Patient/a-1.b":                  {Verb: fhir.VerbRead, Type: "Patient", ID: "a-1.b"},
		"HEAD /Patient/1":                     {Verb: fhir.VerbRead, Type: "Patient", ID: "1"},
		"PUT Patient/1":                       {Verb: fhir.VerbUpdate, Type: "Patient", ID: "1"},
		"DELETE /Patient/1/":                  {Verb: fhir.VerbDelete, Type: "Patient", ID: "1"},
		"GET /Patient/1/_history":             {Verb: fhir.VerbHistory, Type: "Patient", ID: "1"},
		"GET /Patient/1/_history/2":           {Verb: fhir.VerbVRead, Type: "Patient", ID: "1", Version: "2"},
		"DELETE /Patient/1/%24purge-history":  {Verb: fhir.VerbPurgeHistory, Type: "Patient", ID: "1", Op: "purge-history"},
		"GET /Patient/1/Observation":          {Verb: fhir.VerbSearch, Type: "Patient", ID: "1", Compartment: "Observation"},
		"GET /Device/1/*":                     {Verb: fhir.VerbSearch, Type: "Device", ID: "1", Compartment: "*"},
		"POST /Patient/1/Observation/_search": {Verb: fhir.VerbSearch, Type: "Patient", ID: "1", Compartment: "Observation"},
	} {
		method, path, _ := strings.Cut(route, " ")
		var tg target
		var in fhir.Interaction
		if err := tg.parse(path); err != nil {
			t.Errorf("%s: %v", route, err)
			continue
		}
		if err := tg.interaction(method, &in); err != nil {
			t.Errorf("%s: %v", route, err)
			continue
		}
		got := meaning{in.Verb, in.Type, in.ID, in.VersionID, in.Operation, in.Compartment, in.Conditional}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", route, d)
		}
	}
}

// TestRouteDoesNotAllocate guards the hot path.
func TestRouteDoesNotAllocate(t *testing.T) {
	var tg target
	var in fhir.Interaction
	if n := testing.AllocsPerRun(100, func() {
		if tg.parse("/Patient/0197a7a0-0000-7000-8000-000000000000") != nil || tg.interaction("GET", &in) != nil {
			t.Fatal("no route")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRoute checks that no path breaks the parser, and that whatever it lets
// through is safe to use as a key.
func FuzzRoute(f *testing.F) {
	for _, s := range []string{
		"", "/", "/Patient", "/Patient/1", "/Patient/1/_history/2", "/$versions", "/Patient/1/$purge-history",
		"/Patient/1/*", "/Patient/%2e%2e", "/%", "//", "/Patient//1", "/a/b/c/d/e/f/g", "/metadata", "/_search", "/Patient/%00", "/$",
	} {
		f.Add("GET", s)
		f.Add("DELETE", s)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		var tg target
		if err := tg.parse(path); err != nil {
			e := fault.From(err)
			if e.Kind != fault.NotFound && e.Kind != fault.Invalid {
				t.Fatalf("%q: kind %d", path, e.Kind)
			}
			return
		}
		if tg.id != "" && !fhir.ValidID(tg.id) || tg.version != "" && !fhir.ValidID(tg.version) {
			t.Fatalf("%q lets the id %q or version %q through", path, tg.id, tg.version)
		}
		if tg.allow() == "" {
			t.Fatalf("%q allows nothing", path)
		}
		var in fhir.Interaction
		if err := tg.interaction(method, &in); err != nil {
			if !fault.Is(err, fault.NotAllowed) {
				t.Fatalf("%s %q: %v", method, path, err)
			}
			return
		}
		if in.Verb == "" {
			t.Fatalf("%s %q means nothing", method, path)
		}
	})
}

// FuzzQuery checks the parts of the query that the edge reads itself.
func FuzzQuery(f *testing.F) {
	f.Add("_hardDelete=true&x=1", "return=minimal; handling=strict", "application/fhir+json;q=0.5, */*")
	f.Add("%5FhardDelete=1&&=&_summary=x", ";,=", "a;q=;q")
	f.Fuzz(func(t *testing.T, query, preference, accept string) {
		in := fhir.Interaction{Verb: fhir.VerbDelete}
		if setQuery(&in, query) == nil && setControls(&in) == nil {
			if _, ok := in.Params["_hardDelete"]; ok {
				t.Fatalf("%q keeps _hardDelete", query)
			}
			var v view
			_ = v.set(&in) // refusing is fine
		}
		var p prefer
		_ = p.parse(preference, true) // refusing is fine
		x := exchange{}
		if err := x.accept(accept); err != nil && !fault.Is(err, fault.NotAcceptable) {
			t.Fatal(err)
		}
	})
}

// TestHTTPTime compares with the standard library.
func TestHTTPTime(t *testing.T) {
	for d := time.Date(2019, 12, 30, 3, 4, 5, 0, time.UTC); d.Year() < 2032; d = d.Add(37*time.Hour + 13*time.Minute + 7*time.Second) {
		if got, want := string(appendHTTPTime(nil, d)), d.Format(http.TimeFormat); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}
