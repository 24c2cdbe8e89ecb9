package manage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// Kind says what a service does.
type Kind string

// The kinds.
const (
	KindFHIR    Kind = "fhir"
	KindDICOM   Kind = "dicom"
	KindMedTech Kind = "medtech"
)

// Ref names a service.
type Ref struct {
	Workspace string
	Service   string
}

// String returns "workspace/service".
func (r Ref) String() string { return r.Workspace + "/" + r.Service }

// State says where in its life a service is.
type State string

// The states.
const (
	StateRunning  State = "running"
	StateDeleting State = "deleting" // its files are being removed; it answers no more
)

// Spec is what a client decides about a service. A field is all that there is to
// say of a setting: json is its name in the API, yaml its key in the configuration
// with what docs/config.md says about it, and kinds are the kinds of services that
// have it, all without.
type Spec struct {
	Kind       Kind              `json:"kind,omitempty" yaml:"kind" doc:"fhir, dicom or medtech."`
	Compat     string            `json:"compat,omitempty" yaml:"compat,omitempty" kinds:"fhir,medtech" doc:"Empty: the semantics of FHIR R4. ahds: with the documented deviations of Azure Health Data Services. For kind medtech ms: mappings exactly as there."`
	Narrative  string            `json:"narrative,omitempty" yaml:"narrative,omitempty" kinds:"fhir" doc:"Empty: a narrative is stored as it comes. safe: one with scripts, forms, event handlers or links to anything but pages is refused with 400."`
	Versioning map[string]string `json:"versioning,omitempty" yaml:"versioning,omitempty" kinds:"fhir" doc:"Policy of the versions by resource type, with default for the types that are not named: versioned keeps every version, versioned-update also demands If-Match of an update, no-version keeps the current version only. Absent: versioned."`
	Gateway    *Gateway          `json:"gateway,omitempty" yaml:"gateway,omitempty" doc:"What stands before the service: allow_from (list of addresses and networks), requests_per_second, concurrent, client_requests_per_second, client_concurrent, and cors {origins, methods, headers, max_age in seconds, allow_credentials} in place of the section cors."`
	Authority  string            `json:"authority,omitempty" yaml:"authority,omitempty" doc:"Only for other issuers than the built-in one: the URL of the OpenID provider whose tokens count besides."`
	Audience   string            `json:"audience,omitempty" yaml:"audience,omitempty" doc:"Needed with authority: the audience that its tokens must have."`
	Tags       map[string]string `json:"tags,omitempty" yaml:"tags,omitempty" doc:"Names and values of your own. When absent, those that were set through the API stay."`

	MedTechSpec `yaml:",inline" kinds:"medtech"`

	Partitions   bool          `json:"partitions,omitempty" yaml:"partitions,omitempty" kinds:"dicom" doc:"Only for kind dicom: data partitions, each with its own studies. It is decided when the service is created."`
	ImagingStudy *ImagingStudy `json:"imagingStudy,omitempty" yaml:"imaging_study,omitempty" kinds:"dicom" doc:"Only for kind dicom: keeps an ImagingStudy for each study in a FHIR service of the workspace: destination (the name of that service), patients (reference, the default: link the Patients that are there; create: make those that are missing), patient_system (the system of Patient IDs without an issuer), issuers (a map from Issuer of Patient ID to a system) and address (the URL by which others reach the DICOM service, for the Endpoint). See [the API page](api/dicom.md#imagingstudy). Empty: none are kept."`
}

// WorkspaceSpec is what a client decides about a workspace.
type WorkspaceSpec struct {
	Tags map[string]string `json:"tags,omitempty"`
}

