package db

import (
	"strconv"
	"strings"
	"sync"
)

// Insert inserts rows, up to 32 with one statement. into is the statement up to
// VALUES, cols the number of values of a row; bind puts those of one row into the
// parameters from i on. The rows of bulk work are given up between two statements
// when interactive work comes; the writer does that work again later.
func Insert[R any](c *Conn, into string, cols int, list []R, bind func(s *Stmt, i int, r *R)) error {
	for len(list) > 0 {
		if c.room != nil && c.room() {
			return &Broken{Err: errMakeRoom}
		}
		n := 32
		for n > len(list) {
			n >>= 1
		}
		st, err := c.Prepare(insertText(into, cols, n))
		if err != nil {
			return err
		}
		for i := range n {
			bind(st, i*cols, &list[i])
		}
		if err := st.Run(); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

var insertTexts sync.Map // insertKey -> string

type insertKey struct {
	into string
	n    int
}

func insertText(into string, cols, n int) string {
	k := insertKey{into, n}
	if v, ok := insertTexts.Load(k); ok {
		return v.(string)
	}
	var b strings.Builder
	b.WriteString(into + " VALUES ")
	for i := range n * cols {
		switch {
		case i%cols != 0:
			b.WriteByte(',')
		case i > 0:
			b.WriteString("),(")
		default:
			b.WriteByte('(')
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteString(")")
	insertTexts.Store(k, b.String())
	return b.String()
}
