package fhirhttp

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// place says what a path names.
type place uint8

// The places. Each has its methods in the table routes.
const (
	atSystem place = iota
	atMetadata
	atSystemSearch
	atSystemHistory
	atType
	atTypeSearch
	atTypeHistory
	atInstance
	atInstanceHistory
	atVersion
	atCompartment
	atCompartmentSearch
	atIncludes
	atOperation
	atExport
	atExportFile
	atReindex
	atImport
	atImportFile
	atStatusSearch
)

// route is one method at a place.
type route struct {
	method      string
	verb        fhir.Verb
	conditional bool
	starts      bool // a GET that begins something, so HEAD is not offered
}

// routes holds the interactions of every place but the operations, which have
// their own table. GET stands for HEAD too, unless it starts something.
var routes = [...][]route{
	atSystem:            {{method: http.MethodGet, verb: fhir.VerbSearch}, {method: http.MethodPost, verb: fhir.VerbBundle}},
	atMetadata:          {{method: http.MethodGet, verb: fhir.VerbCapabilities}},
	atSystemSearch:      {{method: http.MethodGet, verb: fhir.VerbSearch}, {method: http.MethodPost, verb: fhir.VerbSearch}},
	atSystemHistory:     {{method: http.MethodGet, verb: fhir.VerbHistory}},
	atType:              typeRoutes,
	atTypeSearch:        {{method: http.MethodGet, verb: fhir.VerbSearch}, {method: http.MethodPost, verb: fhir.VerbSearch}},
	atTypeHistory:       {{method: http.MethodGet, verb: fhir.VerbHistory}},
	atInstance:          instanceRoutes,
	atInstanceHistory:   {{method: http.MethodGet, verb: fhir.VerbHistory}},
	atVersion:           {{method: http.MethodGet, verb: fhir.VerbVRead}},
	atCompartment:       {{method: http.MethodGet, verb: fhir.VerbSearch}},
	atCompartmentSearch: {{method: http.MethodGet, verb: fhir.VerbSearch}, {method: http.MethodPost, verb: fhir.VerbSearch}},
	atIncludes:          {{method: http.MethodGet, verb: fhir.VerbSearch}},
	atExport:            {{method: http.MethodGet, verb: fhir.VerbExport}, {method: http.MethodDelete, verb: fhir.VerbExport}},
	atExportFile:        {{method: http.MethodGet, verb: fhir.VerbExport}},
	atReindex:           {{method: http.MethodGet, verb: fhir.VerbReindex}, {method: http.MethodDelete, verb: fhir.VerbReindex}},
	atImport:            {{method: http.MethodGet, verb: fhir.VerbImport}, {method: http.MethodDelete, verb: fhir.VerbImport}},
	atImportFile:        {{method: http.MethodGet, verb: fhir.VerbImport}},
	atStatusSearch:      {{method: http.MethodPost, verb: fhir.VerbParamStatus}},
}

var typeRoutes = []route{
	{method: http.MethodGet, verb: fhir.VerbSearch},
	{method: http.MethodPost, verb: fhir.VerbCreate},
	{method: http.MethodPut, verb: fhir.VerbUpdate, conditional: true},
	{method: http.MethodPatch, verb: fhir.VerbPatch, conditional: true},
	{method: http.MethodDelete, verb: fhir.VerbDelete, conditional: true},
}

var instanceRoutes = []route{
	{method: http.MethodGet, verb: fhir.VerbRead},
	{method: http.MethodPut, verb: fhir.VerbUpdate},
	{method: http.MethodPatch, verb: fhir.VerbPatch},
	{method: http.MethodDelete, verb: fhir.VerbDelete},
}

// operation is one operation that is offered. Anything else that begins with a
// dollar sign is unknown.
type operation struct {
	name       string
	system     bool   // [base]/$name
	typ        string // [base]/T/$name for this T
	instance   bool   // [base]/T/id/$name
	only       string // with instance: for this T alone
	bulk       bool   // offered where Options.Bulk is
	routes     []route
	definition string // canonical URL for the CapabilityStatement
	about      string
}

