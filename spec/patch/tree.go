package patch

import (
	"github.com/hygeia-health/hygeia/spec/resource"
)

// value is a JSON value that can be changed. It begins as a handle on text and
// is opened, one level at a time, where an operation reaches; what was never
// opened is written as it was read.
type value struct {
	node    resource.Node // the text, while the value is not open
	kind    resource.Kind
	opened  bool
	members []member // of an open object, in their order
	items   []*value // of an open array
}

type member struct {
	name string
	val  *value
}

func newValue(n resource.Node) *value { return &value{node: n, kind: n.Kind()} }

func newObject() *value { return &value{kind: resource.Object, opened: true} }

func newArray(items []*value) *value {
	return &value{kind: resource.Array, opened: true, items: items}
}

var nullText = func() resource.Node {
	var d resource.Doc
	_ = d.Parse([]byte("null"), resource.Options{}) // a constant that parses
	return d.Root()
}()

func newNull() *value { return newValue(nullText) }

// open makes the members or items of v reachable.
func (v *value) open() {
	if v.opened {
		return
	}
	v.opened = true
	switch v.kind {
	case resource.Object:
		v.members = make([]member, 0, v.node.Len()+1)
		for c := range v.node.Children() {
			v.members = append(v.members, member{string(c.Key()), newValue(c)})
		}
	case resource.Array:
		v.items = make([]*value, 0, v.node.Len()+1)
		for c := range v.node.Children() {
			v.items = append(v.items, newValue(c))
		}
	default:
		v.opened = false // a primitive stays its text
	}
}

// index returns the place of a member, or -1. v is open.
func (v *value) index(name string) int {
	for i := range v.members {
		if v.members[i].name == name {
			return i
		}
	}
	return -1
}

// get returns a member, or nil.
func (v *value) get(name string) *value {
	if v == nil || v.kind != resource.Object {
		return nil
	}
	v.open()
	if i := v.index(name); i >= 0 {
		return v.members[i].val
	}
	return nil
}

// set replaces a member where it stands, or adds it at the end.
func (v *value) set(name string, val *value) {
	v.open()
	if i := v.index(name); i >= 0 {
		v.members[i].val = val
		return
	}
	v.members = append(v.members, member{name, val})
}

// remove takes a member out; nothing happens when there is none.
func (v *value) remove(name string) {
	v.open()
	if i := v.index(name); i >= 0 {
		v.members = append(v.members[:i], v.members[i+1:]...)
	}
}

// insert puts an item before item i of an open array.
func (v *value) insert(i int, item *value) {
	v.items = append(v.items, nil)
	copy(v.items[i+1:], v.items[i:])
	v.items[i] = item
}

// removeItem takes item i out of an open array.
func (v *value) removeItem(i int) {
	v.items = append(v.items[:i], v.items[i+1:]...)
}

// append writes the text of v.
func (v *value) append(dst []byte) []byte {
	switch {
	case !v.opened:
		return v.node.AppendCompact(dst)
	case v.kind == resource.Object:
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(resource.AppendString(dst, m.name), ':')
			dst = m.val.append(dst)
		}
		return append(dst, '}')
	}
	dst = append(dst, '[')
	for i, item := range v.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = item.append(dst)
	}
	return append(dst, ']')
}

// text returns the text of the member at a path of names, "" if it is absent.
func (v *value) text(path []string) string {
	for _, name := range path {
		if v = v.get(name); v == nil {
			return ""
		}
	}
	return string(v.append(nil))
}

// clone copies v, so that a change of one is none of the other. Text is shared.
func (v *value) clone() *value {
	c := &value{node: v.node, kind: v.kind, opened: v.opened}
	for _, m := range v.members {
		c.members = append(c.members, member{m.name, m.val.clone()})
	}
	for _, item := range v.items {
		c.items = append(c.items, item.clone())
	}
	return c
}

// budget bounds what the operations of one patch cost together.
type budget struct{ left int }

func (b *budget) spend(n int) *Error {
	if b.left -= n; b.left < 0 {
		return errTooCostly
	}
	return nil
}

// measure returns the size of the text of v, nearly, and how deep it is nested.
func (v *value) measure(b *budget) (size, depth int, err *Error) {
	if err := b.spend(4); err != nil {
		return 0, 0, err
	}
	if !v.opened {
		size, depth = len(v.node.Raw()), nodeDepth(v.node, b)
		return size, depth, b.spend(0)
	}
	size = 2
	child := func(c *value) *Error {
		s, d, err := c.measure(b)
		size += s + 1
		depth = max(depth, d)
		return err
	}
	for _, m := range v.members {
		size += len(m.name) + 3
		if err := child(m.val); err != nil {
			return 0, 0, err
		}
	}
	for _, item := range v.items {
		if err := child(item); err != nil {
			return 0, 0, err
		}
	}
	return size, depth + 1, nil
}

// nodeDepth is the nesting of a value that was parsed: 0 for a primitive.
func nodeDepth(n resource.Node, b *budget) int {
	if n.Kind() != resource.Object && n.Kind() != resource.Array {
		return 0
	}
	b.left -= n.Len()
	if b.left < 0 {
		return 0
	}
	depth := 0
	for c := range n.Children() {
		depth = max(depth, nodeDepth(c, b))
	}
	return depth + 1
}
