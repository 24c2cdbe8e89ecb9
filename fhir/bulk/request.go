package bulk

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/search"
)

// ExportRequest is a kick-off request (Bulk Data Access 2.0, "Bulk Data Kick-off Request").
type ExportRequest struct {
	Type      string // "" for the whole service, Patient, or Group with ID
	ID        string
	Params    url.Values
	URL       string // as the client sent it, for the manifest
	Base      string // base URL of the service, without a slash at its end
	Requester string
	Lenient   bool // Prefer: handling=lenient: what is not understood becomes an issue of the manifest
}

// definition is what the job of an export has to do.
type definition struct {
	Level     string              `json:"level"` // system, patient or group
	Group     string              `json:"group,omitempty"`
	Request   string              `json:"request"`
	Base      string              `json:"base"`
	Types     []string            `json:"types,omitempty"` // empty: all
	Filters   map[string][]string `json:"filters,omitempty"`
	Elements  []string            `json:"elements,omitempty"`
	Since     *time.Time          `json:"since,omitempty"`
	Till      *time.Time          `json:"till,omitempty"`
	History   bool                `json:"history,omitempty"`
	Deleted   bool                `json:"deleted,omitempty"`
	Container string              `json:"container"`
	Pattern   string              `json:"pattern"`
	Count     int                 `json:"count,omitempty"` // _maxCount
	Serial    bool                `json:"serial,omitempty"`
	Asked     time.Time           `json:"asked"`
	Issues    []string            `json:"issues,omitempty"`
}

// parse turns the parameters of a request into a definition. The types that are
// allowed limit it; nil allows all.
func (s *Service) parse(ctx context.Context, req *ExportRequest, allowed []string) (*definition, error) {
	d := &definition{
		Level: "system", Request: req.URL, Base: req.Base, Container: defaultContainer, Pattern: defaultPattern,
		Asked: s.d.Now().UTC().Truncate(time.Millisecond),
	}
	switch req.Type {
	case "Patient":
		d.Level = "patient"
	case "Group":
		d.Level, d.Group = "group", req.ID
	}
	names := make([]string, 0, len(req.Params))
	for name := range req.Params {
		names = append(names, name)
	}
	slices.Sort(names) // _type stands before _typeFilter
	for _, name := range names {
		if err := s.parameter(ctx, d, req, name, req.Params[name]); err != nil {
			return nil, err
		}
	}
	if d.Since != nil && d.Till != nil && !d.Since.Before(*d.Till) {
		return nil, bad("_till must be later than _since")
	}
	if err := d.permit(allowed); err != nil {
		return nil, err
	}
	return d, d.limitTypes()
}

// permit keeps an export to what the scopes of a token allow: it is refused when
// it names other types or needs them to find its patients, and is about the
// allowed ones when it names none, as in Azure Health Data Services.
func (d *definition) permit(allowed []string) error {
	if allowed == nil {
		return nil
	}
	need := d.Types
	switch d.Level {
	case "group":
		need = append([]string{"Group", "Patient"}, need...)
	case "patient":
		need = append([]string{"Patient"}, need...)
	}
	if typ := missing(need, allowed); typ != "" {
		return fault.At(fault.Forbidden, "forbidden", "", "no scope of the token permits to export %s", typ)
	}
	if d.Types == nil {
		in := r4.ResourceTypes()
		if d.Level != "system" {
			in = compartmentTypes()
		}
		d.Types = slices.DeleteFunc(slices.Clone(allowed), func(t string) bool { return !slices.Contains(in, t) })
		if len(d.Types) == 0 { // a scope may name what R4 does not know
			return fault.At(fault.Forbidden, "forbidden", "", "no scope of the token permits to export a type that there is")
		}
		d.Issues = append(d.Issues, "only the types that the scopes of the token permit are exported: "+strings.Join(d.Types, ", "))
	}
	return nil
}

// missing returns the first of need that is not in have, "" if there is none.
func missing(need, have []string) string {
	for _, typ := range need {
		if !slices.Contains(have, typ) {
			return typ
		}
	}
	return ""
}

func bad(format string, args ...any) error {
	return fault.At(fault.Invalid, "value", "", format, args...)
}

// tolerate refuses something, or notes it when the client is lenient.
func (d *definition) tolerate(req *ExportRequest, err error) error {
	if !req.Lenient {
		return err
	}
	d.Issues = append(d.Issues, fault.From(err).Msg)
	return nil
}

