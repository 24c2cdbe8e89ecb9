package fhirsql

import "strconv"

// sqlb builds one statement. Parameters are numbered in the order in which
// they are written, as both SQLite and PostgreSQL want it.
type sqlb struct {
	text []byte
	args []any
}

// w appends text. A '?' takes the next of args.
func (b *sqlb) w(text string, args ...any) {
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '?' {
			b.text = append(b.text, text[i])
			continue
		}
		b.args = append(b.args, args[n])
		n++
		b.text = strconv.AppendInt(append(b.text, '$'), int64(len(b.args)), 10)
	}
}

// cond is a piece of SQL with its arguments. '?' stands for an argument.
type cond struct {
	text string
	args []any
}

func (b *sqlb) cond(c cond) { b.w(c.text, c.args...) }
