package resource

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// Options limits what Parse accepts.
type Options struct {
	MaxDepth int // nesting of objects and arrays; 0 means 100
	MaxNodes int // values in the text; 0 means no limit
}

const (
	defaultDepth = 100
	largestDepth = 10_000 // the scanner recurses; this keeps its stack small
	maxKeyLen    = math.MaxUint16
	mapMembers   = 32 // objects with more members look up duplicates in a map
	keepMap      = 1024
	nodeSize     = 28 // bytes of a node
)

// SyntaxError says where and why a text is not acceptable JSON.
type SyntaxError struct {
	Offset int    // byte offset in the text
	Path   string // location as far as known: "Patient.name[0].given[1]"
	Code   string // FHIR issue type: structure, value or too-costly
	Msg    string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	b := make([]byte, 0, len(e.Msg)+len(e.Path)+24)
	b = append(b, e.Msg...)
	b = append(b, " at byte "...)
	b = appendInt(b, int64(e.Offset))
	if e.Path != "" {
		b = append(append(append(b, " ("...), e.Path...), ')')
	}
	return string(b)
}

// Doc is a parsed JSON text. The zero Doc is empty and ready for Parse. A Doc
// that is parsed again reuses its memory, and every Node taken before is void.
// Reading a Doc is safe from many goroutines, Parse is not.
type Doc struct {
	Src   []byte // the text; must not be changed while the Doc is in use
	nodes []node
	maps  []map[string]struct{} // spare sets for objects with many members
}

// node is one value. The children of i begin at i+1.
type node struct {
	start, end uint32 // extent of the value, strings with their quotes
	key        uint32 // offset of the member name behind its quote
	next       uint32 // index of the next sibling, 0 if none
	n          uint32 // number of children
	up         int32  // index of the parent, -1 for the root
	keyLen     uint16
	kind       Kind
	flags      uint8
}

const (
	flagEscaped    = 1 << iota // the string has escapes
	flagKeyEscaped             // the member name has escapes
	flagSpace                  // the object or array has insignificant white space
	flagMember                 // the value has a member name (which may be empty)
)

// Parse reads one JSON text (RFC 8259) and keeps src. It is stricter than many
// readers: the text must be valid UTF-8 without lone surrogates, an object must
// not name a member twice, and nothing may follow the value. A leading byte
// order mark is skipped. The error is a *SyntaxError; the Doc is then empty.
func (d *Doc) Parse(src []byte, opt Options) error {
	if uint64(len(src)) > math.MaxUint32 {
		d.reset(nil)
		return &SyntaxError{Code: "too-costly", Msg: "the text is larger than 4 GiB"}
	}
	d.reset(src)
	if cap(d.nodes) == 0 {
		d.nodes = make([]node, 0, min(len(src)/20+8, 1<<16))
	}
	p := parser{src: src, d: d, nodes: d.nodes, depth: opt.MaxDepth, limit: opt.MaxNodes}
	if p.depth <= 0 {
		p.depth = defaultDepth
	}
	p.depth = min(p.depth, largestDepth)
	if p.limit <= 0 || p.limit > math.MaxInt32 {
		p.limit = math.MaxInt32
	}
	ok := p.document()
	d.nodes = p.nodes
	if ok {
		return nil
	}
	err := p.err
	if p.at >= 0 && len(d.nodes) > 0 {
		err.Path = Node{d, p.at}.Path()
	}
	if p.atKey != "" {
		err.Path += "." + p.atKey
	}
	d.reset(nil)
	return err
}

// Trim makes d ready to be kept for another Parse: it forgets the text, and its
// memory too when that is more than limit bytes. Every Node taken before is void.
func (d *Doc) Trim(limit int) {
	d.reset(nil)
	if cap(d.nodes)*nodeSize > limit {
		*d = Doc{}
	}
}

func (d *Doc) reset(src []byte) {
	d.Src = src
	d.nodes = d.nodes[:0]
}