func (s *Service) parameter(ctx context.Context, d *definition, req *ExportRequest, name string, values []string) error {
	switch name {
	case "_type":
		return d.setTypes(req, values)
	case "_typeFilter":
		return s.setFilters(ctx, d, req, values)
	case "_elements":
		return d.setElements(req, values)
	case "includeAssociatedData":
		return d.setAssociated(req, values)
	}
	if len(values) != 1 {
		return bad("%s may be given once only", name)
	}
	v := values[0]
	var err error
	switch name {
	case "_since":
		d.Since, err = instant(name, v)
	case "_till":
		if d.Till, err = instant(name, v); err == nil && d.Till.After(s.d.Now()) {
			err = bad("_till lies in the future")
		}
	case "_outputFormat":
		err = checkFormat(v)
	case "_container":
		d.Container = v
		if !containerName.MatchString(v) {
			err = bad("_container must be 3 to 63 lower-case letters, digits and hyphens")
		}
	case "_format":
		d.Pattern, err = pattern(v)
	case "_maxCount":
		if d.Count, err = strconv.Atoi(v); err != nil || d.Count < 1 {
			err = bad("_maxCount must be a number above zero")
		}
	case "_isParallel":
		parallel, e := strconv.ParseBool(v)
		if d.Serial = !parallel; e != nil {
			err = bad("_isParallel must be true or false")
		}
	default:
		return d.tolerate(req, fault.At(fault.Invalid, "not-supported", "", "$export has no parameter %.64q here", name))
	}
	return err
}

func instant(name, v string) (*time.Time, error) {
	// A plus sign of an offset that was not escaped arrives as a blank.
	v = strings.Replace(v, " ", "+", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, v); err == nil {
			t = t.UTC()
			return &t, nil
		}
	}
	return nil, bad("%s must be an instant such as 2026-01-31T12:00:00Z", name)
}

func checkFormat(v string) error {
	switch strings.ReplaceAll(strings.ToLower(v), " ", "+") {
	case "application/fhir+ndjson", "application/ndjson", "ndjson":
		return nil
	}
	return bad("_outputFormat must be application/fhir+ndjson")
}

// list splits repeated parameters with commas.
func list(values []string) []string {
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" && !slices.Contains(out, part) {
				out = append(out, part)
			}
		}
	}
	return out
}

func (d *definition) setTypes(req *ExportRequest, values []string) error {
	for _, t := range list(values) {
		if !r4.IsResource(t) {
			if err := d.tolerate(req, bad("_type: R4 has no resource type %.64q", t)); err != nil {
				return err
			}
			continue
		}
		d.Types = append(d.Types, t)
	}
	if len(d.Types) == 0 {
		return bad("_type names no resource type")
	}
	return nil
}

// limitTypes keeps a Patient or Group export to the Patient compartment.
func (d *definition) limitTypes() error {
	if d.Level == "system" {
		return nil
	}
	in := compartmentTypes()
	if d.Types == nil {
		d.Types = in
		return nil
	}
	var out []string
	for _, t := range d.Types {
		if slices.Contains(in, t) {
			out = append(out, t)
		} else {
			d.Issues = append(d.Issues, t+" is not in the Patient compartment, so this export has none")
		}
	}
	if out == nil {
		return bad("_type names no type of the Patient compartment")
	}
	d.Types = out
	return nil
}

