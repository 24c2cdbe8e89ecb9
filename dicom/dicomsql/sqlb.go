package dicomsql

import (
	"strconv"
	"strings"
)

// sqlb builds a statement with numbered parameters.
type sqlb struct {
	text strings.Builder
	args []any
}

// add appends text.
func (b *sqlb) add(parts ...string) {
	for _, p := range parts {
		b.text.WriteString(p)
	}
}

// arg appends a parameter.
func (b *sqlb) arg(v any) {
	b.args = append(b.args, v)
	b.add("$", strconv.Itoa(len(b.args)))
}
