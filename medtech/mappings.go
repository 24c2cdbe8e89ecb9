package medtech

import (
	"context"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// MappingKind is one of the two documents.
type MappingKind string

// The kinds.
const (
	DeviceMapping MappingKind = "device"
	FHIRMapping   MappingKind = "fhir"
)

// Mapping is one version of a document.
type Mapping struct {
	Version int64
	Changed time.Time
	Text    []byte
}

// compiled are the mappings that the pipeline uses.
type compiled struct {
	device        *mapping.Device
	fhir          *mapping.FHIR
	deviceVersion int64
	fhirVersion   int64
}

// ready reports whether both documents are there.
func (c *compiled) ready() bool { return c.device != nil && c.fhir != nil }

// current returns the mappings in use, also when another node has put them.
func (s *Service) current(ctx context.Context) (*compiled, error) {
	if !s.store.Shared() {
		return s.mappings.Load(), nil
	}
	device, fhir, err := s.store.Versions(ctx)
	if err != nil {
		return nil, err
	}
	if m := s.mappings.Load(); m.deviceVersion == device && m.fhirVersion == fhir {
		return m, nil
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	err = s.loadMappings(ctx)
	return s.mappings.Load(), err
}

// Mapping returns the newest document of a kind. NotFound when there is none yet.
func (s *Service) Mapping(ctx context.Context, kind MappingKind) (Mapping, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechRead); err != nil {
		return Mapping{}, err
	}
	return s.store.Mapping(ctx, kind)
}

// PutMapping checks a document and makes it the one in use, at once. All that is
// wrong with it is reported together (Invalid, with issues); what was noticed
// besides comes back as warnings.
func (s *Service) PutMapping(ctx context.Context, kind MappingKind, text []byte) (Mapping, mapping.Problems, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return Mapping{}, nil, err
	}
	if _, err := s.current(ctx); err != nil {
		return Mapping{}, nil, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	next := *s.mappings.Load()
	var problems mapping.Problems
	if kind == DeviceMapping {
		next.device, problems = mapping.ParseDevice(text, s.cfg.options())
	} else {
		next.fhir, problems = mapping.ParseFHIR(text, s.cfg.options())
	}
	if bad := problems.Fatal(); len(bad) > 0 {
		return Mapping{}, problems, badMapping(bad)
	}
	m, err := s.store.PutMapping(ctx, kind, text, s.now())
	if err != nil {
		return m, nil, err
	}
	if kind == DeviceMapping {
		next.deviceVersion = m.Version
	} else {
		next.fhirVersion = m.Version
	}
	if next.device != nil && next.fhir != nil {
		problems = append(problems, mapping.Check(next.device, next.fhir)...)
	}
	s.mappings.Store(&next)
	s.wakeUp()
	return m, problems, nil
}

// badMapping makes one error of all problems.
func badMapping(list mapping.Problems) error {
	e := &fault.Error{Kind: fault.Invalid, Msg: list[0].String()}
	for _, p := range list {
		e.Issues = append(e.Issues, fault.Issue{Severity: "error", Code: "invalid", Diagnostics: p.String(), Expression: p.Path})
	}
	return e
}

// loadMappings reads the documents. One that an older version
// accepted and this one does not is reported and not used.
func (s *Service) loadMappings(ctx context.Context) error {
	var c compiled
	for _, kind := range []MappingKind{DeviceMapping, FHIRMapping} {
		m, err := s.store.Mapping(ctx, kind)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		var problems mapping.Problems
		if kind == DeviceMapping {
			c.device, problems = mapping.ParseDevice(m.Text, s.cfg.options())
			c.deviceVersion = m.Version
		} else {
			c.fhir, problems = mapping.ParseFHIR(m.Text, s.cfg.options())
			c.fhirVersion = m.Version
		}
		if bad := problems.Fatal(); len(bad) > 0 {
			s.log.Error("mapping is not usable", "kind", string(kind), "version", m.Version, "problems", len(bad))
		}
	}
	s.mappings.Store(&c)
	return nil
}
