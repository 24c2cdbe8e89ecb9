package fhirhttp

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// entry is one entry of a batch or transaction.
type entry struct {
	in  fhir.Interaction
	err error // why it could not be understood
}

// readEntry turns Bundle.entry n into an Interaction by the same route parser
// that requests go through.
func (x *exchange) readEntry(n resource.Node, e *entry) error {
	if n.Kind() != resource.Object {
		return fault.At(fault.Invalid, "structure", n.Path(), "a Bundle entry must be an object")
	}
	in := &e.in
	in.Base, in.Strict, in.Partial = x.in.Base, x.in.Strict, x.in.Partial
	var request resource.Node
	for c := n.First(); c.Valid(); c = c.Next() {
		switch {
		case c.KeyIs("fullUrl"):
			in.FullURL = c.Text()
		case c.KeyIs("resource"):
			in.Body = c
		case c.KeyIs("request"):
			request = c
		default:
			if err := known(c, "Bundle.entry"); err != nil {
				return err
			}
		}
	}
	if request.Kind() != resource.Object {
		return fault.At(fault.Invalid, "required", n.Path()+".request", "an entry of a batch or transaction needs a request")
	}
	method, url, err := x.readRequest(request, in)
	if err != nil {
		return err
	}
	if err := x.routeEntry(method, url, in); err != nil {
		f := *fault.From(err)
		f.Issues = []fault.Issue{{Code: firstCode(&f), Diagnostics: printable(method) + " " + clip(url) + ": " + f.Msg, Expression: request.Path() + ".url"}}
		f.Msg = f.Issues[0].Diagnostics
		return &f
	}
	return checkEntryBody(n, in)
}

// known refuses a member that the type has not: an ifNoneExist that is spelt
// wrongly would make a condition into none.
func known(member resource.Node, typ string) error {
	name := bytes.TrimPrefix(member.Key(), []byte("_"))
	if _, _, ok := r4.Lookup(typ).Element(name); ok || typ == "Bundle" && string(name) == "resourceType" {
		return nil
	}
	return fault.At(fault.Invalid, "structure", member.Path(), "%s has no element %q", typ, printable(string(member.Key())))
}

// firstCode keeps the issue type of an error that gets other words.
func firstCode(f *fault.Error) string {
	if len(f.Issues) > 0 {
		return f.Issues[0].Code
	}
	return ""
}

// clip keeps a URL short in a message.
func clip(s string) string {
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// readRequest reads Bundle.entry.request.
func (x *exchange) readRequest(n resource.Node, in *fhir.Interaction) (method, url string, err error) {
	for c := n.First(); c.Valid(); c = c.Next() {
		if err := known(c, "Bundle.entry.request"); err != nil {
			return "", "", err
		}
		if c.Kind() != resource.String {
			if c.Key()[0] == '_' || c.KeyIs("extension") || c.KeyIs("modifierExtension") {
				continue
			}
			return "", "", fault.At(fault.Invalid, "structure", c.Path(), "%s must be a string", c.Key())
		}
		switch {
		case c.KeyIs("method"):
			method = methodName(c)
		case c.KeyIs("url"):
			url = c.Text()
		case c.KeyIs("ifMatch"):
			in.IfMatch = c.Text()
		case c.KeyIs("ifNoneMatch"):
			in.IfNoneMatch = c.Text()
		case c.KeyIs("ifNoneExist"):
			in.IfNoneExist, in.HasIfNoneExist = c.Text(), true
		case c.KeyIs("ifModifiedSince"):
			t, err := time.Parse(time.RFC3339Nano, c.Text())
			if err != nil {
				return "", "", fault.At(fault.Invalid, "value", c.Path(), "ifModifiedSince is not an instant")
			}
			in.IfModifiedSince = t
		}
	}
	switch {
	case method == "":
		return "", "", fault.At(fault.Invalid, "required", n.Path()+".method", "the request of an entry needs a method")
	case url == "":
		return "", "", fault.At(fault.Invalid, "required", n.Path()+".url", "the request of an entry needs a url")
	}
	return method, url, nil
}

// methodName returns the method, as one of our own constants where possible.
func methodName(n resource.Node) string {
	for _, m := range [...]string{http.MethodPost, http.MethodPut, http.MethodGet, http.MethodDelete, http.MethodPatch, http.MethodHead} {
		if n.Is(m) {
			return m
		}
	}
	return n.Text()
}

// routeEntry parses the URL of an entry: relative, or absolute under our own base.
func (x *exchange) routeEntry(method, url string, in *fhir.Interaction) error {
	if rest, ok := strings.CutPrefix(url, in.Base); ok && (rest == "" || rest[0] == '/' || rest[0] == '?') {
		url = rest
	} else if strings.Contains(before(url, "?"), "://") {
		return fault.New(fault.Invalid, "the URL does not lie under this service, %s", in.Base)
	}
	if strings.IndexByte(url, '#') >= 0 {
		return fault.New(fault.Invalid, "the URL must not have a fragment")
	}
	path, query, _ := strings.Cut(url, "?")
	var t target
	if err := t.parse(path); err != nil {
		return err
	}
	if err := t.interaction(method, in); err != nil {
		return err
	}
	switch in.Verb {
	case fhir.VerbBundle, fhir.VerbCapabilities, fhir.VerbVersions, fhir.VerbExport, fhir.VerbImport, fhir.VerbReindex, fhir.VerbParamStatus, fhir.VerbParamSwitch:
		return fault.At(fault.Invalid, "not-supported", "", "this interaction is not possible inside a Bundle")
	}
	if in.Verb == fhir.VerbSearch && in.Method == http.MethodPost {
		return fault.At(fault.Invalid, "not-supported", "", "inside a Bundle a search is a GET")
	}
	if err := setQuery(in, query); err != nil {
		return err
	}
	if err := checkConditions(in); err != nil {
		return err
	}
	if err := setControls(in); err != nil {
		return err
	}
	return new(view).set(in) // before anything is written: afterwards it is too late to refuse
}

func before(s, sep string) string {
	b, _, _ := strings.Cut(s, sep)
	return b
}

// checkEntryBody refuses a write without a resource, before the service does,
// with the place in the Bundle. Whether the resource is right is for the service.
func checkEntryBody(n resource.Node, in *fhir.Interaction) error {
	switch in.Verb {
	case fhir.VerbCreate, fhir.VerbUpdate, fhir.VerbPatch:
		if in.Body.Kind() != resource.Object {
			return fault.At(fault.Invalid, "required", n.Path()+".resource", "%s %s needs a resource", in.Method, in.Type)
		}
	}
	return nil
}
