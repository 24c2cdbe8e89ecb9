package profile

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Issue is one finding, in the terms of OperationOutcome.issue
// (http://hl7.org/fhir/R4/operationoutcome.html).
type Issue struct {
	Severity    string // error
	Code        string // http://hl7.org/fhir/R4/valueset-issue-type.html
	Diagnostics string
	// Expression is the location, with JSON names and indexes:
	// Patient.name[0].given[1], Observation.valueQuantity.value.
	Expression string
}

// The issue types in use.
const (
	codeStructure = "structure"    // not what the definition allows
	codeRequired  = "required"     // an element is missing
	codeValue     = "value"        // a primitive value has a wrong format
	codeInvalid   = "invalid"      // not the resource that was asked for
	codeInvariant = "invariant"    // a named rule is broken
	codeCode      = "code-invalid" // a code is not in the required value set
)

// maxIssues ends a check early: the first findings are those that help.
const maxIssues = 50

// Check validates the resource n and all that is in it. When want is not
// empty, the resource must have that type. The result is nil when nothing is
// wrong; at most 50 issues are returned, in the order of the text.
func Check(n resource.Node, want string) []Issue {
	c := checker{tables: tables()}
	c.resource(n, want)
	return c.issues
}

// checker is the state of one Check.
type checker struct {
	tables    *tableSet
	issues    []Issue
	contained bool // inside DomainResource.contained
}

func (c *checker) full() bool { return len(c.issues) >= maxIssues }

// add records an issue at n. The underscore of primitive siblings is no part of
// a FHIRPath location, so it is left out.
func (c *checker) add(n resource.Node, code, format string, args ...any) {
	c.addAt(n.Path(), code, format, args...)
}

func (c *checker) addAt(path, code, format string, args ...any) {
	if c.full() {
		return
	}
	c.issues = append(c.issues, Issue{
		Severity: "error", Code: code,
		Diagnostics: fmt.Sprintf(format, args...),
		Expression:  strings.ReplaceAll(path, "._", "."),
	})
}

// resource checks a resource: the root, a contained one, or one in a Bundle or Parameters.
func (c *checker) resource(n resource.Node, want string) {
	if n.Kind() != resource.Object {
		c.add(n, codeStructure, "a resource must be a JSON object, found %s", article(n.Kind()))
		return
	}
	name := n.Get("resourceType")
	switch {
	case !name.Valid():
		c.addAt(n.Path()+".resourceType", codeRequired, "resourceType is missing")
		return
	case name.Kind() != resource.String:
		c.add(name, codeStructure, "resourceType must be a string, found %s", article(name.Kind()))
		return
	}
	t := r4.LookupBytes(name.Bytes())
	if t == nil || t.Kind != r4.Resource || t.Abstract {
		c.add(name, codeStructure, "%q is not a resource type of FHIR R4", clip(name.Text()))
		return
	}
	if want != "" && t.Name != want {
		c.add(name, codeInvalid, "expected a resource of type %s, found %s", want, t.Name)
		return
	}
	c.object(n, t)
}

// object checks the members of an object against its type.
func (c *checker) object(n resource.Node, t *r4.Type) {
	info := &c.tables.types[t.Index]
	var seen mask
	for m := n.First(); m.Valid(); m = m.Next() {
		key := m.Key()
		sibling := len(key) > 0 && key[0] == '_'
		if sibling {
			key = key[1:]
		}
		e, ref, ok := t.Element(key)
		if !ok {
			if t.Kind == r4.Resource && !sibling && string(key) == "resourceType" {
				continue
			}
			c.add(m, codeStructure, "%s has no element %q", t.Name, clip(string(m.Key())))
			if c.full() {
				return
			}
			continue
		}
		if e.Choice && seen.has(e.Index) {
			c.choice(n, m, t, e, ref)
		}
		seen.set(e.Index)
		if sibling {
			c.sibling(n, m, t, e, ref)
		} else {
			c.element(n, m, e, ref, &info.elements[e.Index])
		}
		if c.full() {
			return
		}
	}
	if !info.required.within(&seen) {
		c.missing(n, t, info, &seen)
	}
	if t.Kind != r4.Resource {
		c.elementRules(n, info, &seen)
	}
}

