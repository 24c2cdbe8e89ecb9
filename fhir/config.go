package fhir

import (
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
)

// CompatAHDS is the value of Config.Compat that chooses the answers of Azure
// Health Data Services wherever they differ from the standard.
const CompatAHDS = "ahds"

// Versioning is the policy of a resource type, with the codes of
// http://hl7.org/fhir/versioning-policy.
type Versioning string

// The policies. The zero value means Versioned.
const (
	// Versioned keeps every version.
	Versioned Versioning = "versioned"
	// VersionedUpdate keeps every version and refuses an update that does not
	// name, by If-Match, the version that it replaces.
	VersionedUpdate Versioning = "versioned-update"
	// NoVersion keeps only the current version. The version id still grows.
	NoVersion Versioning = "no-version"
)

// AllTypes is the key of Config.Versioning that stands for every type that is not named.
const AllTypes = "*"

// Config holds what an operator may set. The zero value is useful.
type Config struct {
	// Compat is "" for the standard or CompatAHDS.
	Compat string
	// MaxBundleEntries limits a batch or transaction; 0 means 10,000, or 500 under CompatAHDS.
	MaxBundleEntries int
	// DefaultCount is the page size when _count is absent; 0 means 10.
	DefaultCount int
	// MaxCount caps _count; 0 means 1,000.
	MaxCount int
	// Narrative is "" to store narratives as they come, or NarrativeSafe.
	Narrative string
	// Versioning maps a resource type, or AllTypes, to its policy.
	Versioning map[string]Versioning
}

// withDefaults fills the zero fields and checks the rest.
func (c Config) withDefaults() (Config, error) {
	switch c.Compat {
	case "", CompatAHDS:
	default:
		return c, fault.New(fault.Invalid, "compat %q is unknown; use \"\" or %q", c.Compat, CompatAHDS)
	}
	if c.Narrative != "" && c.Narrative != NarrativeSafe {
		return c, fault.New(fault.Invalid, "narrative %q is unknown; use \"\" or %q", c.Narrative, NarrativeSafe)
	}
	if c.MaxBundleEntries == 0 {
		c.MaxBundleEntries = 10_000
		if c.Compat == CompatAHDS {
			c.MaxBundleEntries = 500
		}
	}
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{
		{"max bundle entries", &c.MaxBundleEntries, 10_000},
		{"default count", &c.DefaultCount, 10},
		{"max count", &c.MaxCount, 1000},
	} {
		if *f.v < 0 {
			return c, fault.New(fault.Invalid, "%s must not be negative", f.name)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	c.DefaultCount = min(c.DefaultCount, c.MaxCount)
	for typ, v := range c.Versioning {
		if typ != AllTypes && !r4.IsResource(typ) {
			return c, fault.New(fault.Invalid, "versioning: %q is not a resource type", typ)
		}
		switch v {
		case Versioned, VersionedUpdate, NoVersion:
		default:
			return c, fault.New(fault.Invalid, "versioning of %s: policy %q is unknown", typ, v)
		}
	}
	return c, nil
}

// VersioningOf returns the policy of a resource type.
func (c *Config) VersioningOf(typ string) Versioning {
	if v, ok := c.Versioning[typ]; ok {
		return v
	}
	if v, ok := c.Versioning[AllTypes]; ok {
		return v
	}
	return Versioned
}
