package fhirsql

import "strconv"

// sqlb builds one statement. Parameters are numbered in the order in which
// they are written, as both SQLite and PostgreSQL want it.
//
// The texts that it is given name tables by one letter: r is the narrow row, k
// the row of an index, f and y others of the same tables. A condition may stand
// inside another one, about another resource; then depth is how far inside, and
// is written behind each letter, so that the same text means the right row.
type sqlb struct {
	text  []byte
	args  []any
	depth int
	d     dialect
	// byPatient says that the rows to test come in the order of patients, so that
	// token rows are found side by side in their key.
	byPatient bool
}

// w appends text. A '?' takes the next of args.
func (b *sqlb) w(text string, args ...any) {
	n := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '?':
			b.args = append(b.args, args[n])
			n++
			b.text = strconv.AppendInt(append(b.text, '$'), int64(len(b.args)), 10)
		case c == '.' && b.depth > 0 && isAlias(text, i-1):
			b.text = append(strconv.AppendInt(b.text, int64(b.depth), 10), c)
		default:
			b.text = append(b.text, c)
		}
	}
}

// raw appends text as it is: a name of another depth.
func (b *sqlb) raw(text string) { b.text = append(b.text, text...) }

// closeExists ends an EXISTS.
func (b *sqlb) closeExists() { b.raw(b.d.each + ")") }

// isAlias reports whether the letter at i is the whole name of a table.
func isAlias(text string, i int) bool {
	if i < 0 || text[i] < 'a' || text[i] > 'z' {
		return false
	}
	if i == 0 {
		return true
	}
	c := text[i-1]
	return c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9')
}

// as writes a table with its letter, and the index to walk if one is given.
func (b *sqlb) as(table, letter, index string) {
	b.w(table + " " + b.letter(letter))
	b.w(b.d.indexedBy(index))
}

// letter returns the name of a table at the depth of b.
func (b *sqlb) letter(l string) string {
	if b.depth == 0 {
		return l
	}
	return l + strconv.Itoa(b.depth)
}

// cond is a piece of SQL with its arguments. '?' stands for an argument.
type cond struct {
	text string
	args []any
}

func (b *sqlb) cond(c cond) { b.w(c.text, c.args...) }

// isTrue writes a condition that is never NULL, so that it can be negated.
func (b *sqlb) isTrue(c cond) {
	b.w("(")
	b.cond(c)
	b.w(") IS TRUE")
}
