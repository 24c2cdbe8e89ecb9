package patch

import (
	"bytes"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// place is where an element stands: its index in the member of an object.
type place struct {
	owner   resource.Node // the object
	el      *r4.Element
	ref     *r4.TypeRef
	index   int  // in a list; 0 for an element that does not repeat
	sibling bool // the node is the object of _name, not the value
}

// locate finds the place of the element that n is the value, or the _name object, of.
func locate(n resource.Node) (place, bool) {
	p := place{}
	list := n
	if up := n.Parent(); up.Kind() == resource.Array {
		list = up
		p.index = positionIn(up, n)
	}
	p.owner = list.Parent()
	key := list.Key()
	if p.owner.Kind() != resource.Object || len(key) == 0 {
		return p, false
	}
	if key[0] == '_' {
		p.sibling, key = true, key[1:]
	}
	t := typeOf(p.owner)
	if t == nil {
		return p, false
	}
	var ok bool
	p.el, p.ref, ok = t.Element(key)
	return p, ok
}

// typeOf returns the type of an object inside a resource, nil if it is not known.
func typeOf(n resource.Node) *r4.Type {
	if !n.Parent().Valid() {
		return r4.LookupBytes(n.Get("resourceType").Bytes())
	}
	p, ok := locate(n)
	switch {
	case !ok:
		return nil
	case p.sibling:
		return r4.Lookup("Element")
	case p.ref.Type.Kind == r4.Resource:
		return r4.LookupBytes(n.Get("resourceType").Bytes())
	}
	return p.ref.Type
}

// positionIn returns the index of the child n of up.
func positionIn(up, n resource.Node) int {
	i := 0
	for c := up.First(); c.Valid() && c.Index() != n.Index(); c = c.Next() {
		i++
	}
	return i
}

// elementNamed returns the element with a FHIRPath name: "value", not "valueQuantity".
func elementNamed(t *r4.Type, name string) *r4.Element {
	for _, e := range t.Elements {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// noElement says that a type has no such element, and which name was perhaps meant.
func noElement(t *r4.Type, name string) *Error {
	if e, _, ok := t.Element([]byte(name)); ok && e.Name != name {
		return problem("invalid", "%s has no element %q; in FHIRPath it is %q", t.Name, clip(name), e.Name)
	}
	return problem("invalid", "%s has no element %q", t.Name, clip(name))
}

// pair is one element in JSON: a value and, for a primitive, the object of
// _name with its id and extensions. Either may be nil.
type pair struct{ val, ext *value }

func (p pair) empty() bool { return p.val == nil && p.ext == nil }

// present returns the type under which owner has the element, nil if it does not.
func present(owner *value, el *r4.Element) *r4.TypeRef {
	for i := range el.Types {
		ref := &el.Types[i]
		if owner.get(ref.JSONName) != nil || ref.Type.Kind == r4.Primitive && owner.get("_"+ref.JSONName) != nil {
			return ref
		}
	}
	return nil
}

// pairsOf reads the element of owner that has type ref.
func pairsOf(owner *value, el *r4.Element, ref *r4.TypeRef) ([]pair, *Error) {
	val := owner.get(ref.JSONName)
	var ext *value
	if ref.Type.Kind == r4.Primitive {
		ext = owner.get("_" + ref.JSONName)
	}
	if !el.Many() {
		p := pair{orNil(val), orNil(ext)}
		if p.empty() {
			return nil, nil
		}
		return []pair{p}, nil
	}
	vals, ok1 := itemsOf(val)
	exts, ok2 := itemsOf(ext)
	if !ok1 || !ok2 {
		return nil, problem("structure", "%s is no array in the resource", el.Path)
	}
	list := make([]pair, max(len(vals), len(exts)), max(len(vals), len(exts))+1)
	for i := range list {
		if i < len(vals) {
			list[i].val = orNil(vals[i])
		}
		if i < len(exts) {
			list[i].ext = orNil(exts[i])
		}
	}
	return list, nil
}

// orNil turns a JSON null into nil.
func orNil(v *value) *value {
	if v == nil || v.kind == resource.Null {
		return nil
	}
	return v
}

func itemsOf(v *value) ([]*value, bool) {
	if v == nil {
		return nil, true
	}
	if v.kind != resource.Array {
		return nil, false
	}
	v.open()
	return v.items, true
}

// writePairs puts an element into owner under the type ref. was is the type that
// it had, nil if it was not there: a choice keeps its place when its type changes.
func writePairs(owner *value, el *r4.Element, was, ref *r4.TypeRef, list []pair) {
	if was != nil && was != ref {
		rename(owner, was, ref)
	}
	name, under := ref.JSONName, "_"+ref.JSONName
	if !el.Many() {
		var p pair
		if len(list) > 0 {
			p = list[0]
		}
		write(owner, name, "", p.val)
		write(owner, under, name, p.ext)
		return
	}
	vals, exts := make([]*value, len(list)), make([]*value, len(list))
	anyVal, anyExt := false, false
	for i, p := range list {
		vals[i], exts[i] = orNull(p.val), orNull(p.ext)
		anyVal = anyVal || p.val != nil
		anyExt = anyExt || p.ext != nil
	}
	var val, ext *value
	if anyVal {
		val = newArray(vals)
	}
	if anyExt {
		ext = newArray(exts)
	}
	write(owner, name, "", val)
	write(owner, under, name, ext)
}

func orNull(v *value) *value {
	if v == nil {
		return newNull()
	}
	return v
}

// write sets a member, behind another one if it is new, or removes it.
func write(owner *value, name, behind string, val *value) {
	if val == nil {
		owner.remove(name)
		return
	}
	owner.open()
	i := -1
	if behind != "" && owner.index(name) < 0 {
		i = owner.index(behind)
	}
	owner.set(name, val)
	if last := len(owner.members) - 1; i >= 0 && i+1 < last {
		m := owner.members[last]
		copy(owner.members[i+2:], owner.members[i+1:last])
		owner.members[i+1] = m
	}
}

// rename changes the type in the member names of a choice element.
func rename(owner *value, was, ref *r4.TypeRef) {
	owner.open()
	for i := range owner.members {
		switch owner.members[i].name {
		case was.JSONName:
			owner.members[i].name = ref.JSONName
		case "_" + was.JSONName:
			owner.members[i].name = "_" + ref.JSONName
		}
	}
}

// trimUnder removes the underscore of "_name".
func trimUnder(key []byte) (name []byte, under bool) {
	return bytes.TrimPrefix(key, []byte{'_'}), len(key) > 0 && key[0] == '_'
}
