package fhirhttp

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// capabilities holds the CapabilityStatements, made when they are first asked
// for. The only part that depends on a request is the base URL between head and tail.
type capabilities struct {
	full, normative statement
}

type statement struct {
	mu   sync.Mutex
	made bool
	of   int64 // the generation of the search parameters in it
	text statementText
}

// statementText is a CapabilityStatement without what depends on the request:
// the base URL stands behind head, the security behind tail.
type statementText struct{ head, tail, rest []byte }

// statement makes a CapabilityStatement, or returns the one that is still true.
func (h *handler) statement(st *statement, types []string) statementText {
	st.mu.Lock()
	defer st.mu.Unlock()
	if now := h.opt.Search.Generation(); !st.made || st.of != now {
		st.text = h.buildStatement(types)
		st.made, st.of = true, now
	}
	return st.text
}

// normative are the resource types with normative content in R4, what
// mode=normative shows.
var normative = []string{
	"Binary", "Bundle", "CapabilityStatement", "CodeSystem", "Observation", "OperationDefinition",
	"OperationOutcome", "Parameters", "Patient", "StructureDefinition", "ValueSet",
}

// capabilities answers GET [base]/metadata (R4 section 3.1.0.9).
func (x *exchange) capabilities() error {
	st, types := &x.h.caps.full, r4.ResourceTypes()
	switch mode := x.in.Params.Get("mode"); mode {
	case "", "full":
	case "normative":
		st, types = &x.h.caps.normative, normative
	case "terminology":
		return fault.New(fault.NotImplemented, "this service has no TerminologyCapabilities")
	default:
		return fault.At(fault.Invalid, "value", "", "mode must be full, normative or terminology, not %q", printable(mode))
	}
	if err := checkElements("CapabilityStatement", x.view.elements); err != nil {
		return err
	}
	text := x.h.statement(st, types)
	x.out = append(x.out[:0], text.head...)
	x.out = append(x.out, x.baseJSON()...)
	x.out = append(x.out, text.tail...)
	if f := x.h.opt.OAuth; f != nil {
		x.out = appendSecurity(x.out, f(x.r))
	}
	x.out = append(x.out, text.rest...)
	if !x.view.whole() {
		x.tmp, x.out = x.out, x.tmp
		if err := x.extra.Parse(x.tmp, resource.Options{}); err != nil {
			return fault.Wrap("fhirhttp: capability statement", err)
		}
		x.out = appendSubset(x.out[:0], x.extra.Root(), &x.view)
	}
	x.sendJSON(http.StatusOK, x.out)
	return nil
}

// buildStatement describes the service as it is.
func (h *handler) buildStatement(types []string) (st statementText) {
	name, version := h.opt.Name, h.opt.Version
	if name == "" {
		name = "Hygeia"
	}
	if version == "" {
		version = "development"
	}
	b := []byte(`{"resourceType":"CapabilityStatement","status":"active","date":`)
	b = appendInstant(b, h.started)
	b = append(b, `,"kind":"instance"`...)
	if h.opt.Bulk != nil { // Bulk Data Access 2.0, "Server Capability Documentation"
		b = append(b, `,"instantiates":["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"]`...)
	}
	b = append(b, `,"software":{"name":`...)
	b = resource.AppendString(b, name)
	b = append(b, `,"version":`...)
	b = resource.AppendString(b, version)
	b = append(b, `},"implementation":{"description":"FHIR R4 service","url":"`...)
	st.head = b
	b = []byte(`"},"fhirVersion":"4.0.1","format":["json","xml","application/fhir+json","application/fhir+xml","application/json","application/xml"],"patchFormat":["application/json-patch+json","application/fhir+json","application/fhir+xml"],"rest":[{"mode":"server"`)
	st.tail = b
	b = []byte(`,"resource":[`)
	for i, t := range types {
		if i > 0 {
			b = append(b, ',')
		}
		b = h.appendType(b, t)
	}
	b = append(b, `],"interaction":[{"code":"transaction"},{"code":"batch"},{"code":"search-system"},{"code":"history-system"}]`...)
	b = appendParams(append(b, `,"searchParam":[`...), nil)
	b = append(b, ']')
	b = appendOperations(b, func(op *operation) bool { return op.system && h.offers(op) })
	b = append(b, `,"compartment":[`...)
	for i, c := range r4.Compartments() {
		if i > 0 {
			b = append(b, ',')
		}
		b = resource.AppendString(b, "http://hl7.org/fhir/CompartmentDefinition/"+strings.ToLower(c))
	}
	st.rest = append(b, "]}]}"...)
	return st
}

// OAuth are the endpoints by which a client gets a token.
type OAuth struct{ Authorize, Token, Introspect, Revoke string }

// appendSecurity appends CapabilityStatement.rest.security, with the extension
// of SMART App Launch 1.0 for clients that do not know smart-configuration.
func appendSecurity(b []byte, o OAuth) []byte {
	b = append(b, `,"security":{"extension":[{"url":"http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris","extension":[`...)
	sep := ""
	for _, e := range []struct{ name, uri string }{{"authorize", o.Authorize}, {"token", o.Token}, {"introspect", o.Introspect}, {"revoke", o.Revoke}} {
		if e.uri == "" {
			continue
		}
		b = append(append(append(b, sep...), `{"url":"`...), e.name...)
		b = append(b, `","valueUri":`...)
		b = append(resource.AppendString(b, e.uri), '}')
		sep = ","
	}
	return append(b, `]}],"service":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/restful-security-service","code":"SMART-on-FHIR"}]}],"description":"OAuth 2.0 bearer tokens; see .well-known/smart-configuration"}`...)
}

