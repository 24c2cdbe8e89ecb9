package patch

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// pointer is a JSON pointer (RFC 6901), cut into its unescaped tokens.
type pointer []string

var unescapeToken = strings.NewReplacer("~1", "/", "~0", "~")

// parsePointer reads a pointer; "" means the whole document.
func parsePointer(s string) (pointer, *Error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != '/' {
		return nil, problem("value", "a JSON pointer is empty or begins with a slash")
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return nil, problem("value", "in a JSON pointer ~ is written ~0")
		}
	}
	p := strings.Split(s[1:], "/")
	for i, t := range p {
		if strings.IndexByte(t, '~') >= 0 {
			p[i] = unescapeToken.Replace(t)
		}
	}
	return p, nil
}

// String returns the pointer as it is written.
func (p pointer) String() string {
	var b strings.Builder
	for _, t := range p {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(t))
	}
	return b.String()
}

// within reports whether p names q or something above it.
func (p pointer) above(q pointer) bool {
	if len(p) > len(q) {
		return false
	}
	for i := range p {
		if p[i] != q[i] {
			return false
		}
	}
	return true
}

// arrayIndex reads a token as an index (RFC 6901 section 4): digits without
// leading zeros. -1 means that it is none; an index beyond any array is large.
func arrayIndex(token string) int {
	if token == "" || len(token) > 1 && token[0] == '0' {
		return -1
	}
	i := 0
	for _, c := range []byte(token) {
		if c < '0' || c > '9' {
			return -1
		}
		if i < 1<<40 {
			i = i*10 + int(c-'0')
		}
	}
	return i
}

// find returns the value that p names below root, opening what leads there.
func (p pointer) find(root *value) (*value, *Error) {
	v := root
	for i, token := range p {
		next, err := step(v, token, p[:i+1])
		if err != nil {
			return nil, err
		}
		v = next
	}
	return v, nil
}

// step goes from v to the member or item that token names; at is where that is.
func step(v *value, token string, at pointer) (*value, *Error) {
	switch v.kind {
	case resource.Object:
		v.open()
		if i := v.index(token); i >= 0 {
			return v.members[i].val, nil
		}
		return nil, problem("not-found", "there is no %s", clip(at.String()))
	case resource.Array:
		v.open()
		i := arrayIndex(token)
		switch {
		case i >= 0 && i < len(v.items):
			return v.items[i], nil
		case i >= 0 || token == "-":
			return nil, problem("not-found", "there is no %s: the array has %d items", clip(at.String()), len(v.items))
		}
		return nil, problem("value", "%s: %q is no index of an array", clip(at.String()), clip(token))
	}
	return nil, problem("not-found", "there is no %s: %s is a %s", clip(at.String()), clip(at[:len(at)-1].String()), v.kind)
}