// compartmentTypes are Patient and the types that can belong to one, sorted.
func compartmentTypes() []string {
	var out []string
	for _, t := range r4.ResourceTypes() {
		if c := r4.Compartment("Patient"); t == "Patient" || len(c.Resources[t]) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// filterStart finds where a list of filters may be cut: at a comma in front of Type?.
var filterStart = regexp.MustCompile(`,\s*[A-Z][A-Za-z]+\?`)

func splitFilters(v string) []string {
	var out []string
	for {
		at := filterStart.FindStringIndex(v)
		if at == nil {
			return append(out, v)
		}
		out, v = append(out, v[:at[0]]), strings.TrimSpace(v[at[0]+1:])
	}
}

func (s *Service) setFilters(ctx context.Context, d *definition, req *ExportRequest, values []string) error {
	d.Filters = map[string][]string{}
	if d.Types == nil {
		return bad("_typeFilter needs _type")
	}
	for _, v := range values {
		for _, f := range splitFilters(v) {
			typ, query, ok := strings.Cut(f, "?")
			if !ok || !r4.IsResource(typ) {
				return bad("_typeFilter must be Type?criteria, not %.64q", f)
			}
			if !slices.Contains(d.Types, typ) {
				if err := d.tolerate(req, bad("_typeFilter is about %s, which _type does not name", typ)); err != nil {
					return err
				}
				continue
			}
			if _, err := s.criteria(ctx, typ, query, d.Base, d.Asked); err != nil {
				if err := d.tolerate(req, err); err != nil {
					return err
				}
				continue
			}
			d.Filters[typ] = append(d.Filters[typ], query)
		}
	}
	return nil
}

// resultParameters say how the result of a search looks, which has no meaning for an export.
var resultParameters = []string{
	"_sort", "_include", "_revinclude", "_includesCount", "includesCt", "ct", "_count", "_total", "_summary", "_elements", "_format", "_pretty", "_explain",
}

// criteria parses one filter. Only what the resource itself can answer is possible.
func (s *Service) criteria(ctx context.Context, typ, query, base string, asked time.Time) (*search.Query, error) {
	params, err := search.ParseQuery(query)
	if err != nil {
		return nil, bad("_typeFilter: the criteria of %s are not percent-encoded properly", typ)
	}
	q, err := s.d.FHIR.Criteria(ctx, &fhir.Interaction{Type: typ, Params: params, RawQuery: query, Strict: true, Base: base}, asked)
	if err != nil {
		e := *fault.From(err)
		e.Msg = "_typeFilter: " + e.Msg
		e.Issues = nil
		return nil, &e
	}
	for name := range params {
		if bare, _, _ := strings.Cut(name, ":"); slices.Contains(resultParameters, bare) {
			return nil, bad("_typeFilter: %s has no meaning here", name)
		}
	}
	for _, c := range q.Where {
		if c.Follows() {
			return nil, fault.At(fault.Invalid, "not-supported", "", "_typeFilter: %s follows references to other resources, which an export cannot", c.Name)
		}
	}
	return q, nil
}

func (d *definition) setElements(req *ExportRequest, values []string) error {
	for _, e := range list(values) {
		typ, name, ok := strings.Cut(e, ".")
		if !ok {
			typ, name = "", e
		}
		if ok && typ == "" || !r4.HasElement(typ, name) {
			if err := d.tolerate(req, bad("_elements: there is no element %.64q; write name or Patient.name", e)); err != nil {
				return err
			}
			continue
		}
		d.Elements = append(d.Elements, e)
	}
	return nil
}

// elementsOf returns the names of _elements that concern a type. A type that
// none is about is written whole, and nil.
func (d *definition) elementsOf(typ string) (out []string) {
	for _, e := range d.Elements {
		t, name, ok := strings.Cut(e, ".")
		if !ok {
			out = append(out, e)
		} else if t == typ {
			out = append(out, name)
		}
	}
	return out
}

func (d *definition) setAssociated(req *ExportRequest, values []string) error {
	for _, v := range list(values) {
		switch v {
		case "_history":
			d.History = true
		case "_deleted":
			d.Deleted = true
		default:
			if err := d.tolerate(req, bad("includeAssociatedData must be _history or _deleted, not %.64q", v)); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	containerName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)
	patternPart   = regexp.MustCompile(`<[^<>]*>`)
	patternText   = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
)

const (
	// defaultContainer is no name that _container can have.
	defaultContainer = "_"
	defaultPattern   = "<id>/<resourcename>"
)

// pattern checks _format, the names of the files: <timestamp>, <id> and
// <resourcename> are filled in.
func pattern(v string) (string, error) {
	for _, p := range patternPart.FindAllString(v, -1) {
		if p != "<timestamp>" && p != "<id>" && p != "<resourcename>" {
			return "", bad("_format knows <timestamp>, <id> and <resourcename>, not %.64q", p)
		}
	}
	if len(v) > 200 || !patternText.MatchString(patternPart.ReplaceAllString(v, "x")) {
		return "", bad("_format must be a file name pattern such as <timestamp>-<id>/<resourcename>")
	}
	if !strings.Contains(v, "<id>") {
		v = "<id>-" + v // so that no export writes over another
	}
	return v, nil
}
