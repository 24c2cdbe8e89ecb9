package fhirpath

import (
	"sync"
	"sync/atomic"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Root returns a node as a Value of the type that its resourceType names. The
// type is not known when there is none, or one that R4 does not have; paths
// then follow the JSON members as they are.
func Root(n resource.Node) Value {
	if !n.Valid() {
		return Value{}
	}
	return Value{kind: kindNode, node: n, typ: r4.LookupBytes(n.Get("resourceType").Bytes())}
}

// Typed returns a node as a Value of a FHIR type: a composite's component, say.
func Typed(n resource.Node, t *r4.Type) Value {
	if !n.Valid() {
		return Value{}
	}
	return Value{kind: kindNode, node: n, typ: t}
}

// elements finds the elements of each type by their FHIRPath name ("value",
// not "valueQuantity"). The maps are made when a type is first met.
var elements = sync.OnceValue(func() []atomic.Pointer[map[string]*r4.Element] {
	return make([]atomic.Pointer[map[string]*r4.Element], r4.TypeCount())
})

func elementOf(t *r4.Type, name string) *r4.Element {
	slot := &elements()[t.Index]
	m := slot.Load()
	if m == nil {
		made := make(map[string]*r4.Element, len(t.Elements))
		for _, e := range t.Elements {
			made[e.Name] = e
		}
		m = &made
		slot.Store(m)
	}
	return (*m)[name]
}

// step is one name of a path, with the member name of its primitive extensions.
type pathStep struct {
	name  string
	under string // "_name"
}

func newStep(name string) pathStep { return pathStep{name, "_" + name} }

// child appends the elements of v that have the name.
func (v Value) child(s *pathStep, dst []Value) []Value {
	switch {
	case v.kind == kindType:
		return v.typeInfo(s.name, dst)
	case v.kind == kindQuantity:
		return v.p.(*quantity).child(s.name, dst)
	case v.kind != kindNode:
		return dst
	case v.typ == nil:
		return v.untypedChild(s, dst)
	case v.typ.Kind == r4.Primitive:
		return v.primitiveChild(s, dst)
	}
	e := elementOf(v.typ, s.name)
	switch {
	case e == nil && s.name == "resourceType" && v.typ.Kind == r4.Resource:
		// Not an element, but widely used: where(resourceType = 'Patient').
		return append(dst, String(v.typ.Name))
	case e == nil:
		return dst
	case e.Choice:
		return v.choice(e, dst)
	case len(e.Types) == 0:
		return dst
	}
	t := e.Types[0].Type
	var ext resource.Node
	if t == nil || t.Kind == r4.Primitive {
		ext = v.node.Get(s.under)
	}
	return appendElement(dst, t, v.node.Get(s.name), ext)
}

func (v Value) untypedChild(s *pathStep, dst []Value) []Value {
	if v.node.Kind() != resource.Object {
		if v.ext.Valid() {
			return appendElement(dst, nil, v.ext.Get(s.name), resource.Node{})
		}
		return dst
	}
	return appendElement(dst, nil, v.node.Get(s.name), v.node.Get(s.under))
}

// primitiveChild finds id and extension of a primitive in the object beside it.
// The primitive is its own value, so there is no element of that name.
func (v Value) primitiveChild(s *pathStep, dst []Value) []Value {
	switch s.name {
	case "id":
		return appendElement(dst, r4.Lookup("string"), v.ext.Get("id"), resource.Node{})
	case "extension":
		return appendElement(dst, r4.Lookup("Extension"), v.ext.Get("extension"), resource.Node{})
	}
	return dst
}

// choice appends the value of an element such as value[x], whatever its type.
func (v Value) choice(e *r4.Element, dst []Value) []Value {
	for c := v.node.First(); c.Valid(); c = c.Next() {
		key := c.Key()
		under := len(key) > 0 && key[0] == '_'
		if under {
			key = key[1:]
		}
		if len(key) <= len(e.Name) || string(key[:len(e.Name)]) != e.Name {
			continue
		}
		found, ref, ok := v.typ.Element(key)
		if !ok || found != e {
			continue
		}
		if !under {
			return appendElement(dst, ref.Type, c, v.node.Get("_"+string(key)))
		}
		if !v.node.Get(string(key)).Valid() {
			return appendElement(dst, ref.Type, resource.Node{}, c)
		}
	}
	return dst
}

// appendElement appends the value or the values of one JSON member, with the
// objects beside them that hold the extensions of primitives.
func appendElement(dst []Value, t *r4.Type, n, ext resource.Node) []Value {
	if n.Kind() != resource.Array && ext.Kind() != resource.Array {
		return appendItem(dst, t, n, ext)
	}
	if n.Kind() == resource.Array {
		n = n.First()
	}
	if ext.Kind() == resource.Array {
		ext = ext.First()
	}
	for n.Valid() || ext.Valid() {
		dst = appendItem(dst, t, n, ext)
		n, ext = n.Next(), ext.Next()
	}
	return dst
}

func appendItem(dst []Value, t *r4.Type, n, ext resource.Node) []Value {
	if n.Kind() == resource.Null {
		n = resource.Node{}
	}
	if ext.Kind() == resource.Null {
		ext = resource.Node{}
	}
	if !n.Valid() && !ext.Valid() {
		return dst
	}
	if t != nil && t.Kind == r4.Resource {
		if rt := n.Get("resourceType"); rt.Valid() {
			if known := r4.LookupBytes(rt.Bytes()); known != nil {
				t = known
			}
		}
	}
	return append(dst, Value{kind: kindNode, typ: t, node: n, ext: ext})
}

// children appends all elements below v, in the order of the JSON text.
func (v Value) children(dst []Value) []Value {
	if v.kind != kindNode {
		return dst
	}
	if v.node.Kind() != resource.Object {
		// A primitive: its id and extensions.
		if v.ext.Valid() {
			id, ext := newStep("id"), newStep("extension")
			dst = v.child(&id, dst)
			dst = v.child(&ext, dst)
		}
		return dst
	}
	for c := v.node.First(); c.Valid(); c = c.Next() {
		key := c.Key()
		if string(key) == "resourceType" {
			continue
		}
		ext := resource.Node{}
		val := c
		if len(key) > 0 && key[0] == '_' {
			key = key[1:]
			if v.node.Get(string(key)).Valid() {
				continue // taken along with the value
			}
			val, ext = resource.Node{}, c
		}
		var t *r4.Type
		if v.typ != nil {
			_, ref, ok := v.typ.Element(key)
			if !ok {
				continue
			}
			t = ref.Type
			if ext.Valid() && t != nil && t.Kind != r4.Primitive {
				continue // "_name" belongs to primitives alone
			}
		}
		if !ext.Valid() && (t == nil || t.Kind == r4.Primitive) {
			ext = v.node.Get("_" + string(key))
		}
		dst = appendElement(dst, t, val, ext)
	}
	return dst
}
