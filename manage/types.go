package manage

import (
	"maps"
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

// Spec is what a client decides about a service.
type Spec struct {
	Kind   Kind   `json:"kind"`
	Compat string `json:"compat,omitempty"` // "", for FHIR also "ahds", for MedTech also "ms"
	// Narrative is "" (stored as it comes) or "safe" (active content is refused).
	Narrative string `json:"narrative,omitempty"`
	// Versioning maps a resource type, or DefaultType for all others, to the
	// policy of its versions.
	Versioning map[string]string `json:"versioning,omitempty"`
	// Authority is the OpenID provider whose tokens count besides those of the
	// built-in one, when they have the Audience. Both or neither.
	Authority string            `json:"authority,omitempty"`
	Audience  string            `json:"audience,omitempty"`
	Gateway   *Gateway          `json:"gateway,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`

	MedTechSpec // only for kind medtech
	// Partitions gives a DICOM service data partitions; it cannot change.
	Partitions bool `json:"partitions,omitempty"`
	// ImagingStudy keeps resources of a FHIR service in step with the studies of a
	// DICOM service.
	ImagingStudy *ImagingStudy `json:"imagingStudy,omitempty"`
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
	case KindFHIR:
		if !s.MedTechSpec.isZero() {
			return fault.New(fault.Invalid, "destination and what belongs to it are only for kind medtech")
		}
	case KindMedTech:
		if err := s.MedTechSpec.check(); err != nil {
			return err
		}
		if len(s.Versioning) > 0 || s.Narrative != "" {
			return fault.New(fault.Invalid, "versioning and narrative are only for kind fhir")
		}
	case KindDICOM:
		if s.Compat != "" || s.Narrative != "" || len(s.Versioning) > 0 || !s.MedTechSpec.isZero() {
			return fault.New(fault.Invalid, "compat, narrative, versioning and destination are not for services of kind dicom")
		}
	case "":
		return fault.New(fault.Invalid, "the kind of service is missing; this version offers fhir, dicom and medtech")
	default:
		return fault.New(fault.Invalid, "%.40q is no kind of service; this version offers fhir, dicom and medtech", string(s.Kind))
	}
	if s.Partitions && s.Kind != KindDICOM {
		return fault.New(fault.Invalid, "partitions are only for services of kind dicom")
	}
	if s.ImagingStudy != nil && s.Kind != KindDICOM {
		return fault.New(fault.Invalid, "imagingStudy is only for services of kind dicom")
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

func (s Spec) equal(t Spec) bool {
	return s.Kind == t.Kind && s.Compat == t.Compat && s.Partitions == t.Partitions && s.ImagingStudy.Equal(t.ImagingStudy) && s.Narrative == t.Narrative && s.Authority == t.Authority && s.Audience == t.Audience && s.Gateway.equal(t.Gateway) && maps.Equal(s.Versioning, t.Versioning) && maps.Equal(s.Tags, t.Tags) && s.MedTechSpec.equal(t.MedTechSpec)
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
