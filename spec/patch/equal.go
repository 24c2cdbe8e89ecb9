package patch

import (
	"bytes"
	"strconv"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// equal compares two JSON values as RFC 6902 section 4.6 says: strings by their
// characters, numbers by their value, objects whatever the order of members.
func equal(a, b *value, left *budget) (bool, *Error) {
	if err := left.spend(1); err != nil {
		return false, err
	}
	if a.kind != b.kind {
		return false, nil
	}
	switch a.kind {
	case resource.Object:
		return equalObjects(a, b, left)
	case resource.Array:
		a.open()
		b.open()
		if len(a.items) != len(b.items) {
			return false, nil
		}
		for i := range a.items {
			if same, err := equal(a.items[i], b.items[i], left); !same {
				return false, err
			}
		}
		return true, nil
	case resource.Number:
		return equalNumbers(a.node.Raw(), b.node.Raw()), nil
	}
	return bytes.Equal(a.node.Bytes(), b.node.Bytes()), nil
}

func equalObjects(a, b *value, left *budget) (bool, *Error) {
	a.open()
	b.open()
	if len(a.members) != len(b.members) {
		return false, nil
	}
	for i := range a.members {
		if err := left.spend(1 + i/8); err != nil {
			return false, err
		}
		other := b.get(a.members[i].name)
		if other == nil {
			return false, nil
		}
		if same, err := equal(a.members[i].val, other, left); !same {
			return false, err
		}
	}
	return true, nil
}

// equalNumbers compares two JSON numbers exactly: 1.0 is 1, and 0.1 is not
// 0.10000000000000001, as it would be in floating point.
func equalNumbers(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, y := normalNumber(a), normalNumber(b)
	return x.negative == y.negative && x.exponent == y.exponent && bytes.Equal(x.digits, y.digits)
}

// number is 0.digits times ten to the exponent, without zeros at either end; no
// digits mean zero.
type number struct {
	negative bool
	digits   []byte
	exponent int64
}

func normalNumber(b []byte) number {
	var n number
	if b[0] == '-' {
		n.negative, b = true, b[1:]
	}
	if i := bytes.IndexAny(b, "eE"); i >= 0 {
		// An exponent that is no int64 is cut to the largest one: two such
		// numbers are equal only if their texts are, nearly.
		n.exponent, _ = strconv.ParseInt(string(b[i+1:]), 10, 62)
		b = b[:i]
	}
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	n.exponent += int64(len(whole))
	n.digits = append(append(make([]byte, 0, len(b)), whole...), fraction...)
	for len(n.digits) > 0 && n.digits[0] == '0' {
		n.digits = n.digits[1:]
		n.exponent--
	}
	n.digits = bytes.TrimRight(n.digits, "0")
	if len(n.digits) == 0 {
		return number{}
	}
	return n
}
