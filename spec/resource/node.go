package resource

import (
	"bytes"
	"iter"
	"strconv"
)

// Kind is the JSON type of a value.
type Kind uint8

// The kinds. Absent is the kind of the zero Node.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// String returns the name of the kind in lower case.
func (k Kind) String() string {
	names := [...]string{"absent", "null", "boolean", "number", "string", "array", "object"}
	if int(k) < len(names) {
		return names[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Node is a handle on one value of a Doc. The zero Node is absent; every method
// is safe on it.
type Node struct {
	d *Doc
	i int32
}

// Root returns the value of the text; it is absent when nothing was parsed.
func (d *Doc) Root() Node {
	if len(d.nodes) == 0 {
		return Node{}
	}
	return Node{d, 0}
}

// Len returns the number of values in the text.
func (d *Doc) Len() int { return len(d.nodes) }

func (n Node) node() *node { return &n.d.nodes[n.i] }

// Valid reports whether there is a value.
func (n Node) Valid() bool { return n.d != nil }

// Doc returns the Doc that n belongs to, nil when n is absent.
func (n Node) Doc() *Doc { return n.d }

// Index returns the position of n in the order of the text, the root being 0.
func (n Node) Index() int { return int(n.i) }

// Kind returns the JSON type.
func (n Node) Kind() Kind {
	if n.d == nil {
		return Absent
	}
	return n.node().kind
}

// Offsets returns the extent of the value in the text. A string includes its quotes.
func (n Node) Offsets() (start, end int) {
	if n.d == nil {
		return 0, 0
	}
	v := n.node()
	return int(v.start), int(v.end)
}

// Raw returns the text of the value as it is in the source.
func (n Node) Raw() []byte {
	if n.d == nil {
		return nil
	}
	v := n.node()
	return n.d.Src[v.start:v.end:v.end]
}

// Key returns the member name without quotes, unescaped. It is nil for array
// items and for the root.
func (n Node) Key() []byte {
	if n.d == nil {
		return nil
	}
	v := n.node()
	if v.flags&(flagMember|flagKeyEscaped) == flagMember {
		end := v.key + uint32(v.keyLen)
		return n.d.Src[v.key:end:end]
	}
	if v.flags&flagMember == 0 {
		return nil
	}
	return unescape(make([]byte, 0, v.keyLen), n.rawKey())
}

// rawKey returns the member name as written, without quotes.
func (n Node) rawKey() []byte {
	v := n.node()
	return n.d.Src[v.key : v.key+uint32(v.keyLen)]
}

// KeyIs reports whether the member name is name.
func (n Node) KeyIs(name string) bool {
	if n.d == nil {
		return false
	}
	v := n.node()
	switch v.flags & (flagMember | flagKeyEscaped) {
	case flagMember:
		return int(v.keyLen) == len(name) && string(n.d.Src[v.key:v.key+uint32(v.keyLen)]) == name
	case flagMember | flagKeyEscaped:
		return string(n.Key()) == name
	}
	return false
}

// Is reports whether n is the string s.
func (n Node) Is(s string) bool {
	if n.Kind() != String {
		return false
	}
	return string(n.Bytes()) == s
}

// Len returns the number of members or items.
func (n Node) Len() int {
	if n.d == nil {
		return 0
	}
	return int(n.node().n)
}

// First returns the first member or item.
func (n Node) First() Node {
	if n.d == nil || n.node().n == 0 {
		return Node{}
	}
	return Node{n.d, n.i + 1}
}

// Next returns the next member or item of the same parent.
func (n Node) Next() Node {
	if n.d == nil {
		return Node{}
	}
	next := n.node().next
	if next == 0 {
		return Node{}
	}
	return Node{n.d, int32(next)}
}

// Parent returns the object or array that n is in; it is absent for the root.
func (n Node) Parent() Node {
	if n.d == nil {
		return Node{}
	}
	up := n.node().up
	if up < 0 {
		return Node{}
	}
	return Node{n.d, up}
}

// Children iterates over members or items in their order.
func (n Node) Children() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		for c := n.First(); c.Valid(); c = c.Next() {
			if !yield(c) {
				return
			}
		}
	}
}

// Get returns the member of that name; it is absent when n is no object or has no such member.
func (n Node) Get(name string) Node {
	if n.Kind() != Object {
		return Node{}
	}
	for c := n.First(); c.Valid(); c = c.Next() {
		if c.KeyIs(name) {
			return c
		}
	}
	return Node{}
}

// At returns item i of an array; it is absent when n is no array or too short.
func (n Node) At(i int) Node {
	if n.Kind() != Array || i < 0 || i >= n.Len() {
		return Node{}
	}
	c := n.First()
	for ; i > 0; i-- {
		c = c.Next()
	}
	return c
}

// Bytes returns a string unescaped, a number or boolean as written, and nil for
// everything else. It allocates only when there are escapes; the result must
// not be changed.
func (n Node) Bytes() []byte {
	switch n.Kind() {
	case String:
		v := n.node()
		b := n.d.Src[v.start+1 : v.end-1 : v.end-1]
		if v.flags&flagEscaped != 0 {
			return unescape(make([]byte, 0, len(b)), b)
		}
		return b
	case Number, Bool:
		return n.Raw()
	}
	return nil
}

// Text returns Bytes as a string.
func (n Node) Text() string { return string(n.Bytes()) }

// Bool reports whether n is the literal true.
func (n Node) Bool() bool { return n.Kind() == Bool && n.d.Src[n.node().start] == 't' }

// Path returns the location in the notation of FHIRPath, beginning with the
// resourceType of the root, or with $this when it has none:
// "Patient.name[0].given[1]", "Bundle.entry[0].resource.name[0]".
func (n Node) Path() string {
	if n.d == nil {
		return ""
	}
	return string(n.AppendPath(nil))
}

// AppendPath appends Path to dst.
func (n Node) AppendPath(dst []byte) []byte {
	if n.d == nil {
		return dst
	}
	up := n.Parent()
	if !up.Valid() {
		if t := n.Get("resourceType"); t.Kind() == String && t.node().end > 0 && t.Len() == 0 {
			if name := t.Bytes(); isTypeName(name) {
				return append(dst, name...)
			}
		}
		return append(dst, "$this"...)
	}
	dst = up.AppendPath(dst)
	if n.node().flags&flagMember != 0 {
		return append(append(dst, '.'), n.Key()...)
	}
	index := int64(0)
	for c := up.First(); c.Valid() && c.i != n.i; c = c.Next() {
		index++
	}
	return append(appendInt(append(dst, '['), index), ']')
}

// isTypeName reports whether b may be the name of a resource type, so that a
// location never begins with arbitrary text.
func isTypeName(b []byte) bool {
	if len(b) == 0 || len(b) > 64 || b[0] < 'A' || b[0] > 'Z' {
		return false
	}
	return bytes.IndexFunc(b, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }
