package profile

import (
	"sync"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// tableSet is what Check needs to know of all types, prepared once.
type tableSet struct {
	types   []typeTable // by r4.Type.Index
	element *r4.Type    // the type Element: what a primitive sibling may have
}

type typeTable struct {
	required mask
	format   format // primitive types
	elements []elementTable

	extension                  bool // the type is Extension
	extensionIndex, valueIndex int
}

type elementTable struct {
	codes     map[string]struct{} // code elements: the required value set, nil when open
	format    format              // instead of that of the type, when not 0
	contained bool                // DomainResource.contained
	attribute bool                // a plain attribute, which has no id and no extensions
}

// mask is a set of element indexes. No type of R4 has 128 elements, which a test checks.
type mask [2]uint64

func (m *mask) set(i int)      { m[i>>6&1] |= 1 << (i & 63) }
func (m *mask) has(i int) bool { return m[i>>6&1]&(1<<(i&63)) != 0 }

// within reports whether every element of m is in o.
func (m *mask) within(o *mask) bool { return m[0]&^o[0] == 0 && m[1]&^o[1] == 0 }

var tables = sync.OnceValue(func() *tableSet {
	s := &tableSet{types: make([]typeTable, r4.TypeCount()), element: r4.Lookup("Element")}
	done := make([]bool, r4.TypeCount())
	var visit func(t *r4.Type)
	visit = func(t *r4.Type) {
		if done[t.Index] {
			return
		}
		done[t.Index] = true
		s.types[t.Index] = newTypeTable(t)
		for _, e := range t.Elements {
			for i := range e.Types {
				visit(e.Types[i].Type)
			}
		}
	}
	visit(s.element)
	for _, name := range r4.ResourceTypes() {
		visit(r4.Lookup(name))
	}
	return s
})

func newTypeTable(t *r4.Type) typeTable {
	tt := typeTable{elements: make([]elementTable, len(t.Elements))}
	if t.Kind == r4.Primitive {
		tt.format = formatOf(t.Name)
	}
	tt.extension = t.Name == "Extension"
	for i, e := range t.Elements {
		if e.Min > 0 {
			tt.required.set(i)
		}
		et := &tt.elements[i]
		switch {
		case e.Path == "Reference.reference":
			et.format = formatReference
		case e.Path == "Extension.url", e.Name == "id" && t.Kind != r4.Resource:
			et.attribute = true
		case e.Name == "contained" && t.Kind == r4.Resource:
			et.contained = true
		}
		if tt.extension {
			switch e.Name {
			case "extension":
				tt.extensionIndex = i
			case "value":
				tt.valueIndex = i
			}
		}
		if e.Binding != nil && e.Binding.Strength == "required" && len(e.Types) == 1 && e.Types[0].Name == "code" {
			et.codes, _ = r4.RequiredCodes(e.Binding.ValueSet)
		}
	}
	return tt
}
