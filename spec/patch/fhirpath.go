package patch

import (
	"errors"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/fhirpath"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// fhirOp is one operation of a FHIRPath Patch.
type fhirOp struct {
	kind string
	path string
	expr *fhirpath.Expr
	name string
	val  operand
	num  map[string]int // index, source, destination
	at   string
}

// kinds are the operations with the parts that each must have, and no others.
var kinds = map[string][]string{
	"add":     {"path", "name", "value"},
	"insert":  {"path", "index", "value"},
	"delete":  {"path"},
	"replace": {"path", "value"},
	"move":    {"path", "source", "destination"},
	"upsert":  {"path", "name", "value"},
}

// ParseFHIRPath reads a Parameters resource with the operations of a FHIRPath
// Patch. The error is an *Error.
func ParseFHIRPath(n resource.Node) (*Patch, error) {
	if !n.Get("resourceType").Is("Parameters") {
		return nil, problem("invalid", "a FHIRPath Patch is a Parameters resource")
	}
	for c := range n.Children() {
		switch string(c.Key()) {
		case "resourceType", "id", "meta", "parameter", "language", "_language", "_id":
		default:
			return nil, problem("invalid", "a FHIRPath Patch cannot have the element %q", clip(string(c.Key())))
		}
	}
	list := n.Get("parameter")
	if list.Len() > maxFHIROps {
		return nil, problem("too-costly", "a FHIRPath Patch may have at most %d operations", maxFHIROps)
	}
	p := &Patch{fhir: make([]fhirOp, 0, list.Len())}
	for c := range list.Children() {
		op := fhirOp{at: "Parameters.parameter[" + strconv.Itoa(len(p.fhir)) + "]"}
		if err := op.parse(c); err != nil {
			e := *err
			e.Index, e.Op, e.Path, e.At = len(p.fhir), op.kind, op.path, op.at
			return nil, &e
		}
		p.fhir = append(p.fhir, op)
	}
	return p, nil
}

// parse reads one operation.
func (op *fhirOp) parse(n resource.Node) *Error {
	if name := n.Get("name"); !name.Is("operation") {
		return problem("value", "each parameter of a FHIRPath Patch is named operation, not %q", clip(name.Text()))
	}
	parts := map[string]operand{}
	for part := range n.Get("part").Children() {
		name := part.Get("name").Text()
		if _, ok := parts[name]; ok {
			return problem("structure", "the part %q is there twice", clip(name))
		}
		o, err := parseOperand(part)
		if err != nil {
			return inPart(err, name)
		}
		parts[name] = o
	}
	typ, ok := parts["type"]
	if !ok {
		return problem("required", "the part type is missing")
	}
	if op.kind, ok = typ.text(); !ok {
		return problem("value", "the part type must be a code")
	}
	needs, ok := kinds[op.kind]
	if !ok {
		return problem("value", "unknown operation; there are add, insert, delete, replace, move and upsert")
	}
	for _, name := range needs {
		if _, ok := parts[name]; !ok {
			return problem("required", "%s needs the part %s", op.kind, name)
		}
	}
	if len(parts) > len(needs)+1 {
		for name := range parts {
			if name != "type" && !strings.Contains(" "+strings.Join(needs, " ")+" ", " "+name+" ") {
				return problem("invalid", "%s has no use for the part %q", op.kind, clip(name))
			}
		}
	}
	return op.read(parts)
}

// read takes the parts that the operation needs.
func (op *fhirOp) read(parts map[string]operand) *Error {
	path := parts["path"]
	var ok bool
	if op.path, ok = path.text(); !ok {
		return problem("value", "the part path must be a string")
	}
	var err error
	if op.expr, err = fhirpath.Compile(op.path); err != nil {
		if se, ok := errors.AsType[*fhirpath.SyntaxError](err); ok {
			return problem("value", "the path is not a FHIRPath expression: %s (at character %d)", se.Msg, se.Offset+1)
		}
		return problem("value", "the path is not a FHIRPath expression")
	}
	if name, has := parts["name"]; has {
		if op.name, ok = name.text(); !ok || op.name == "" {
			return problem("value", "the part name must be a string")
		}
	}
	op.val = parts["value"]
	op.num = map[string]int{}
	for _, name := range []string{"index", "source", "destination"} {
		o, has := parts[name]
		if !has {
			continue
		}
		i, err := strconv.Atoi(string(o.val.Raw()))
		if err != nil || i < 0 {
			return problem("value", "the part %s must be an integer from 0", name)
		}
		op.num[name] = i
	}
	return nil
}

// fhirRun is one operation on its way. The tree is made anew for each, because
// a path of the next one is evaluated on text that was parsed.
type fhirRun struct {
	root   resource.Node
	tree   *value
	opt    *Options
	budget *budget
	steps  int // of one evaluation
}

func (p *Patch) applyFHIR(dst []byte, n resource.Node, opt *Options) ([]byte, error) {
	b := budget{maxWork}
	was := fixedOf(opt.Fixed, n)
	typ := n.Get("resourceType").Text()
	var docs [2]resource.Doc
	for i := range p.fhir {
		op := &p.fhir[i]
		r := fhirRun{root: n, tree: newValue(n), opt: opt, budget: &b, steps: min(maxSteps/len(p.fhir), 200_000)}
		err := r.do(op)
		if err == nil {
			err = checkFixed(opt.Fixed, r.tree.text, was, typ)
		}
		if err == nil {
			n, err = r.settle(&docs[i%2])
		}
		if err != nil {
			e := *err
			e.Index, e.Op, e.Path = i, op.kind, op.path
			if e.At == "" {
				e.At = op.at
			}
			return dst, &e
		}
	}
	return n.AppendCompact(dst), nil
}

// settle writes the tree and reads it again, for the next path.
func (r *fhirRun) settle(d *resource.Doc) (resource.Node, *Error) {
	text := r.tree.append(nil)
	if len(text) > r.opt.MaxSize {
		return resource.Node{}, problem("too-costly", "the result would be larger than %d bytes", r.opt.MaxSize)
	}
	if err := r.budget.spend(1 + len(text)/16); err != nil {
		return resource.Node{}, err
	}
	err := d.Parse(text, resource.Options{MaxDepth: r.opt.MaxDepth})
	if se, ok := errors.AsType[*resource.SyntaxError](err); ok {
		return resource.Node{}, problem(se.Code, "the result cannot be kept: %s", se.Msg)
	}
	return d.Root(), nil
}

func (r *fhirRun) do(op *fhirOp) *Error {
	switch op.kind {
	case "add":
		return r.add(op, false)
	case "upsert":
		return r.add(op, true)
	case "insert", "move":
		return r.list(op)
	case "delete":
		return r.delete(op)
	}
	return r.replace(op)
}

// eval evaluates a path on the resource. All results are elements of it.
func (r *fhirRun) eval(x *fhirpath.Expr) ([]fhirpath.Value, *Error) {
	found, err := x.Eval(r.root, &fhirpath.Env{Resource: r.root, MaxSteps: r.steps})
	if errors.Is(err, fhirpath.ErrTooCostly) {
		return nil, errTooCostly
	}
	if ee, ok := errors.AsType[*fhirpath.EvalError](err); ok {
		return nil, problem("processing", "the path cannot be evaluated: %s", ee.Msg)
	}
	if err != nil {
		return nil, problem("processing", "the path cannot be evaluated")
	}
	for _, v := range found {
		if n := nodeOf(v); !v.IsNode() || n.Doc() != r.root.Doc() {
			return nil, problem("processing", "the path must lead to elements of the resource, not to computed values")
		}
	}
	return found, nil
}

// nodeOf returns the node that stands for v: its value, or what is beside a
// primitive without one.
func nodeOf(v fhirpath.Value) resource.Node {
	if n := v.Node(); n.Valid() {
		return n
	}
	return v.Extras()
}

// one evaluates a path that must lead to one element.
func (r *fhirRun) one(x *fhirpath.Expr) (fhirpath.Value, *Error) {
	found, err := r.eval(x)
	switch {
	case err != nil:
		return fhirpath.Value{}, err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return fhirpath.Value{}, problem("processing", "the path leads to %d elements; it must lead to one", len(found))
	}
	if err := r.misnamed(x); err != nil {
		return fhirpath.Value{}, err
	}
	return fhirpath.Value{}, problem("not-found", "the path leads to no element")
}

// misnamed explains a path that leads to nothing because a name in it is no
// element of its type, which must not look like an element that is not there.
func (r *fhirRun) misnamed(x *fhirpath.Expr) *Error {
	if name, ok := x.TypeName(); ok {
		return problem("invalid", "the resource is no %s", clip(name))
	}
	before, name, ok := x.Last()
	if !ok {
		return nil
	}
	owners, err := r.eval(before)
	if err != nil {
		return err
	}
	if len(owners) == 0 {
		return r.misnamed(before)
	}
	for _, o := range owners {
		t := o.FHIRType()
		if t == nil || elementNamed(objectType(t), name) != nil {
			return nil
		}
	}
	return noElement(owners[0].FHIRType(), name)
}

// objectType is the type whose elements a value has: a primitive has those of Element.
func objectType(t *r4.Type) *r4.Type {
	if t.Kind == r4.Primitive {
		return r4.Lookup("Element")
	}
	return t
}

// at returns the tree behind a node of the text.
func (r *fhirRun) at(n resource.Node) *value {
	up := n.Parent()
	if !up.Valid() {
		return r.tree
	}
	v := r.at(up)
	v.open()
	i := positionIn(up, n)
	if v.kind == resource.Array {
		return v.items[i]
	}
	return v.members[i].val
}

// object returns the object with the elements of v, which for a primitive is
// that of _name; it is made if it is missing.
func (r *fhirRun) object(v fhirpath.Value) (*value, *r4.Type, *Error) {
	t := v.FHIRType()
	if t == nil {
		return nil, nil, problem("invalid", "the type of the element is not known")
	}
	if t.Kind != r4.Primitive {
		return r.at(v.Node()), t, nil
	}
	if v.Extras().Valid() {
		return r.at(v.Extras()), objectType(t), nil
	}
	p, ok := locate(v.Node())
	if !ok {
		return nil, nil, problem("invalid", "the type of the element is not known")
	}
	owner := r.at(p.owner)
	pairs, err := pairsOf(owner, p.el, p.ref)
	if err != nil {
		return nil, nil, err
	}
	obj := newObject()
	pairs[p.index].ext = obj
	writePairs(owner, p.el, p.ref, p.ref, pairs)
	return obj, objectType(t), nil
}

// fits refuses a value that would nest the result too deeply.
func (r *fhirRun) fits(at fhirpath.Value, p pair) *Error {
	levels := 2 // the list, and the object of a primitive
	for n := nodeOf(at); n.Valid(); n = n.Parent() {
		levels++
	}
	for _, v := range []*value{p.val, p.ext} {
		if v == nil {
			continue
		}
		_, depth, err := v.measure(r.budget)
		if err != nil {
			return err
		}
		if levels+depth > r.opt.MaxDepth {
			return problem("too-costly", "the result would be nested deeper than %d levels", r.opt.MaxDepth)
		}
	}
	return nil
}

// add appends to a list, or sets an element that is not there. As an upsert it
// replaces the one that is.
func (r *fhirRun) add(op *fhirOp, upsert bool) *Error {
	at, err := r.one(op.expr)
	if err != nil {
		return err
	}
	owner, t, err := r.object(at)
	if err != nil {
		return err
	}
	el := elementNamed(t, op.name)
	if el == nil {
		return noElement(t, op.name)
	}
	ref, p, err := op.val.build(el)
	if err != nil {
		return err
	}
	if err := r.fits(at, p); err != nil {
		return err
	}
	was := present(owner, el)
	list, err := pairsOf(owner, el, orRef(was, ref))
	switch {
	case err != nil:
		return err
	case upsert && len(list) > 1:
		return problem("processing", "there are %d elements %s; upsert replaces one", len(list), el.Path)
	case upsert && len(list) == 1:
		list[0] = p
	case was != nil && !el.Many():
		return problem("invalid", "%s is there already and may appear once only; use replace", el.Path)
	default:
		list = append(list, p)
	}
	writePairs(owner, el, was, ref, list)
	return nil
}

func orRef(a, b *r4.TypeRef) *r4.TypeRef {
	if a != nil {
		return a
	}
	return b
}

// list does insert and move, whose path names a whole list: it ends with the name
// of an element, so that an index can mean nothing else and a list may be empty.
func (r *fhirRun) list(op *fhirOp) *Error {
	before, name, ok := op.expr.Last()
	if !ok {
		return problem("value", "the path of %s must end with the name of a list, such as Patient.name", op.kind)
	}
	at, err := r.one(before)
	if err != nil {
		return err
	}
	owner, t, err := r.object(at)
	if err != nil {
		return err
	}
	el := elementNamed(t, name)
	switch {
	case el == nil:
		return noElement(t, name)
	case !el.Many() || len(el.Types) != 1:
		return problem("invalid", "%s is no list", el.Path)
	}
	was := present(owner, el)
	pairs, err := pairsOf(owner, el, &el.Types[0])
	if err != nil {
		return err
	}
	if op.kind == "move" {
		pairs, err = moved(pairs, op.num["source"], op.num["destination"])
	} else {
		pairs, err = r.inserted(op, at, el, pairs)
	}
	if err != nil {
		return err
	}
	writePairs(owner, el, was, &el.Types[0], pairs)
	return nil
}

// inserted puts the value of the operation before item index.
func (r *fhirRun) inserted(op *fhirOp, at fhirpath.Value, el *r4.Element, pairs []pair) ([]pair, *Error) {
	i := op.num["index"]
	if i > len(pairs) {
		return nil, problem("value", "the index %d is beyond the end of the list, which has %d elements", i, len(pairs))
	}
	_, p, err := op.val.build(el)
	if err != nil {
		return nil, err
	}
	if err := r.fits(at, p); err != nil {
		return nil, err
	}
	pairs = append(pairs, pair{})
	copy(pairs[i+1:], pairs[i:])
	pairs[i] = p
	return pairs, nil
}

// moved takes element from out and puts it where it has index to.
func moved(pairs []pair, from, to int) ([]pair, *Error) {
	for _, end := range []struct {
		name string
		i    int
	}{{"source", from}, {"destination", to}} {
		if end.i >= len(pairs) {
			return nil, problem("value", "the %s %d is beyond the end of the list, which has %d elements", end.name, end.i, len(pairs))
		}
	}
	p := pairs[from]
	if from < to {
		copy(pairs[from:to], pairs[from+1:to+1])
	} else {
		copy(pairs[to+1:from+1], pairs[to:from])
	}
	pairs[to] = p
	return pairs, nil
}

// delete removes an element; one that is not there is no error, but one that
// cannot be there is.
func (r *fhirRun) delete(op *fhirOp) *Error {
	found, err := r.eval(op.expr)
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return r.misnamed(op.expr)
	case len(found) > 1:
		return problem("processing", "the path leads to %d elements; only a single one can be deleted", len(found))
	}
	p, err := placeOf(found[0])
	if err != nil {
		return err
	}
	return r.remove(p, false)
}

