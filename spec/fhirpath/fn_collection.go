package fhirpath

import (
	"errors"
	"math"
	"slices"
)

// collectionFunctions are those of N1 sections 5.1 to 5.4, 5.8 and 7.
var collectionFunctions = map[string]function{
	"empty":      plain(func(in, dst []Value) []Value { return append(dst, Bool(len(in) == 0)) }),
	"count":      plain(func(in, dst []Value) []Value { return append(dst, Integer(int64(len(in)))) }),
	"first":      plain(func(in, dst []Value) []Value { return append(dst, in[:min(1, len(in))]...) }),
	"last":       plain(func(in, dst []Value) []Value { return append(dst, in[max(0, len(in)-1):]...) }),
	"tail":       plain(func(in, dst []Value) []Value { return append(dst, in[min(1, len(in)):]...) }),
	"skip":       slice(func(in []Value, n int64) []Value { return in[min(max(n, 0), int64(len(in))):] }),
	"take":       slice(func(in []Value, n int64) []Value { return in[:min(max(n, 0), int64(len(in)))] }),
	"allTrue":    allAre(true, 0),
	"anyTrue":    allAre(false, 1),
	"allFalse":   allAre(true, 1),
	"anyFalse":   allAre(false, 0),
	"exists":     {0, 1, exists},
	"all":        {1, 1, all},
	"where":      {1, 1, where},
	"select":     {1, 1, selectItems},
	"single":     {0, 0, singleItem},
	"distinct":   {0, 0, func(c *invocation, dst []Value) ([]Value, error) { return c.ev.union(c.in, nil, dst) }},
	"isDistinct": {0, 0, isDistinct},
	"union":      {1, 1, unionWith},
	"combine":    {1, 1, combineWith},
	"intersect":  {1, 1, func(c *invocation, dst []Value) ([]Value, error) { return c.filter(dst, true, true) }},
	"exclude":    {1, 1, func(c *invocation, dst []Value) ([]Value, error) { return c.filter(dst, false, false) }},
	"subsetOf":   {1, 1, subsetOf},
	"supersetOf": {1, 1, supersetOf},
	"repeat":     {1, 1, repeat},
	"aggregate":  {1, 2, aggregate},
	"not":        {0, 0, not},
	"iif":        {2, 3, iif},
	"trace":      {1, 2, trace},
	"sort":       {0, math.MaxInt, sortItems},
	"coalesce":   {1, math.MaxInt, coalesce},
	"children": {0, 0, func(c *invocation, dst []Value) ([]Value, error) {
		start := len(dst)
		for _, v := range c.in {
			dst = v.children(dst)
		}
		return dst, c.ev.step(len(dst) - start)
	}},
	"descendants": {0, 0, descendants},
}

func exists(c *invocation, dst []Value) ([]Value, error) {
	if len(c.args) == 0 {
		return append(dst, Bool(len(c.in) > 0)), nil
	}
	found := false
	err := c.each(func(_ int, f *frame) (bool, error) {
		ok, err := c.ev.criterion(c.args[0], f)
		found = found || ok
		return !ok, err
	})
	return append(dst, Bool(found)), err
}

func all(c *invocation, dst []Value) ([]Value, error) {
	holds := true
	err := c.each(func(_ int, f *frame) (bool, error) {
		ok, err := c.ev.criterion(c.args[0], f)
		holds = holds && ok
		return ok, err
	})
	return append(dst, Bool(holds)), err
}

func where(c *invocation, dst []Value) ([]Value, error) {
	err := c.each(func(i int, f *frame) (bool, error) {
		ok, err := c.ev.criterion(c.args[0], f)
		if ok {
			dst = append(dst, c.in[i])
		}
		return true, err
	})
	return dst, err
}

func selectItems(c *invocation, dst []Value) ([]Value, error) {
	err := c.each(func(_ int, f *frame) (bool, error) {
		out, err := c.args[0](c.ev, f, dst)
		if err == nil && len(out) > maxItems {
			err = ErrTooCostly
		}
		dst = out
		return true, err
	})
	return dst, err
}

func singleItem(c *invocation, dst []Value) ([]Value, error) {
	if len(c.in) > 1 {
		return nil, errMany
	}
	return append(dst, c.in...), nil
}

func isDistinct(c *invocation, dst []Value) ([]Value, error) {
	for i, v := range c.in {
		found, err := c.ev.has(c.in[:i], v)
		if err != nil {
			return nil, err
		}
		if found {
			return append(dst, Bool(false)), nil
		}
	}
	return append(dst, Bool(true)), nil
}

// other evaluates the collection that is the argument.
func (c *invocation) other() ([]Value, error) { return c.args[0](c.ev, c.f, nil) }

func unionWith(c *invocation, dst []Value) ([]Value, error) {
	other, err := c.other()
	if err != nil {
		return nil, err
	}
	return c.ev.union(c.in, other, dst)
}

func combineWith(c *invocation, dst []Value) ([]Value, error) {
	return c.args[0](c.ev, c.f, append(dst, c.in...))
}

// filter keeps the input items that are, or are not, in the other collection.
func (c *invocation) filter(dst []Value, in, distinct bool) ([]Value, error) {
	other, err := c.other()
	if err != nil {
		return nil, err
	}
	start := len(dst)
	for _, v := range c.in {
		found, err := c.ev.has(other, v)
		if err == nil && found == in && distinct {
			var twice bool
			twice, err = c.ev.has(dst[start:], v)
			found = in != twice
		}
		if err != nil {
			return nil, err
		}
		if found == in {
			dst = append(dst, v)
		}
	}
	return dst, nil
}

