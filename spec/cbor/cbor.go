// Package cbor turns CBOR (RFC 8949) into JSON text, as section 6.1 advises: byte
// strings become base64url without padding, or what a tag expects (21 to 23), numbers
// that no JSON number can be become null, bignums become numbers with all their
// digits, and tags whose meaning JSON has no place for leave their content. Keys of
// maps are texts; integers as keys become texts.
package cbor

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep items may lie in each other.
const maxDepth = 64

// Looks reports whether a text may be a map, or anything that says of itself that
// it is CBOR (tag 55799, section 3.4.6). No JSON text begins so.
func Looks(data []byte) bool {
	if len(data) >= 3 && data[0] == 0xd9 && data[1] == 0xd9 && data[2] == 0xf7 {
		return true
	}
	return len(data) > 0 && data[0]>>5 == typeMap
}

// AppendJSON appends the first item of data as JSON and returns what follows it,
// which is the next item of a CBOR sequence (RFC 8742).
func AppendJSON(dst, data []byte) (out, rest []byte, err error) {
	d := decoder{out: dst, in: data}
	if err := d.item(0, base64url); err != nil {
		return dst, data, fmt.Errorf("byte %d: %w", len(data)-len(d.in), err)
	}
	return d.out, d.in, nil
}

// The major types (section 3.1).
const (
	typeUint = iota
	typeNegative
	typeBytes
	typeText
	typeArray
	typeMap
	typeTag
	typeSimple
)

// encoding is how byte strings are shown (section 3.4.5.2).
type encoding uint8

const (
	base64url encoding = iota
	base64std
	base16
)

var (
	errEnd   = errors.New("the item is not complete")
	errBreak = errors.New("a break without anything that it ends")
)

type decoder struct {
	out []byte
	in  []byte
}

// head reads the beginning of an item. more says that its length is indefinite.
func (d *decoder) head() (typ byte, arg uint64, more bool, info byte, err error) {
	if len(d.in) == 0 {
		return 0, 0, false, 0, errEnd
	}
	typ, info = d.in[0]>>5, d.in[0]&0x1f
	n := 0
	switch {
	case info < 24:
		arg = uint64(info)
	case info < 28:
		n = 1 << (info - 24)
	case info == 31 && typ >= typeBytes && typ != typeTag:
		more = true
	default:
		return 0, 0, false, 0, fmt.Errorf("0x%02x begins no item", d.in[0])
	}
	if len(d.in) < 1+n {
		return 0, 0, false, 0, errEnd
	}
	var buf [8]byte
	copy(buf[8-n:], d.in[1:1+n])
	if n > 0 {
		arg = binary.BigEndian.Uint64(buf[:])
	}
	d.in = d.in[1+n:]
	return typ, arg, more, info, nil
}

func (d *decoder) item(depth int, enc encoding) error {
	if depth > maxDepth {
		return fmt.Errorf("items lie in each other more than %d deep", maxDepth)
	}
	typ, arg, more, info, err := d.head()
	if err != nil {
		return err
	}
	switch typ {
	case typeUint:
		d.out = strconv.AppendUint(d.out, arg, 10)
	case typeNegative:
		d.out = negative(d.out, arg)
	case typeBytes:
		b, err := d.chunks(typ, arg, more)
		if err != nil {
			return err
		}
		d.bytes(b, enc)
	case typeText:
		return d.text(arg, more)
	case typeArray:
		return d.list('[', ']', arg, more, func() error { return d.item(depth+1, enc) })
	case typeMap:
		return d.object(depth, arg, more, enc)
	case typeTag:
		return d.tagged(depth, arg, enc)
	default:
		return d.simple(arg, more, info)
	}
	return nil
}

// negative appends -1 - n.
func negative(dst []byte, n uint64) []byte {
	if n == math.MaxUint64 {
		return append(dst, "-18446744073709551616"...)
	}
	return strconv.AppendUint(append(dst, '-'), n+1, 10)
}

// take returns the next n bytes.
func (d *decoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.in)) {
		return nil, errEnd
	}
	b := d.in[:n]
	d.in = d.in[n:]
	return b, nil
}

// atBreak passes over the end of an item of indefinite length, if it is here.
func (d *decoder) atBreak() bool {
	if len(d.in) > 0 && d.in[0] == 0xff {
		d.in = d.in[1:]
		return true
	}
	return false
}

// chunks returns the content of a string.
func (d *decoder) chunks(typ byte, n uint64, more bool) ([]byte, error) {
	if !more {
		return d.take(n)
	}
	var all []byte
	for !d.atBreak() {
		t, n, again, _, err := d.head()
		if err != nil {
			return nil, err
		}
		if t != typ || again {
			return nil, errors.New("a string has parts of another kind")
		}
		part, err := d.take(n)
		if err != nil {
			return nil, err
		}
		if typ == typeText && !utf8.Valid(part) {
			return nil, errors.New("a text is not UTF-8")
		}
		all = append(all, part...)
	}
	return all, nil
}

