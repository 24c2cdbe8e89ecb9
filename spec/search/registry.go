package search

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// Registry knows the search parameters of every resource type. The work for a
// type is done when the type is first asked for, so that a Registry costs
// nothing to make. It is safe for use by many goroutines.
type Registry struct {
	schemas    sync.Map // resource type -> *lazySchema
	generation atomic.Int64
	disabled   atomic.Pointer[map[string]bool] // by URL, see SetDisabled
	custom     struct {
		mu    sync.Mutex
		types []string // that have custom parameters
	}
}

type lazySchema struct {
	once sync.Once
	s    *schema
}

// schema is what the Registry knows about one resource type.
type schema struct {
	params []*Param
	byCode map[string]*Param
	trie   *trie         // all parameters that are simple paths
	evals  []*evaluation // the others
	self   *Param        // stands for the resource as a container, see Contained.Mark

	builder *builder // what it was made by, to add custom parameters
	plain   *schema  // without them; nil when there are none
}

// NewRegistry returns a Registry of the parameters of FHIR R4.
func NewRegistry() *Registry { return &Registry{} }

// Default returns the Registry of the parameters of FHIR R4 that the process shares.
func Default() *Registry { return defaultRegistry() }

var defaultRegistry = sync.OnceValue(NewRegistry)

// Params returns the parameters of a concrete resource type, sorted by code,
// also those of Resource and DomainResource. _id and _lastUpdated are not among
// them: they are properties of every resource, see Field. It is nil for a name
// that is not a concrete resource type.
func (r *Registry) Params(resourceType string) []*Param {
	if s := r.schema(resourceType); s != nil {
		return s.params
	}
	return nil
}

// Param returns one parameter of a resource type, or nil.
func (r *Registry) Param(resourceType, code string) *Param {
	if s := r.schema(resourceType); s != nil {
		return s.byCode[code]
	}
	return nil
}

// SetDisabled says which parameters, by URL, cannot be searched by: Parse takes
// them for unknown. Their values are extracted all the same.
func (r *Registry) SetDisabled(urls []string) {
	off := make(map[string]bool, len(urls))
	for _, u := range urls {
		off[u] = true
	}
	if old := r.disabled.Load(); old != nil && maps.Equal(*old, off) || old == nil && len(off) == 0 {
		return
	}
	r.disabled.Store(&off)
	r.generation.Add(1)
}

// Disabled reports whether the parameters with a URL are disabled.
func (r *Registry) Disabled(url string) bool {
	off := r.disabled.Load()
	return off != nil && (*off)[url]
}

// Defines reports whether a type has a parameter with a URL.
func (r *Registry) Defines(url string) bool {
	return slices.ContainsFunc(r4.ResourceTypes(), func(t string) bool {
		return slices.ContainsFunc(r.Params(t), func(p *Param) bool { return p.URL == url })
	})
}

// usable returns a parameter that can be searched by, or nil.
func (r *Registry) usable(resourceType, code string) *Param {
	if p := r.Param(resourceType, code); p != nil && !r.Disabled(p.URL) {
		return p
	}
	return nil
}

func (r *Registry) schema(resourceType string) *schema {
	v, ok := r.schemas.Load(resourceType)
	if !ok {
		if !r4.IsResource(resourceType) {
			return nil
		}
		v, _ = r.schemas.LoadOrStore(strings.Clone(resourceType), &lazySchema{})
	}
	l := v.(*lazySchema)
	l.once.Do(func() { l.s = buildSchema(resourceType) })
	return l.s
}

// rowField reports whether a parameter is answered from the resource's own row.
func rowField(code string) bool { return code == "_id" || code == "_lastUpdated" }

// unindexed says why a parameter of Resource or DomainResource has no index.
var unindexed = map[string]string{
	"_text":    "it is read from the narrative",
	"_content": "it is read from the whole resource",
	"_query":   "there are no named queries",
	"_filter":  "it is a language of its own",
}

// buildSchema compiles the definitions of a type. The order matters: parts are
// found among all parameters, and only those without parts are extracted.
func buildSchema(resourceType string) *schema {
	typ := r4.Lookup(resourceType) // its name outlives the text that resourceType may alias
	s := &schema{byCode: make(map[string]*Param), self: &Param{Type: typ.Name, key: typ.Name, Bit: -1}}
	b := &builder{schema: s, typ: typ, defs: make(map[*Param]*definition)}
	for _, sp := range definitions(typ.Name) {
		b.add(sp)
	}
	for _, p := range s.params {
		b.compile(p)
	}
	for _, p := range s.params {
		b.components(p)
	}
	b.findParts()
	b.derive()
	s.builder = b
	b.finish()
	return s
}

// definitions returns one definition per code. The package has examples that
// define a code a second time; they give way to the real ones.
func definitions(resourceType string) []*r4.SearchParam {
	var out []*r4.SearchParam
	for _, sp := range r4.SearchParamsFor(resourceType) {
		if n := len(out); n > 0 && out[n-1].Code == sp.Code {
			if strings.HasPrefix(out[n-1].ID, "example") {
				out[n-1] = sp
			}
			continue
		}
		out = append(out, sp)
	}
	return slices.DeleteFunc(out, func(sp *r4.SearchParam) bool { return rowField(sp.Code) })
}