// appendType appends CapabilityStatement.rest.resource for one type.
func (h *handler) appendType(b []byte, typ string) []byte {
	versioning := "versioned"
	if h.opt.Versioning != nil {
		versioning = h.opt.Versioning(typ)
	}
	b = append(b, `{"type":`...)
	b = resource.AppendString(b, typ)
	b = append(b, `,"profile":`...)
	b = resource.AppendString(b, "http://hl7.org/fhir/StructureDefinition/"+typ)
	b = append(b, `,"interaction":[`...)
	for i, code := range typeInteractions() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"code":"`...), code...), `"}`...)
	}
	b = append(b, `],"versioning":`...)
	b = resource.AppendString(b, versioning)
	b = append(b, `,"readHistory":`...)
	b = strconv.AppendBool(b, versioning != "no-version")
	b = append(b, `,"updateCreate":true,"conditionalCreate":true,"conditionalRead":"full-support","conditionalUpdate":true,"conditionalDelete":"multiple","referencePolicy":["literal","local"],"searchParam":[`...)
	b = appendParams(b, offered(h.opt.Search, typ))
	b = append(b, ']')
	b = appendNames(append(b, `,"searchInclude":`...), includes(h.opt.Search, typ))
	b = appendNames(append(b, `,"searchRevInclude":`...), h.revIncludes(typ))
	b = appendOperations(b, func(op *operation) bool { return (op.on(typ) || op.typ == typ) && h.offers(op) })
	return append(b, '}')
}

// typeInteractions derives the codes of http://hl7.org/fhir/type-restful-interaction
// from the tables that route requests.
func typeInteractions() []string {
	var codes []string
	add := func(verb fhir.Verb, code string, list []route) {
		if slices.ContainsFunc(list, func(r route) bool { return r.verb == verb }) {
			codes = append(codes, code)
		}
	}
	add(fhir.VerbRead, "read", routes[atInstance])
	add(fhir.VerbVRead, "vread", routes[atVersion])
	add(fhir.VerbUpdate, "update", routes[atInstance])
	add(fhir.VerbPatch, "patch", routes[atInstance])
	add(fhir.VerbDelete, "delete", routes[atInstance])
	add(fhir.VerbHistory, "history-instance", routes[atInstanceHistory])
	add(fhir.VerbHistory, "history-type", routes[atTypeHistory])
	add(fhir.VerbCreate, "create", routes[atType])
	add(fhir.VerbSearch, "search-type", routes[atType])
	return codes
}

// appendParams appends the parameters that have an index, and the two that need none.
func appendParams(b []byte, params []*search.Param) []byte {
	b = append(b, `{"name":"_id","definition":"http://hl7.org/fhir/SearchParameter/Resource-id","type":"token"},`...)
	b = append(b, `{"name":"_lastUpdated","definition":"http://hl7.org/fhir/SearchParameter/Resource-lastUpdated","type":"date"}`...)
	for _, p := range params {
		if p.Code == "_id" || p.Code == "_lastUpdated" {
			continue
		}
		b = append(b, `,{"name":`...)
		b = resource.AppendString(b, p.Code)
		if p.URL != "" {
			b = append(b, `,"definition":`...)
			b = resource.AppendString(b, p.URL)
		}
		b = append(append(append(b, `,"type":"`...), p.Kind.Code()...), `"}`...)
	}
	return b
}

// offers reports whether this service has an operation.
func (h *handler) offers(op *operation) bool { return !op.bulk || h.opt.Bulk != nil }

// appendOperations appends the member operation, if there is any.
func appendOperations(b []byte, want func(*operation) bool) []byte {
	first := true
	for i := range operations {
		op := &operations[i]
		if !want(op) {
			continue
		}
		if first {
			b = append(b, `,"operation":[`...)
		} else {
			b = append(b, ',')
		}
		first = false
		b = append(b, `{"name":`...)
		b = resource.AppendString(b, op.name)
		b = append(b, `,"definition":`...)
		b = resource.AppendString(b, op.definition)
		b = append(b, `,"documentation":`...)
		b = resource.AppendString(b, op.about)
		b = append(b, '}')
	}
	if !first {
		b = append(b, ']')
	}
	return b
}

// versions answers $versions (R4 operation CapabilityStatement-versions): as
// Parameters for FHIR clients, as plain JSON for all others.
func (x *exchange) versions() error {
	x.out = append(x.out[:0], `{"versions":["4.0"],"default":"4.0"}`...)
	if accept := x.r.Header.Get("Accept") + x.in.Params.Get("_format"); strings.Contains(accept, "fhir") || x.format.xml {
		x.out = append(x.out[:0], `{"resourceType":"Parameters","parameter":[{"name":"version","valueCode":"4.0"},{"name":"default","valueCode":"4.0"}]}`...)
	} else {
		x.format.set(typeJSON)
	}
	x.sendJSON(http.StatusOK, x.out)
	return nil
}