var operations = []operation{
	{
		name: "purge-history", instance: true,
		routes:     []route{{method: http.MethodDelete, verb: fhir.VerbPurgeHistory}},
		definition: "https://github.com/hygeia-health/hygeia/fhir/OperationDefinition/purge-history",
		about:      "DELETE T/id/$purge-history removes all versions but the current one.",
	},
	{
		name: "versions", system: true,
		routes:     []route{{method: http.MethodGet, verb: fhir.VerbVersions}},
		definition: "http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions",
		about:      "The FHIR versions of this service.",
	},
	{
		name: "reindex", system: true, bulk: true,
		routes:     []route{{method: http.MethodPost, verb: fhir.VerbReindex}},
		definition: "https://github.com/hygeia-health/hygeia/fhir/OperationDefinition/reindex",
		about:      "POST makes custom search parameters complete: a job.",
	},
	{
		name: "reindex", instance: true,
		routes:     []route{{method: http.MethodGet, verb: fhir.VerbReindex}, {method: http.MethodPost, verb: fhir.VerbReindex}},
		definition: "https://github.com/hygeia-health/hygeia/fhir/OperationDefinition/resource-reindex",
		about:      "GET shows the index entries that the search parameters find in the resource; POST also writes them.",
	},
	{
		name: "status", typ: "SearchParameter",
		routes:     []route{{method: http.MethodGet, verb: fhir.VerbParamStatus}, {method: http.MethodPut, verb: fhir.VerbParamSwitch}},
		definition: "https://github.com/hygeia-health/hygeia/fhir/OperationDefinition/SearchParameter-status",
		about:      "Which search parameters can be used: Enabled, Supported until a reindex has run, or Disabled. PUT changes it.",
	},
	{
		name: "export", system: true, bulk: true, routes: exportRoute,
		definition: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
		about:      "GET with Prefer: respond-async writes everything into NDJSON files.",
	},
	{
		name: "export", typ: "Patient", bulk: true, routes: exportRoute,
		definition: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export",
		about:      "The same for the compartments of all patients.",
	},
	{
		name: "export", instance: true, only: "Group", bulk: true, routes: exportRoute,
		definition: "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export",
		about:      "The same for the compartments of the members of a Group.",
	},
	{
		name: "import", system: true, bulk: true, routes: []route{{method: http.MethodPost, verb: fhir.VerbImport}},
		definition: "https://github.com/hygeia-health/hygeia/fhir/OperationDefinition/import",
		about:      "POST of Parameters with Prefer: respond-async reads NDJSON files, as in Azure Health Data Services.",
	},
}

var exportRoute = []route{{method: http.MethodGet, verb: fhir.VerbExport, starts: true}}

// on reports whether the operation is offered for instances of a type.
func (op *operation) on(typ string) bool { return op.instance && (op.only == "" || op.only == typ) }

// target is a parsed path below the base of the service.
type target struct {
	place       place
	typ         string
	id          string
	version     string
	compartment string
	op          *operation
	job, file   string // of an asynchronous operation
}

// maxSegments is one more than the longest path that means something.
const maxSegments = 6

// parse reads a path such as "Patient/1/_history". The path is still
// percent-encoded, so that an encoded slash cannot make a segment.
func (t *target) parse(path string) error {
	*t = target{}
	var buf [maxSegments]string
	seg, err := split(path, &buf)
	if err != nil {
		return err
	}
	switch {
	case len(seg) == 0:
		return nil
	case len(seg) == 1 && seg[0] == "metadata":
		t.place = atMetadata
		return nil
	case len(seg) == 1 && seg[0] == "_history":
		t.place = atSystemHistory
		return nil
	case len(seg) == 1 && seg[0] == "_search":
		t.place = atSystemSearch
		return nil
	case len(seg) == 1 && seg[0][0] == '$':
		return t.setOperation(seg[0][1:])
	case seg[0] == "_operations":
		return t.parseJob(seg[1:])
	}
	if !r4.IsResource(seg[0]) {
		return unknownType(seg[0], len(seg) == 1)
	}
	t.typ = seg[0]
	return t.parseType(seg[1:])
}

// parseJob reads what follows _operations: the status of an asynchronous
// operation, and its files.
func (t *target) parseJob(seg []string) error {
	switch {
	case len(seg) == 2 && seg[0] == "export":
		t.place, t.job = atExport, seg[1]
	case len(seg) == 3 && seg[0] == "export":
		t.place, t.job, t.file = atExportFile, seg[1], seg[2]
	case len(seg) == 2 && seg[0] == "reindex":
		t.place, t.job = atReindex, seg[1]
	case len(seg) == 2 && seg[0] == "import":
		t.place, t.job = atImport, seg[1]
	case len(seg) == 3 && seg[0] == "import":
		t.place, t.job, t.file = atImportFile, seg[1], seg[2]
	default:
		return unknownRoute()
	}
	return nil
}