// missing reports the required elements that are not there.
func (c *checker) missing(n resource.Node, t *r4.Type, info *typeTable, seen *mask) {
	if n.Len() == 0 {
		return // reported as an empty object
	}
	for w, word := range info.required {
		for rest := word &^ seen[w]; rest != 0; rest &= rest - 1 {
			e := t.Elements[w*64+bits.TrailingZeros64(rest)]
			name := e.Name
			if e.Choice {
				name += "[x]"
			}
			c.addAt(n.Path()+"."+name, codeRequired, "%s is required", e.Path)
		}
	}
}

// elementRules checks the invariants of Element and Extension.
func (c *checker) elementRules(n resource.Node, info *typeTable, seen *mask) {
	switch {
	case n.Len() == 0:
		c.add(n, codeStructure, "an object must not be empty")
	case n.Len() == 1 && n.First().KeyIs("id"):
		c.add(n, codeInvariant, "ele-1: an element must have a value or children besides its id")
	case info.extension && seen.has(info.extensionIndex) == seen.has(info.valueIndex):
		if seen.has(info.valueIndex) {
			c.add(n, codeInvariant, "ext-1: an extension must not have both a value and extensions")
		} else {
			c.add(n, codeInvariant, "ext-1: an extension must have a value or extensions")
		}
	}
}

// choice reports a second type for a choice element: valueString beside
// valueQuantity. A value and its underscore sibling have the same type.
func (c *checker) choice(n, m resource.Node, t *r4.Type, e *r4.Element, ref *r4.TypeRef) {
	for o := n.First(); o.Valid() && o.Index() != m.Index(); o = o.Next() {
		key := o.Key()
		if len(key) > 0 && key[0] == '_' {
			key = key[1:]
		}
		if oe, other, ok := t.Element(key); ok && oe == e && other != ref {
			c.add(m, codeStructure, "%s may have only one type: %s is there already", e.Path, other.JSONName)
			return
		}
	}
}

// element checks a member that stands for element e with type ref.
func (c *checker) element(n, m resource.Node, e *r4.Element, ref *r4.TypeRef, info *elementTable) {
	if !e.Many() {
		switch m.Kind() {
		case resource.Array:
			c.add(m, codeStructure, "%s may appear once only: expected %s, found an array", e.Path, jsonForm(ref.Type))
		case resource.Null:
			c.add(m, codeStructure, "null is not allowed here: leave %s out", e.Path)
		default:
			c.value(m, e, ref, info)
		}
		return
	}
	if m.Kind() != resource.Array {
		c.add(m, codeStructure, "%s may repeat: expected an array, found %s", e.Path, article(m.Kind()))
		return
	}
	if m.Len() == 0 {
		c.add(m, codeStructure, "an array must not be empty")
	}
	if m.Len() < e.Min || e.Max > 0 && m.Len() > e.Max {
		c.add(m, codeStructure, "%s has %d items, allowed are %s", e.Path, m.Len(), cardinality(e))
	}
	for item := m.First(); item.Valid() && !c.full(); item = item.Next() {
		if item.Kind() != resource.Null {
			c.value(item, e, ref, info)
		} else if ref.Type.Kind != r4.Primitive {
			c.add(item, codeStructure, "null is not allowed in an array of %s", ref.Name)
		} else if other := siblingOf(n, m); other.Kind() != resource.Array {
			// With a sibling array, sibling checks each pair.
			c.add(item, codeStructure, "null is allowed only where _%s has an extension", ref.JSONName)
		}
	}
}

// value checks one value of an element.
func (c *checker) value(v resource.Node, e *r4.Element, ref *r4.TypeRef, info *elementTable) {
	t := ref.Type
	if t.Kind == r4.Primitive {
		format := info.format
		if format == 0 {
			format = c.tables.types[t.Index].format
		}
		if problem := format.check(v); problem != "" {
			c.badValue(v, t, problem)
		} else if info.codes != nil {
			if _, ok := info.codes[string(v.Bytes())]; !ok {
				c.add(v, codeCode, "%q is not in the required value set %s", clip(v.Text()), e.Binding.ValueSet)
			}
		}
		return
	}
	if v.Kind() != resource.Object {
		c.add(v, codeStructure, "%s must be an object (%s), found %s", e.Path, ref.Name, article(v.Kind()))
		return
	}
	if t.Kind != r4.Resource {
		c.object(v, t)
		return
	}
	if !info.contained {
		c.resource(v, "")
		return
	}
	if c.contained {
		c.add(v, codeInvariant, "dom-2: a contained resource must not contain resources")
		return
	}
	c.contained = true
	c.resource(v, "")
	c.contained = false
}

// badValue reports a primitive value: of the wrong JSON type, or of a wrong format.
func (c *checker) badValue(v resource.Node, t *r4.Type, problem string) {
	code := codeValue
	if problem == wrongKind {
		code = codeStructure
		problem = "must be " + jsonForm(t) + ", found " + article(v.Kind())
	}
	if v.Kind() == resource.Object || v.Kind() == resource.Array {
		c.add(v, code, "a value of type %s %s", t.Name, problem)
		return
	}
	c.add(v, code, "%q is no %s: it %s", clip(v.Text()), t.Name, problem)
}

// sibling checks "_name", which carries the id and the extensions of a
// primitive element (http://hl7.org/fhir/R4/json.html#primitive).
func (c *checker) sibling(n, m resource.Node, t *r4.Type, e *r4.Element, ref *r4.TypeRef) {
	if ref.Type.Kind != r4.Primitive || c.tables.types[t.Index].elements[e.Index].attribute {
		c.add(m, codeStructure, "%s cannot have the sibling _%s", e.Path, ref.JSONName)
		return
	}
	values := siblingOf(n, m)
	if !e.Many() {
		c.siblingItem(m, values.Valid(), ref)
		return
	}
	if m.Kind() != resource.Array {
		c.add(m, codeStructure, "_%s must be an array as %s is one, found %s", ref.JSONName, ref.JSONName, article(m.Kind()))
		return
	}
	if m.Len() == 0 {
		c.add(m, codeStructure, "an array must not be empty")
	}
	if values.Kind() == resource.Array && values.Len() != m.Len() {
		c.add(m, codeStructure, "_%s has %d items, %s has %d", ref.JSONName, m.Len(), ref.JSONName, values.Len())
		return
	}
	v := values.First()
	for item := m.First(); item.Valid() && !c.full(); item, v = item.Next(), v.Next() {
		has := v.Valid() && v.Kind() != resource.Null
		if item.Kind() != resource.Null {
			c.siblingItem(item, has, ref)
		} else if !has {
			c.add(item, codeStructure, "an item of %s must have a value or an extension", ref.JSONName)
		}
	}
}

// siblingItem checks one object with the id and the extensions of a primitive value.
func (c *checker) siblingItem(m resource.Node, hasValue bool, ref *r4.TypeRef) {
	if m.Kind() != resource.Object {
		c.add(m, codeStructure, "_%s must be an object, found %s", ref.JSONName, article(m.Kind()))
		return
	}
	if hasValue && m.Len() == 1 && m.First().KeyIs("id") {
		if id := m.First(); formatString.check(id) != "" {
			c.badValue(id, r4.Lookup("string"), formatString.check(id))
		}
		return
	}
	c.object(m, c.tables.element)
}

// siblingOf returns the member of n that belongs to m: "given" for "_given" and
// the other way round.
func siblingOf(n, m resource.Node) resource.Node {
	key := m.Key()
	for o := n.First(); o.Valid(); o = o.Next() {
		k := o.Key()
		switch len(k) - len(key) {
		case 1:
			if k[0] == '_' && string(k[1:]) == string(key) {
				return o
			}
		case -1:
			if key[0] == '_' && string(key[1:]) == string(k) {
				return o
			}
		}
	}
	return resource.Node{}
}

func cardinality(e *r4.Element) string {
	if e.Max < 0 {
		return fmt.Sprintf("%d..*", e.Min)
	}
	return fmt.Sprintf("%d..%d", e.Min, e.Max)
}

// jsonForm names the JSON type that a FHIR type has.
func jsonForm(t *r4.Type) string {
	if t.Kind != r4.Primitive {
		return "an object"
	}
	return article(formatOf(t.Name).kind())
}

func article(k resource.Kind) string {
	switch k {
	case resource.Null, resource.Absent:
		return k.String()
	case resource.Array, resource.Object:
		return "an " + k.String()
	}
	return "a " + k.String()
}

// clip shortens a text for a message.
func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:61], "") + "..."
}