func (ev *eval) subset(a, b []Value) (bool, error) {
	for _, v := range a {
		if found, err := ev.has(b, v); err != nil || !found {
			return false, err
		}
	}
	return true, nil
}

func subsetOf(c *invocation, dst []Value) ([]Value, error) {
	other, err := c.other()
	if err != nil {
		return nil, err
	}
	is, err := c.ev.subset(c.in, other)
	return append(dst, Bool(is)), err
}

func supersetOf(c *invocation, dst []Value) ([]Value, error) {
	other, err := c.other()
	if err != nil {
		return nil, err
	}
	is, err := c.ev.subset(other, c.in)
	return append(dst, Bool(is)), err
}

// repeat applies the argument to its own results until nothing new comes. A
// node is known by its identity, so that a walk of a tree does not compare
// subtrees; a computed value by equality.
func repeat(c *invocation, dst []Value) ([]Value, error) {
	start := len(dst)
	seen := map[Value]bool{}
	todo := append([]Value(nil), c.in...)
	for len(todo) > 0 {
		f := frame{this: todo[:1:1], total: c.f.total}
		found, err := c.args[0](c.ev, &f, nil)
		if err != nil {
			return nil, err
		}
		todo = todo[1:]
		for _, v := range found {
			var old bool
			if v.kind == kindNode {
				old = seen[v]
				seen[v] = true
			} else if old, err = c.ev.has(dst[start:], v); err != nil {
				return nil, err
			}
			if !old {
				dst, todo = append(dst, v), append(todo, v)
			}
			if err := c.ev.step(1); err != nil {
				return nil, err
			}
		}
		if len(dst) > maxItems {
			return nil, ErrTooCostly
		}
	}
	return dst, nil
}

func descendants(c *invocation, dst []Value) ([]Value, error) {
	level := c.in
	for len(level) > 0 {
		start := len(dst)
		for _, v := range level {
			dst = v.children(dst)
		}
		if err := c.ev.step(len(dst) - start); err != nil {
			return nil, err
		}
		level = dst[start:]
	}
	return dst, nil
}

func aggregate(c *invocation, dst []Value) ([]Value, error) {
	var total []Value
	if len(c.args) == 2 {
		var err error
		if total, err = c.args[1](c.ev, c.f, nil); err != nil {
			return nil, err
		}
	}
	err := c.each(func(_ int, f *frame) (bool, error) {
		f.total = total
		next, err := c.args[0](c.ev, f, nil)
		if err == nil && len(next) > maxItems {
			err = ErrTooCostly
		}
		total = next
		return true, err
	})
	return append(dst, total...), err
}

func not(c *invocation, dst []Value) ([]Value, error) {
	v, ok, err := c.input()
	if err != nil || !ok {
		return dst, err
	}
	return append(dst, Bool(v.kind == kindBoolean && v.i == 0)), nil
}

// iif evaluates only the branch that it takes. With an input of one item $this
// is that item inside.
func iif(c *invocation, dst []Value) ([]Value, error) {
	f := *c.f
	if len(c.in) > 1 {
		return nil, errMany
	}
	f.this = c.in
	v, ok, err := c.ev.one(c.args[0], &f)
	if err != nil {
		return nil, err
	}
	if ok && v.kind != kindBoolean {
		return nil, errors.New("the condition of iif() is not a boolean")
	}
	switch {
	case ok && v.i != 0:
		return c.args[1](c.ev, &f, dst)
	case len(c.args) == 3:
		return c.args[2](c.ev, &f, dst)
	}
	return dst, nil
}

func trace(c *invocation, dst []Value) ([]Value, error) {
	name, _, err := c.str(0)
	if err != nil {
		return nil, err
	}
	shown := c.in
	if len(c.args) == 2 {
		shown = nil
		err = c.each(func(_ int, f *frame) (bool, error) {
			var err error
			shown, err = c.args[1](c.ev, f, shown)
			return true, err
		})
		if err != nil {
			return nil, err
		}
	}
	if c.ev.env.Trace != nil {
		c.ev.env.Trace(name, append([]Value(nil), shown...))
	}
	return append(dst, c.in...), nil
}

func coalesce(c *invocation, dst []Value) ([]Value, error) {
	start := len(dst)
	for _, a := range c.args {
		var err error
		if dst, err = a(c.ev, c.f, dst); err != nil || len(dst) > start {
			return dst, err
		}
	}
	return dst, nil
}

// sortItems orders the input by its keys, or by itself; an empty
// key comes first in both directions.
func sortItems(c *invocation, dst []Value) ([]Value, error) {
	args, desc := c.args, c.desc
	if len(args) == 0 {
		args, desc = []fn{this}, []bool{false}
	}
	type row struct {
		item Value
		keys []Value
	}
	rows := make([]row, 0, len(c.in))
	err := c.each(func(i int, f *frame) (bool, error) {
		r := row{item: c.in[i]}
		for _, a := range args {
			v, _, err := c.ev.one(a, f)
			if err != nil {
				return false, err
			}
			r.keys = append(r.keys, v)
		}
		rows = append(rows, r)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(x, y row) int {
		for i := range args {
			n, e := compareKeys(x.keys[i], y.keys[i])
			if e != nil {
				err = e
			}
			if desc[i] && x.keys[i].kind != kindNone && y.keys[i].kind != kindNone {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	for _, r := range rows {
		dst = append(dst, r.item)
	}
	return dst, err
}

func compareKeys(a, b Value) (int, error) {
	switch {
	case a.kind == kindNone && b.kind == kindNone:
		return 0, nil
	case a.kind == kindNone:
		return -1, nil
	case b.kind == kindNone:
		return 1, nil
	}
	n, _, err := compare(a, b)
	return n, err
}