// parseType reads what follows the resource type.
func (t *target) parseType(seg []string) error {
	switch {
	case len(seg) == 0:
		t.place = atType
		return nil
	case len(seg) == 1 && seg[0] == "_search":
		t.place = atTypeSearch
		return nil
	case len(seg) == 1 && seg[0] == "_history":
		t.place = atTypeHistory
		return nil
	case len(seg) == 1 && seg[0][0] == '$':
		return t.setOperation(seg[0][1:])
	case len(seg) == 2 && t.typ == "SearchParameter" && seg[0] == "$status" && seg[1] == "_search":
		t.place = atStatusSearch
		return nil
	}
	if !fhir.ValidID(seg[0]) {
		return fault.New(fault.Invalid, "the id in the URL is not a FHIR id: 1 to 64 of A-Z a-z 0-9 - .")
	}
	t.id = seg[0]
	return t.parseInstance(seg[1:])
}

// parseInstance reads what follows Type/id.
func (t *target) parseInstance(seg []string) error {
	switch {
	case len(seg) == 0:
		t.place = atInstance
		return nil
	case seg[0] == "_history" && len(seg) == 1:
		t.place = atInstanceHistory
		return nil
	case seg[0] == "_history" && len(seg) == 2:
		if !fhir.ValidID(seg[1]) {
			return fault.New(fault.Invalid, "the version in the URL is not a FHIR id")
		}
		t.place, t.version = atVersion, seg[1]
		return nil
	case seg[0][0] == '$' && len(seg) == 1:
		return t.setOperation(seg[0][1:])
	case seg[0] != "*" && !r4.IsResource(seg[0]):
		return unknownRoute()
	case r4.Compartment(t.typ) == nil:
		return fault.New(fault.NotFound, "%s has no compartment", t.typ)
	}
	t.compartment = seg[0]
	switch {
	case len(seg) == 1:
		t.place = atCompartment
	case len(seg) == 2 && seg[1] == "_search":
		t.place = atCompartmentSearch
	case len(seg) == 2 && seg[1] == "$"+fhir.OpIncludes:
		t.place = atIncludes
	default:
		return unknownRoute()
	}
	return nil
}

// setOperation finds an operation that is offered at this level.
func (t *target) setOperation(name string) error {
	if name == fhir.OpIncludes && (t.id == "" || t.compartment != "") {
		t.place = atIncludes
		return nil
	}
	for i := range operations {
		op := &operations[i]
		if op.name != name {
			continue
		}
		if op.system && t.typ == "" || op.typ != "" && op.typ == t.typ && t.id == "" || op.on(t.typ) && t.id != "" {
			t.place, t.op = atOperation, op
			return nil
		}
	}
	return fault.At(fault.NotFound, "not-supported", "", "this service has no operation $%s here", printable(name))
}

// routes returns the methods of the target.
func (t *target) routes() []route {
	if t.op != nil {
		return t.op.routes
	}
	return routes[t.place]
}

// interaction fills in with what method means at the target. A wrong method is
// NotAllowed.
func (t *target) interaction(method string, in *fhir.Interaction) error {
	asked := method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	in.Method, in.Type, in.ID, in.VersionID, in.Compartment = method, t.typ, t.id, t.version, t.compartment
	for _, r := range t.routes() {
		if r.method != method || r.starts && asked == http.MethodHead {
			continue
		}
		in.Verb, in.Conditional = r.verb, r.conditional
		switch {
		case t.op != nil:
			in.Operation = t.op.name
		case t.place == atIncludes:
			in.Operation = fhir.OpIncludes
		}
		return nil
	}
	return &methodError{allow: t.allow(), err: fault.New(fault.NotAllowed, "%s is not offered here, only %s", printable(asked), t.allow())}
}