// parser is the state of one Parse.
type parser struct {
	src    []byte
	nodes  []node
	d      *Doc
	depth  int // levels that are left
	limit  int
	spaces int // runs of white space seen so far
	at     int32
	atKey  string
	err    *SyntaxError
}

// fail records the error and returns the position that stands for failure.
func (p *parser) fail(pos int, at int32, code, msg string) int {
	p.err = &SyntaxError{Offset: min(pos, len(p.src)), Code: code, Msg: msg}
	p.at = at
	return -1
}

func (p *parser) document() bool {
	pos := 0
	if len(p.src) >= 3 && p.src[0] == 0xEF && p.src[1] == 0xBB && p.src[2] == 0xBF {
		pos = 3
	}
	pos = p.space(pos)
	if pos == len(p.src) {
		p.fail(pos, -1, "structure", "the text is empty")
		return false
	}
	p.nodes = append(p.nodes, node{up: -1})
	if pos = p.value(pos, 0); pos < 0 {
		return false
	}
	if pos = p.space(pos); pos != len(p.src) {
		p.fail(pos, -1, "structure", "something follows the JSON value")
		return false
	}
	return true
}

// space returns the position of the next byte that is not white space.
func (p *parser) space(pos int) int {
	if pos < len(p.src) && p.src[pos] > ' ' {
		return pos
	}
	return p.skip(pos)
}