// Service is one service.
type Service struct {
	Name string `json:"name"`
	Spec
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// Workspace is one workspace with its services, sorted by name.
type Workspace struct {
	Name string `json:"name"`
	WorkspaceSpec
	Services []Service `json:"services"`
	Created  time.Time `json:"created"`
	Changed  time.Time `json:"changed"`
}

// Check returns an Invalid or NotImplemented fault when no service called n can be as s says.
func (s Spec) Check(n string) error {
	if err := CheckServiceName(n); err != nil {
		return err
	}
	switch s.Kind {
	case KindFHIR, KindDICOM, KindMedTech:
	case "":
		return fault.New(fault.Invalid, "the kind of service is missing; this version offers fhir, dicom and medtech")
	default:
		return fault.New(fault.Invalid, "%.40q is no kind of service; this version offers fhir, dicom and medtech", string(s.Kind))
	}
	for _, f := range settings(reflect.ValueOf(s), "") {
		if !f.of(s.Kind) && f.said() {
			return fault.New(fault.Invalid, "%s is only for services of kind %s", f.name, strings.ReplaceAll(f.kinds, ",", " or "))
		}
	}
	if s.Kind == KindMedTech {
		if err := s.MedTechSpec.check(); err != nil {
			return err
		}
	}
	if err := s.ImagingStudy.check(); err != nil {
		return err
	}
	if other := map[Kind]string{KindFHIR: "ahds", KindMedTech: "ms"}[s.Kind]; s.Compat != "" && s.Compat != other {
		return fault.New(fault.Invalid, `compat %.40q is unknown; it is "" or %q`, s.Compat, other)
	}
	if s.Narrative != "" && s.Narrative != "safe" {
		return fault.New(fault.Invalid, `narrative %.40q is unknown; it is "" to store it as it comes, or "safe"`, s.Narrative)
	}
	if err := checkVersioning(s.Versioning); err != nil {
		return err
	}
	if err := s.checkIssuer(); err != nil {
		return err
	}
	if err := s.Gateway.check(); err != nil {
		return err
	}
	return checkTags(s.Tags)
}

func (s Spec) checkIssuer() error {
	if (s.Authority == "") != (s.Audience == "") {
		return fault.New(fault.Invalid, "authority and audience are needed together")
	}
	if s.Authority == "" {
		return nil
	}
	if err := auth.CheckURL(s.Authority); err != nil {
		return fault.New(fault.Invalid, "authority: %v", err)
	}
	return nil
}

// DefaultType is the key of Spec.Versioning for the types that have none of their own.
const DefaultType = "default"

// policies are the codes of http://hl7.org/fhir/versioning-policy.
var policies = []string{"versioned", "versioned-update", "no-version"}

func checkVersioning(v map[string]string) error {
	for _, typ := range slices.Sorted(maps.Keys(v)) {
		if typ != DefaultType && !r4.IsResource(typ) {
			return fault.New(fault.Invalid, "versioning: %.64q is no resource type of R4, and not %q", typ, DefaultType)
		}
		if !slices.Contains(policies, v[typ]) {
			return fault.New(fault.Invalid, "versioning of %s: %.40q is not one of %s", typ, v[typ], strings.Join(policies, ", "))
		}
	}
	return nil
}

// The limits of AHDS for tags of a resource.
const (
	maxTags     = 50
	maxTagName  = 512
	maxTagValue = 256
)

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fault.New(fault.Invalid, "%d tags are more than %d", len(tags), maxTags)
	}
	for k, v := range tags {
		if k == "" || len(k) > maxTagName || len(v) > maxTagValue {
			return fault.New(fault.Invalid, "tag %.40q: a name has 1 to %d bytes and a value at most %d", k, maxTagName, maxTagValue)
		}
	}
	return nil
}

// Equal reports whether s and t say the same.
func (s Spec) Equal(t Spec) bool { return same(s, t) }

// same compares what the API would show of a and b, so that an empty list and
// none are the same.
func same(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// setting is one field of a Spec besides the kind.
type setting struct {
	name  string // in the API
	kinds string // of the services that have it, separated by commas; "" = all
	value reflect.Value
}

// of reports whether services of kind k have the setting.
func (f setting) of(k Kind) bool {
	return f.kinds == "" || slices.Contains(strings.Split(f.kinds, ","), string(k))
}

// said reports whether the setting has a value. An empty list or map is none.
func (f setting) said() bool {
	if k := f.value.Kind(); k == reflect.Map || k == reflect.Slice {
		return f.value.Len() > 0
	}
	return !f.value.IsZero()
}

// settings lists the fields of a Spec, or of a struct in it whose kinds are known.
func settings(v reflect.Value, kinds string) (out []setting) {
	for i := range v.NumField() {
		t := v.Type().Field(i)
		name, _, _ := strings.Cut(t.Tag.Get("json"), ",")
		switch of := cmp.Or(t.Tag.Get("kinds"), kinds); {
		case t.Anonymous:
			out = append(out, settings(v.Field(i), of)...)
		case t.Name != "Kind":
			out = append(out, setting{name: name, kinds: of, value: v.Field(i)})
		}
	}
	return out
}

// Settings returns the names, in the API, of what a client may say about a
// service of kind k.
func Settings(k Kind) (names []string) {
	for _, f := range settings(reflect.ValueOf(Spec{}), "") {
		if f.of(k) {
			names = append(names, f.name)
		}
	}
	return names
}

// clone copies w so that a reader never shares memory with a later change.
func (w Workspace) clone() Workspace {
	w.Tags = maps.Clone(w.Tags)
	w.Services = slices.Clone(w.Services)
	for i := range w.Services {
		w.Services[i].Tags = maps.Clone(w.Services[i].Tags)
		w.Services[i].Versioning = maps.Clone(w.Services[i].Versioning)
	}
	return w
}

func (w *Workspace) find(n string) (int, bool) {
	return slices.BinarySearchFunc(w.Services, n, func(s Service, n string) int { return strings.Compare(s.Name, n) })
}