// patterns names the places, for logs and metrics.
var patterns = [...]string{
	atSystem:            "/",
	atMetadata:          "/metadata",
	atSystemSearch:      "/_search",
	atSystemHistory:     "/_history",
	atType:              "/{type}",
	atTypeSearch:        "/{type}/_search",
	atTypeHistory:       "/{type}/_history",
	atInstance:          "/{type}/{id}",
	atInstanceHistory:   "/{type}/{id}/_history",
	atVersion:           "/{type}/{id}/_history/{vid}",
	atCompartment:       "/{type}/{id}/{compartment}",
	atCompartmentSearch: "/{type}/{id}/{compartment}/_search",
	atIncludes:          "/{type}/$includes",
	atExport:            "/_operations/export/{id}",
	atExportFile:        "/_operations/export/{id}/{file}",
	atReindex:           "/_operations/reindex/{id}",
	atImport:            "/_operations/import/{id}",
	atImportFile:        "/_operations/import/{id}/{file}",
	atStatusSearch:      "/SearchParameter/$status/_search",
}

// Routes lists every method of every path below the base, but those of Options.Handlers.
func Routes() []auth.Route {
	var out []auth.Route
	for at, list := range routes {
		for _, r := range list {
			out = append(out, auth.Route{Method: r.method, Path: patterns[at]})
		}
	}
	for _, op := range operations {
		path := "/"
		switch {
		case op.instance:
			path = "/" + cmp.Or(op.only, "{type}") + "/{id}/"
		case op.typ != "":
			path = "/" + op.typ + "/"
		}
		for _, r := range op.routes {
			out = append(out, auth.Route{Method: r.method, Path: path + "$" + op.name})
		}
	}
	return out
}

// pattern names a target without the values in it.
func (h *handler) pattern(t *target) string {
	switch {
	case t.op == nil:
		return h.patterns[t.place]
	case t.op.instance:
		return h.patterns[atInstance] + "/$" + t.op.name
	case t.op.typ != "":
		return h.patterns[atType] + "/$" + t.op.name
	}
	return h.patterns[atSystem] + "$" + t.op.name
}

// allow is the value of the Allow header.
func (t *target) allow() string {
	var b strings.Builder
	for _, r := range t.routes() {
		b.WriteString(r.method)
		b.WriteString(", ")
		if r.method == http.MethodGet && !r.starts {
			b.WriteString("HEAD, ")
		}
	}
	b.WriteString("OPTIONS")
	return b.String()
}

// methodError is a NotAllowed fault with the methods that are allowed
// (RFC 9110 section 15.5.6 requires the header).
type methodError struct {
	allow string
	err   *fault.Error
}

// Error implements error.
func (e *methodError) Error() string { return e.err.Error() }

// Unwrap returns the fault.
func (e *methodError) Unwrap() error { return e.err }

// split cuts a path into decoded segments. One slash at the end is forgiven.
func split(path string, buf *[maxSegments]string) ([]string, error) {
	path = strings.TrimPrefix(path, "/")
	path = strings.TrimSuffix(path, "/")
	seg := buf[:0]
	for path != "" {
		s, rest, more := strings.Cut(path, "/")
		if strings.IndexByte(s, '%') >= 0 {
			d, err := url.PathUnescape(s)
			if err != nil {
				return nil, fault.New(fault.Invalid, "the path is not percent-encoded properly")
			}
			s = d
		}
		if s == "" || more && rest == "" || len(seg) == maxSegments {
			return nil, unknownRoute()
		}
		seg = append(seg, s)
		path = rest
	}
	return seg, nil
}

// unknownType explains a first segment that is no resource type; names are
// case-sensitive, so a name that is only miscased gets the right spelling.
func unknownType(name string, single bool) error {
	for _, t := range r4.ResourceTypes() {
		if strings.EqualFold(t, name) {
			return fault.At(fault.NotFound, "not-supported", "", "resource types are case-sensitive: %s", t)
		}
	}
	if single || name[0] >= 'A' && name[0] <= 'Z' {
		return fault.At(fault.NotFound, "not-supported", "", "R4 has no resource type %q", printable(name))
	}
	return unknownRoute()
}

// unknownRoute is the answer to a path that means nothing.
func unknownRoute() error {
	return fault.At(fault.NotFound, "not-found", "", "there is nothing at this URL")
}

// printable keeps a piece of a request short and harmless enough for a message.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd || r == '<' || r == '>' {
			return '?'
		}
		return r
	}, s)
}
