package patch

import (
	"fmt"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// jsonOp is one operation of a JSON Patch (RFC 6902 section 4).
type jsonOp struct {
	op         string
	text       string // the path as written
	path, from pointer
	val        resource.Node
}

// ParseJSON reads a JSON Patch document: an array of operations. The error is
// an *Error.
func ParseJSON(n resource.Node) (*Patch, error) {
	if n.Kind() != resource.Array {
		return nil, problem("structure", "a JSON Patch is an array of operations (RFC 6902), not a %s", n.Kind())
	}
	if n.Len() > maxJSONOps {
		return nil, problem("too-costly", "a JSON Patch may have at most %d operations", maxJSONOps)
	}
	p := &Patch{json: make([]jsonOp, 0, n.Len())}
	for c := range n.Children() {
		op, err := parseJSONOp(c)
		if err != nil {
			err.Index, err.Op, err.Path = len(p.json), op.op, op.text
			return nil, err
		}
		p.json = append(p.json, op)
	}
	return p, nil
}

// parseJSONOp reads one operation. Members that the standard does not name are
// ignored, as section 4 demands.
func parseJSONOp(n resource.Node) (op jsonOp, err *Error) {
	if n.Kind() != resource.Object {
		return op, problem("structure", "an operation is an object, not a %s", n.Kind())
	}
	if op.op, err = textMember(n, "op"); err != nil {
		return op, err
	}
	needsValue, needsFrom := false, false
	switch op.op {
	case "add", "replace", "test":
		needsValue = true
	case "move", "copy":
		needsFrom = true
	case "remove":
	default:
		return op, problem("value", "unknown operation; there are add, remove, replace, move, copy and test")
	}
	if op.text, err = textMember(n, "path"); err != nil {
		return op, err
	}
	if op.path, err = parsePointer(op.text); err != nil {
		return op, err
	}
	if needsFrom {
		from, err := textMember(n, "from")
		if err != nil {
			return op, err
		}
		if op.from, err = parsePointer(from); err != nil {
			err.Msg = "from: " + err.Msg
			return op, err
		}
	}
	if op.val = n.Get("value"); needsValue && !op.val.Valid() {
		return op, problem("required", "%s needs a value", op.op)
	}
	return op, nil
}

// textMember returns a member that must be a string.
func textMember(n resource.Node, name string) (string, *Error) {
	switch m := n.Get(name); m.Kind() {
	case resource.String:
		return m.Text(), nil
	case resource.Absent:
		return "", problem("required", "the operation has no %s", name)
	default:
		return "", problem("structure", "%s must be a string, not a %s", name, m.Kind())
	}
}

// jsonRun is one application of a JSON Patch.
type jsonRun struct {
	root   *value
	opt    *Options
	size   int // of the result, at most
	budget budget
}

func (p *Patch) applyJSON(dst []byte, n resource.Node, opt *Options) ([]byte, error) {
	r := jsonRun{root: newValue(n), opt: opt, size: len(n.Raw()), budget: budget{maxWork}}
	was := fixedOf(opt.Fixed, n)
	typ := n.Get("resourceType").Text()
	for i := range p.json {
		op := &p.json[i]
		err := r.do(op)
		if err == nil && op.op != "test" {
			err = checkFixed(opt.Fixed, r.root.text, was, typ)
		}
		if err != nil {
			e := *err
			e.Index, e.Op, e.Path = i, op.op, op.text
			return dst, &e
		}
	}
	return r.root.append(dst), nil
}

func (r *jsonRun) do(op *jsonOp) *Error {
	switch op.op {
	case "add":
		return r.add(op.path, newValue(op.val))
	case "remove":
		_, err := r.take(op.path)
		return err
	case "replace":
		return r.replace(op.path, newValue(op.val))
	case "move":
		return r.move(op)
	case "copy":
		v, err := op.from.find(r.root)
		if err != nil {
			return inFrom(err)
		}
		if err := r.fits(op.path, v); err != nil {
			return err
		}
		return r.put(op.path, v.clone())
	}
	return r.test(op)
}

// inFrom says that an error is about from.
func inFrom(err *Error) *Error {
	e := *err
	e.Msg = "from: " + e.Msg
	return &e
}

// fits refuses a value that would make the result too large or too deep.
func (r *jsonRun) fits(at pointer, v *value) *Error {
	size, depth, err := v.measure(&r.budget)
	if err != nil {
		return err
	}
	if r.size += size; r.size > r.opt.MaxSize {
		return problem("too-costly", "the result would be larger than %d bytes", r.opt.MaxSize)
	}
	if len(at)+depth > r.opt.MaxDepth {
		return problem("too-costly", "the result would be nested deeper than %d levels", r.opt.MaxDepth)
	}
	return nil
}

// add is RFC 6902 section 4.1: a member is added or replaced, an item inserted.
func (r *jsonRun) add(at pointer, v *value) *Error {
	if err := r.fits(at, v); err != nil {
		return err
	}
	return r.put(at, v)
}

func (r *jsonRun) put(at pointer, v *value) *Error {
	if len(at) == 0 {
		r.root = v
		return nil
	}
	parent, err := at[:len(at)-1].find(r.root)
	if err != nil {
		return err
	}
	token := at[len(at)-1]
	switch parent.kind {
	case resource.Object:
		parent.set(token, v)
		return nil
	case resource.Array:
		parent.open()
		i := arrayIndex(token)
		switch {
		case token == "-":
			i = len(parent.items)
		case i < 0:
			return problem("value", "%q is no index of an array", clip(token))
		case i > len(parent.items):
			return problem("not-found", "the index %d is beyond the end of the array, which has %d items", i, len(parent.items))
		}
		if err := r.budget.spend(1 + (len(parent.items)-i)/8); err != nil {
			return err
		}
		parent.insert(i, v)
		return nil
	}
	return problem("not-found", "%s is a %s and has no members", clip(at[:len(at)-1].String()), parent.kind)
}

// replace is RFC 6902 section 4.3: what is replaced must be there.
func (r *jsonRun) replace(at pointer, v *value) *Error {
	if err := r.fits(at, v); err != nil {
		return err
	}
	old, err := at.find(r.root)
	if err != nil {
		return err
	}
	*old = *v
	return nil
}

// take removes and returns the value at a pointer (RFC 6902 section 4.2).
func (r *jsonRun) take(at pointer) (*value, *Error) {
	if len(at) == 0 {
		return nil, problem("value", "the whole resource cannot be removed or moved")
	}
	parent, err := at[:len(at)-1].find(r.root)
	if err != nil {
		return nil, err
	}
	token := at[len(at)-1]
	v, err := step(parent, token, at)
	if err != nil {
		return nil, err
	}
	if parent.kind == resource.Object {
		parent.remove(token)
		return v, nil
	}
	i := arrayIndex(token)
	if err := r.budget.spend(1 + (len(parent.items)-i)/8); err != nil {
		return nil, err
	}
	parent.removeItem(i)
	return v, nil
}

// move is RFC 6902 section 4.4: remove, then add.
func (r *jsonRun) move(op *jsonOp) *Error {
	if op.from.above(op.path) {
		if len(op.from) == len(op.path) {
			_, err := op.from.find(r.root) // nothing to do, but it must be there
			return err
		}
		return problem("value", "a value cannot be moved into itself")
	}
	v, err := op.from.find(r.root)
	if err != nil {
		return inFrom(err)
	}
	size := r.size
	if err := r.fits(op.path, v); err != nil {
		return err
	}
	r.size = size // nothing was added
	if v, err = r.take(op.from); err != nil {
		return inFrom(err)
	}
	return r.put(op.path, v)
}

// test is RFC 6902 section 4.6.
func (r *jsonRun) test(op *jsonOp) *Error {
	v, err := op.path.find(r.root)
	if err != nil {
		return err
	}
	same, err := equal(v, newValue(op.val), &r.budget)
	if err == nil && !same {
		err = &Error{Code: "processing", Msg: fmt.Sprintf("the test failed: the value is not the one that is expected (a %s)", op.val.Kind())}
	}
	return err
}