// placeOf locates an element that is not the resource itself.
func placeOf(v fhirpath.Value) (place, *Error) {
	n := nodeOf(v)
	if !n.Parent().Valid() {
		return place{}, problem("invalid", "the path leads to the resource itself")
	}
	p, ok := locate(n)
	if !ok {
		return p, problem("invalid", "the type of the element is not known")
	}
	return p, nil
}

// remove takes an element out, or only what is beside its value, and then every
// parent that would be empty: an element must not be (R4 section 2.24.0, ele-1).
func (r *fhirRun) remove(p place, extra bool) *Error {
	owner := r.at(p.owner)
	pairs, err := pairsOf(owner, p.el, p.ref)
	if err != nil {
		return err
	}
	if p.index >= len(pairs) {
		return problem("not-found", "the path leads to no element")
	}
	if pairs[p.index].ext = nil; !extra {
		pairs[p.index].val = nil
	}
	if pairs[p.index].empty() {
		pairs = append(pairs[:p.index], pairs[p.index+1:]...)
	}
	writePairs(owner, p.el, p.ref, p.ref, pairs)
	if len(owner.members) > 0 || !p.owner.Parent().Valid() {
		return nil
	}
	up, ok := locate(p.owner)
	if !ok {
		return problem("invalid", "the type of the element is not known")
	}
	return r.remove(up, up.sibling)
}

// replace puts a value in the place of one element. A choice may change its type.
func (r *fhirRun) replace(op *fhirOp) *Error {
	at, err := r.one(op.expr)
	if err != nil {
		return err
	}
	p, err := placeOf(at)
	if err != nil {
		return err
	}
	ref, val, err := op.val.build(p.el)
	if err != nil {
		return err
	}
	if err := r.fits(at, val); err != nil {
		return err
	}
	owner := r.at(p.owner)
	pairs, err := pairsOf(owner, p.el, p.ref)
	if err != nil {
		return err
	}
	if p.index >= len(pairs) {
		return problem("not-found", "the path leads to no element")
	}
	pairs[p.index] = val
	writePairs(owner, p.el, p.ref, ref, pairs)
	return nil
}