func (p *parser) skip(pos int) int {
	from := pos
	for pos < len(p.src) && isSpace(p.src[pos]) {
		pos++
	}
	if pos > from {
		p.spaces++
	}
	return pos
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// value reads the value at pos, which is not white space, into node i.
func (p *parser) value(pos int, i int32) int {
	if pos >= len(p.src) {
		return p.fail(pos, i, "structure", "the text ends where a value is expected")
	}
	var end int
	var kind Kind
	var flags uint8
	switch c := p.src[pos]; c {
	case '"':
		kind = String
		end, flags = p.text(pos+1, i)
	case '{':
		return p.object(pos, i)
	case '[':
		return p.array(pos, i)
	case 't':
		kind, end = Bool, p.literal(pos, i, "true")
	case 'f':
		kind, end = Bool, p.literal(pos, i, "false")
	case 'n':
		kind, end = Null, p.literal(pos, i, "null")
	default:
		if c != '-' && (c < '0' || c > '9') {
			return p.fail(pos, i, "structure", "expected a value, found "+show(c))
		}
		kind, end = Number, p.number(pos, i)
	}
	if end < 0 {
		return -1
	}
	n := &p.nodes[i]
	n.start, n.end, n.kind = uint32(pos), uint32(end), kind
	n.flags |= flags
	return end
}

// open begins node i as a container.
func (p *parser) open(pos int, i int32, kind Kind) bool {
	if p.depth == 0 {
		p.fail(pos, i, "too-costly", "objects and arrays are nested too deeply")
		return false
	}
	p.depth--
	n := &p.nodes[i]
	n.start, n.kind = uint32(pos), kind
	return true
}

// close ends node i at the bracket at pos.
func (p *parser) close(pos int, i int32, spaces int) int {
	p.depth++
	n := &p.nodes[i]
	n.end = uint32(pos + 1)
	if p.spaces != spaces {
		n.flags |= flagSpace
	}
	return pos + 1
}

// add appends a child of up behind prev.
func (p *parser) add(pos int, up, prev int32, key, keyLen int, flags uint8) int32 {
	if len(p.nodes) >= p.limit {
		p.fail(pos, up, "too-costly", "the text has too many values")
		return -1
	}
	// Field by field: a composite literal is built apart and copied, which
	// costs a third of the whole scan in stalled loads.
	i := int32(len(p.nodes))
	if len(p.nodes) == cap(p.nodes) {
		p.nodes = slices.Grow(p.nodes, len(p.nodes)/2+1)
	}
	p.nodes = p.nodes[:i+1]
	n := &p.nodes[i]
	n.start, n.end, n.next, n.n = 0, 0, 0, 0
	n.key, n.keyLen, n.kind, n.flags, n.up = uint32(key), uint16(keyLen), Absent, flags, up
	p.nodes[up].n++
	if prev > 0 {
		p.nodes[prev].next = uint32(i)
	}
	return i
}

func (p *parser) array(pos int, i int32) int {
	spaces, prev := p.spaces, int32(0)
	if !p.open(pos, i, Array) {
		return -1
	}
	pos = p.space(pos + 1)
	if pos < len(p.src) && p.src[pos] == ']' {
		return p.close(pos, i, spaces)
	}
	for {
		child := p.add(pos, i, prev, 0, 0, 0)
		if child < 0 {
			return -1
		}
		prev = child
		if pos = p.value(pos, child); pos < 0 {
			return -1
		}
		pos = p.space(pos)
		if pos >= len(p.src) {
			return p.fail(pos, i, "structure", "the text ends inside an array")
		}
		switch p.src[pos] {
		case ',':
			pos = p.space(pos + 1)
		case ']':
			return p.close(pos, i, spaces)
		default:
			return p.fail(pos, i, "structure", "expected , or ] in an array, found "+show(p.src[pos]))
		}
	}
}

func (p *parser) object(pos int, i int32) int {
	spaces := p.spaces
	if !p.open(pos, i, Object) {
		return -1
	}
	pos = p.space(pos + 1)
	if pos < len(p.src) && p.src[pos] == '}' {
		return p.close(pos, i, spaces)
	}
	var names names
	for {
		child, next := p.name(pos, i, &names)
		if next < 0 {
			return -1
		}
		if pos = p.value(next, child); pos < 0 {
			return -1
		}
		pos = p.space(pos)
		if pos >= len(p.src) {
			return p.fail(pos, i, "structure", "the text ends inside an object")
		}
		switch p.src[pos] {
		case ',':
			pos = p.space(pos + 1)
		case '}':
			if names.set != nil {
				p.release(names.set)
			}
			return p.close(pos, i, spaces)
		default:
			return p.fail(pos, i, "structure", "expected , or } in an object, found "+show(p.src[pos]))
		}
	}
}

// name reads a member name and its colon; it returns the new node and the
// position of the value.
func (p *parser) name(pos int, up int32, names *names) (int32, int) {
	if pos >= len(p.src) || p.src[pos] != '"' {
		if pos >= len(p.src) {
			return 0, p.fail(pos, up, "structure", "the text ends inside an object")
		}
		return 0, p.fail(pos, up, "structure", "expected a member name, found "+show(p.src[pos]))
	}
	key := pos + 1
	end, flags := p.text(key, up)
	if end < 0 {
		return 0, -1
	}
	size := end - 1 - key
	if size > maxKeyLen {
		return 0, p.fail(pos, up, "too-costly", "a member name is longer than 65535 bytes")
	}
	if flags != 0 {
		flags = flagKeyEscaped
	}
	if !p.unique(names, key, size, flags, up) {
		return 0, -1
	}
	pos = p.space(end)
	if pos >= len(p.src) || p.src[pos] != ':' {
		return 0, p.fail(pos, up, "structure", "expected : after a member name")
	}
	i := p.add(pos, up, names.prev, key, size, flags|flagMember)
	if i < 0 {
		return 0, -1
	}
	names.prev = i
	names.count++
	return i, p.space(pos + 1)
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// text reads the rest of a string whose opening quote is before pos. It returns
// the position behind the closing quote.
func (p *parser) text(pos int, i int32) (end int, flags uint8) {
	src := p.src
	for {
		// Eight bytes at a time: the lowest flagged byte is a quote, a
		// backslash, a control character or no ASCII. Borrows only reach
		// bytes above a flagged one, so the lowest is exact.
		for pos+8 <= len(src) {
			x := binary.LittleEndian.Uint64(src[pos:])
			m := (x | (x - ' '*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) & tops
			if m != 0 {
				pos += bits.TrailingZeros64(m) >> 3
				if src[pos] == '"' {
					return pos + 1, flags
				}
				break
			}
			pos += 8
		}
		for pos < len(src) && src[pos] < utf8.RuneSelf && src[pos] >= ' ' && src[pos] != '"' && src[pos] != '\\' {
			pos++
		}
		if pos >= len(src) {
			return p.fail(pos, i, "structure", "the text ends inside a string"), 0
		}
		switch c := src[pos]; {
		case c == '"':
			return pos + 1, flags
		case c == '\\':
			flags = flagEscaped
			if pos = p.escape(pos, i); pos < 0 {
				return -1, 0
			}
		case c < ' ':
			return p.fail(pos, i, "value", "a control character inside a string must be escaped"), 0
		default:
			for pos < len(src) && src[pos] >= utf8.RuneSelf {
				r, size := utf8.DecodeRune(src[pos:])
				if r == utf8.RuneError && size <= 1 {
					return p.fail(pos, i, "value", "the text is not valid UTF-8"), 0
				}
				pos += size
			}
		}
	}
}

// escape checks the escape sequence at pos and returns the position behind it.
// A surrogate must be half of a pair.
func (p *parser) escape(pos int, i int32) int {
	if pos+1 >= len(p.src) {
		return p.fail(pos, i, "structure", "the text ends inside a string")
	}
	switch p.src[pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return pos + 2
	case 'u':
	default:
		return p.fail(pos, i, "value", "unknown escape sequence in a string")
	}
	r := hex4(p.src, pos+2)
	switch {
	case r < 0:
		return p.fail(pos, i, "value", "\\u needs four hexadecimal digits")
	case r < 0xD800 || r > 0xDFFF:
		return pos + 6
	case r < 0xDC00 && pos+7 < len(p.src) && p.src[pos+6] == '\\' && p.src[pos+7] == 'u':
		if low := hex4(p.src, pos+8); low >= 0xDC00 && low <= 0xDFFF {
			return pos + 12
		}
	}
	return p.fail(pos, i, "value", "a surrogate in a string is not half of a pair")
}

// hex4 returns the value of four hexadecimal digits, or -1.
func hex4(b []byte, pos int) rune {
	if pos+4 > len(b) {
		return -1
	}
	var r rune
	for _, c := range b[pos : pos+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

func (p *parser) literal(pos int, i int32, word string) int {
	if len(p.src)-pos < len(word) || string(p.src[pos:pos+len(word)]) != word {
		return p.fail(pos, i, "structure", "expected "+word)
	}
	return pos + len(word)
}

// number reads a number by the grammar of RFC 8259 section 6.
func (p *parser) number(pos int, i int32) int {
	src := p.src
	if src[pos] == '-' {
		pos++
	}
	if pos < len(src) && src[pos] == '0' {
		pos++
		if pos < len(src) && src[pos] >= '0' && src[pos] <= '9' {
			return p.fail(pos, i, "value", "a number must not begin with 0")
		}
	} else if pos = p.digits(pos, i); pos < 0 {
		return -1
	}
	if pos < len(src) && src[pos] == '.' {
		if pos = p.digits(pos+1, i); pos < 0 {
			return -1
		}
	}
	if pos < len(src) && src[pos]|0x20 == 'e' {
		pos++
		if pos < len(src) && (src[pos] == '+' || src[pos] == '-') {
			pos++
		}
		return p.digits(pos, i)
	}
	return pos
}

// digits reads one digit or more.
func (p *parser) digits(pos int, i int32) int {
	from := pos
	for pos < len(p.src) && p.src[pos] >= '0' && p.src[pos] <= '9' {
		pos++
	}
	if pos == from {
		return p.fail(pos, i, "value", "a number lacks a digit")
	}
	return pos
}

// show names a byte in a message.
func show(c byte) string {
	if c >= utf8.RuneSelf || c < ' ' {
		const hex = "0123456789abcdef"
		return "byte 0x" + string([]byte{hex[c>>4], hex[c&15]})
	}
	return "'" + string(rune(c)) + "'"
}
