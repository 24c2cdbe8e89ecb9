package fhirpath

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// fhirFunctions are the additions of FHIR R4 (http://hl7.org/fhir/R4/fhirpath.html#functions).
var fhirFunctions = map[string]function{
	"extension":    {1, 1, extension},
	"hasExtension": {1, 1, hasExtension},
	"hasValue":     {0, 0, hasValue},
	"getValue":     {0, 0, getValue},
	"resolve":      {0, 0, resolve},
	"conformsTo":   {1, 1, conformsTo},
	"memberOf":     {1, 1, notOffered},
	"subsumes":     {1, 1, notOffered},
	"subsumedBy":   {1, 1, notOffered},
}

func notOffered(*invocation, []Value) ([]Value, error) { return nil, errNotOffered }

var extensionStep = newStep("extension")

// extensions appends the extensions of the input that have the url of the argument.
func (c *invocation) extensions(dst []Value) ([]Value, error) {
	url, ok, err := c.str(0)
	if err != nil || !ok {
		return dst, err
	}
	all, err := c.ev.walk(c.in, &extensionStep, c.ev.get())
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if v.node.Get("url").Is(url) {
			dst = append(dst, v)
		}
	}
	c.ev.put(all)
	return dst, nil
}

func extension(c *invocation, dst []Value) ([]Value, error) { return c.extensions(dst) }

func hasExtension(c *invocation, dst []Value) ([]Value, error) {
	found, err := c.extensions(nil)
	return append(dst, Bool(len(found) > 0)), err
}

// isPrimitive reports whether v is a primitive node that has a value, and not
// only extensions.
func (v Value) isPrimitive() bool {
	k := v.node.Kind()
	return v.kind == kindNode && v.node.Valid() && k != resource.Object && k != resource.Array
}

func hasValue(c *invocation, dst []Value) ([]Value, error) {
	return append(dst, Bool(len(c.in) == 1 && (c.in[0].kind != kindNode || c.in[0].isPrimitive()))), nil
}

func getValue(c *invocation, dst []Value) ([]Value, error) {
	if len(c.in) == 1 && (c.in[0].kind != kindNode || c.in[0].isPrimitive()) {
		return append(dst, c.in[0].system()), nil
	}
	return dst, nil
}

// referenceText returns the text of a Reference, or of a uri or string that
// stands for one.
func (v Value) referenceText() string {
	if v.kind == kindString {
		return v.s
	}
	if v.node.Kind() == resource.Object {
		return v.node.Get("reference").Text()
	}
	return v.node.Text()
}

// referenceType reads the resource type from the text of a reference:
// [base/]Type/id[/_history/version]. It is "" when the text does not tell.
func referenceType(ref string) string {
	if strings.HasPrefix(ref, "urn:") || strings.HasPrefix(ref, "#") {
		return ""
	}
	if i := strings.Index(ref, "/_history/"); i >= 0 {
		ref = ref[:i]
	}
	ref, _, _ = strings.Cut(ref, "?")
	i := strings.LastIndexByte(ref, '/')
	if i < 0 {
		return ""
	}
	if typ := ref[strings.LastIndexByte(ref[:i], '/')+1 : i]; r4.IsResource(typ) {
		return typ
	}
	return ""
}

// resolvesTo is "resolve() is T". The text of the reference, or Reference.type,
// decides if it can; only otherwise is the reference resolved.
func (ev *eval) resolvesTo(recv fn, f *frame, t typeName, dst []Value) ([]Value, error) {
	in, err := recv(ev, f, ev.get())
	if err != nil {
		return nil, err
	}
	defer ev.put(in)
	if len(in) > 1 {
		return nil, errMany
	}
	if err := ev.step(1); err != nil || len(in) == 0 {
		return dst, err
	}
	typ := r4.Lookup(referenceType(in[0].referenceText()))
	if typ == nil {
		typ = r4.LookupBytes(in[0].node.Get("type").Bytes())
	}
	if typ != nil && typ.Kind == r4.Resource {
		return append(dst, Bool(t.space != "System" && derives(typ, t.name))), nil
	}
	if v, ok := ev.resolve(in[0]); ok {
		return append(dst, Bool(v.is(t))), nil
	}
	return dst, nil
}

func resolve(c *invocation, dst []Value) ([]Value, error) {
	for _, v := range c.in {
		if target, ok := c.ev.resolve(v); ok {
			dst = append(dst, target)
		}
	}
	return dst, nil
}

// resolve finds the resource that a reference points to: one contained in the
// same resource, or what Env.Resolve gives.
func (ev *eval) resolve(v Value) (Value, bool) {
	ref := v.referenceText()
	if id, ok := strings.CutPrefix(ref, "#"); ok {
		return contained(v.node, id)
	}
	if ref == "" || ev.env.Resolve == nil {
		return Value{}, false
	}
	n, ok := ev.env.Resolve(ref)
	return Root(n), ok && n.Valid()
}

// contained looks for a contained resource from a node upwards; "#" alone is
// the container itself.
func contained(n resource.Node, id string) (Value, bool) {
	for ; n.Valid(); n = n.Parent() {
		list := n.Get("contained")
		if !list.Valid() {
			continue
		}
		if id == "" {
			return Root(n), true
		}
		for r := list.First(); r.Valid(); r = r.Next() {
			if r.Get("id").Is(id) {
				return Root(r), true
			}
		}
		return Value{}, false
	}
	return Value{}, false
}

// conformsTo answers for the base definitions of FHIR, which is a test of the
// type; other profiles need a validator.
func conformsTo(c *invocation, dst []Value) ([]Value, error) {
	v, ok, err := c.input()
	if err != nil {
		return nil, err
	}
	url, ok2, err := c.str(0)
	if err != nil || !ok || !ok2 {
		return dst, err
	}
	name, ok := strings.CutPrefix(url, "http://hl7.org/fhir/StructureDefinition/")
	if !ok || r4.Lookup(name) == nil {
		return nil, errNotOffered
	}
	return append(dst, Bool(v.typ != nil && derives(v.typ, name))), nil
}
