package fhir_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

const base = "http://example.test/default/fhir"

// rig is a service on a model store with a clock that the test moves.
type rig struct {
	*testing.T
	svc   *fhir.Service
	store *fhirtest.Memory
	now   time.Time
}

func newRig(t *testing.T, cfg fhir.Config) *rig {
	t.Helper()
	r := &rig{T: t, store: fhirtest.NewMemory(search.Default()), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	r.store.Now = func() time.Time { return r.now }
	svc, err := fhir.New(fhir.Deps{Store: &auditor{r.store, t}, Now: r.store.Now, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	r.svc = svc
	return r
}

// entriesOf lists index entries in a fixed order: the stored form has meta in
// front, so that they are found in another one.
func entriesOf(v *search.Values) (all []string) {
	for _, x := range v.Tokens {
		all = append(all, fmt.Sprintf("%s %q %q %q", x.Param.Key(), x.System, x.Code, x.Text))
	}
	for _, x := range v.References {
		all = append(all, fmt.Sprintf("%s %s/%s %q", x.Param.Key(), x.Type, x.ID, x.URL))
	}
	for _, x := range v.Dates {
		all = append(all, fmt.Sprintf("%s %d %d", x.Param.Key(), x.Lo, x.Hi))
	}
	for _, x := range v.Numbers {
		all = append(all, fmt.Sprintf("%s %v %v %q %q %q", x.Param.Key(), x.Lo, x.Hi, x.System, x.Code, x.Unit))
	}
	for _, x := range v.Strings {
		all = append(all, fmt.Sprintf("%s %q %q", x.Param.Key(), x.Text, x.Norm))
	}
	for _, x := range v.URIs {
		all = append(all, fmt.Sprintf("%s %q", x.Param.Key(), x.URI))
	}
	for _, x := range v.Composites {
		parts := x.Param.Key()
		for i := range x.Parts {
			parts += fmt.Sprint(" ", entriesOf(&x.Parts[i]))
		}
		all = append(all, parts)
	}
	slices.Sort(all)
	return all
}

// auditor checks of every put that its index entries are those of its text.
type auditor struct {
	fhir.Store
	t *testing.T
}

func (a *auditor) Apply(ctx context.Context, c *fhir.Change) ([]fhir.Applied, error) {
	for _, op := range c.Ops {
		if op.Kind != fhir.OpPut {
			continue
		}
		text := resource.AppendResource(nil, resource.Header{Type: op.Key.Type, ID: op.Key.ID, Version: 1}, op.Stored)
		var want search.Values
		if err := search.Default().Extract(node(a.t, string(text)), nil, &want); err != nil {
			a.t.Errorf("%s: %v", op.Key, err)
		}
		if d := cmp.Diff(entriesOf(&want), entriesOf(op.Values)); d != "" {
			a.t.Errorf("%s: index entries differ from those of %s:\n%s", op.Key, text, d)
		}
	}
	return a.Store.Apply(ctx, c)
}

func node(t testing.TB, body string) resource.Node {
	t.Helper()
	if body == "" {
		return resource.Node{}
	}
	d := new(resource.Doc)
	if err := d.Parse([]byte(body), resource.Options{}); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return d.Root()
}

// request makes an interaction of a method, a relative URL and a body, as an edge would.
func request(t testing.TB, method, target, body string) *fhir.Interaction {
	t.Helper()
	path, query, hasQuery := strings.Cut(target, "?")
	in := &fhir.Interaction{Method: method, Base: base, RawQuery: query, Body: node(t, body)}
	var err error
	if in.Params, err = url.ParseQuery(query); err != nil {
		t.Fatal(err)
	}
	part := strings.Split(path, "/")
	in.Type = part[0]
	switch {
	case path == "_history":
		in.Type, in.Verb = "", fhir.VerbHistory
	case strings.HasSuffix(path, "/_history"):
		in.Verb = fhir.VerbHistory
		if len(part) == 3 {
			in.ID = part[1]
		}
	case len(part) == 4:
		in.Verb, in.ID, in.VersionID = fhir.VerbVRead, part[1], part[3]
	case len(part) == 3 && part[2] == "$purge-history":
		in.Verb, in.ID = fhir.VerbPurgeHistory, part[1]
	case len(part) == 3:
		in.Verb, in.ID, in.Compartment = fhir.VerbSearch, part[1], part[2]
	case method == "POST":
		in.Verb = fhir.VerbCreate
	case method == "GET" && len(part) == 1:
		in.Verb = fhir.VerbSearch
	default:
		in.Verb = map[string]fhir.Verb{"GET": fhir.VerbRead, "PUT": fhir.VerbUpdate, "DELETE": fhir.VerbDelete, "PATCH": fhir.VerbPatch}[method]
		if len(part) == 2 {
			in.ID = part[1]
		} else {
			in.Conditional = hasQuery || len(part) == 1
		}
	}
	return in
}

func (r *rig) try(method, target, body string, opts ...func(*fhir.Interaction)) (*fhir.Response, error) {
	r.Helper()
	in := request(r, method, target, body)
	for _, o := range opts {
		o(in)
	}
	return r.svc.Do(context.Background(), in)
}

// do expects a status.
func (r *rig) do(status int, method, target, body string, opts ...func(*fhir.Interaction)) *fhir.Response {
	r.Helper()
	resp, err := r.try(method, target, body, opts...)
	if err != nil {
		r.Fatalf("%s %s: %v", method, target, err)
	}
	if resp.Status != status {
		r.Fatalf("%s %s: status %d, want %d", method, target, resp.Status, status)
	}
	return resp
}

// fail expects an error of a kind and returns it.
func (r *rig) fail(kind fault.Kind, method, target, body string, opts ...func(*fhir.Interaction)) *fault.Error {
	r.Helper()
	resp, err := r.try(method, target, body, opts...)
	return wantFault(r, kind, err, method+" "+target, resp)
}

func wantFault(t testing.TB, kind fault.Kind, err error, what string, resp any) *fault.Error {
	t.Helper()
	e, ok := err.(*fault.Error)
	if !ok {
		t.Fatalf("%s: answer %+v, error %#v; want a *fault.Error of kind %d", what, resp, err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("%s: kind %d (%v), want %d", what, e.Kind, e, kind)
	}
	return e
}

// body renders a record as the client would see it.
func (r *rig) body(rec *fhir.Record) map[string]any {
	r.Helper()
	text := resource.AppendResource(nil, resource.Header{
		Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time(),
	}, rec.Stored)
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		r.Fatalf("%s: %v", text, err)
	}
	return m
}

// text reads one resource and renders it.
func (r *rig) text(target string) string {
	r.Helper()
	rec := r.do(200, "GET", target, "").Record
	return string(resource.AppendResource(nil, resource.Header{
		Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time(),
	}, rec.Stored))
}

// count is the number of resources that a search finds.
func (r *rig) count(target string) int {
	r.Helper()
	return len(r.do(200, "GET", target, "").Page.Records)
}

func ifMatch(tag string) func(*fhir.Interaction) {
	return func(in *fhir.Interaction) { in.IfMatch = tag }
}

func ifNoneExist(criteria string) func(*fhir.Interaction) {
	return func(in *fhir.Interaction) { in.IfNoneExist, in.HasIfNoneExist = criteria, true }
}

func strict(in *fhir.Interaction)       { in.Strict = true }
func hardDelete(in *fhir.Interaction)   { in.HardDelete = true }
func noOldVersion(in *fhir.Interaction) { in.KeepNoOldVersion = true }

func patient(id, family string) string {
	if id == "" {
		return fmt.Sprintf(`{"resourceType":"Patient","name":[{"family":%q}]}`, family)
	}
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":%q}]}`, id, family)
}

func identified(id, value string) string {
	if id != "" {
		id = fmt.Sprintf(`"id":%q,`, id)
	}
	return fmt.Sprintf(`{"resourceType":"Patient",%s"identifier":[{"system":"urn:mrn","value":%q}]}`, id, value)
}