func (d *decoder) bytes(b []byte, enc encoding) {
	d.out = append(d.out, '"')
	switch enc {
	case base64std:
		d.out = base64.StdEncoding.AppendEncode(d.out, b)
	case base16:
		d.out = hex.AppendEncode(d.out, b)
	default:
		d.out = base64.RawURLEncoding.AppendEncode(d.out, b)
	}
	d.out = append(d.out, '"')
}

func (d *decoder) text(n uint64, more bool) error {
	b, err := d.chunks(typeText, n, more)
	if err != nil {
		return err
	}
	if !utf8.Valid(b) {
		return errors.New("a text is not UTF-8")
	}
	quoted, err := json.Marshal(string(b))
	d.out = append(d.out, quoted...)
	return err
}

// list reads n items, or those up to a break, between two brackets.
func (d *decoder) list(open, end byte, n uint64, more bool, one func() error) error {
	if !more && n > uint64(len(d.in)) {
		return errEnd // each item has a byte at least
	}
	d.out = append(d.out, open)
	for i := uint64(0); more || i < n; i++ {
		if more && d.atBreak() {
			break
		}
		if i > 0 {
			d.out = append(d.out, ',')
		}
		if err := one(); err != nil {
			return err
		}
	}
	d.out = append(d.out, end)
	return nil
}

func (d *decoder) object(depth int, n uint64, more bool, enc encoding) error {
	seen := map[string]bool{}
	return d.list('{', '}', n, more, func() error {
		at := len(d.out)
		if err := d.key(); err != nil {
			return err
		}
		key := string(d.out[at:])
		if seen[key] {
			return fmt.Errorf("the key %.80s is there twice", key)
		}
		seen[key] = true
		d.out = append(d.out, ':')
		return d.item(depth+1, enc)
	})
}

func (d *decoder) key() error {
	typ, arg, more, _, err := d.head()
	if err != nil {
		return err
	}
	switch typ {
	case typeText:
		return d.text(arg, more)
	case typeUint:
		d.out = append(strconv.AppendUint(append(d.out, '"'), arg, 10), '"')
	case typeNegative:
		d.out = append(negative(append(d.out, '"'), arg), '"')
	default:
		return errors.New("the key of a map is neither text nor integer")
	}
	return nil
}

// tagged reads the content of a tag.
func (d *decoder) tagged(depth int, tag uint64, enc encoding) error {
	switch tag {
	case 2, 3:
		return d.bignum(tag == 3)
	case 21:
		enc = base64url
	case 22:
		enc = base64std
	case 23:
		enc = base16
	}
	return d.item(depth+1, enc)
}

// maxBignum is how many bytes a bignum may have: turning it into digits takes
// time that grows with the square.
const maxBignum = 1024

func (d *decoder) bignum(below bool) error {
	typ, arg, more, _, err := d.head()
	if err != nil {
		return err
	}
	if typ != typeBytes {
		return errors.New("a bignum is no byte string")
	}
	b, err := d.chunks(typ, arg, more)
	if err != nil {
		return err
	}
	if len(b) > maxBignum {
		return fmt.Errorf("a bignum has more than %d bytes", maxBignum)
	}
	n := new(big.Int).SetBytes(b)
	if below {
		n.Not(n) // -1 - n
	}
	d.out = n.Append(d.out, 10)
	return nil
}

// simple reads what major type 7 has: floats, truth values, and a break too many.
func (d *decoder) simple(arg uint64, more bool, info byte) error {
	var f float64
	switch {
	case more:
		return errBreak
	case info == 25:
		f = half(uint16(arg))
	case info == 26:
		f = float64(math.Float32frombits(uint32(arg)))
	case info == 27:
		f = math.Float64frombits(arg)
	case info == 24 && arg < 32:
		return errors.New("a simple value is longer than it has to be")
	case arg == 20:
		d.out = append(d.out, "false"...)
		return nil
	case arg == 21:
		d.out = append(d.out, "true"...)
		return nil
	default: // null, undefined, and those without a meaning
		d.out = append(d.out, "null"...)
		return nil
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		d.out = append(d.out, "null"...)
		return nil
	}
	size := 64
	if info == 26 {
		size = 32 // the shortest text that is this number
	}
	text, err := json.Marshal(f)
	if size == 32 {
		text, err = json.Marshal(math.Float32frombits(uint32(arg)))
	}
	d.out = append(d.out, text...)
	return err
}

// half decodes a half-precision float (Appendix D).
func half(v uint16) float64 {
	exp, mant := int(v>>10&0x1f), float64(v&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		if f = math.Inf(1); mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if v&0x8000 != 0 {
		f = -f
	}
	return f
}
