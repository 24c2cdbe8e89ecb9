package jmespath

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// function is a built-in. Its arguments are evaluated; an &expression is not
// and comes apart.
type function struct {
	min, max int // number of arguments; max -1: any
	expr     int // which argument is an &expression; -1: none
	do       func(args []value, each node) (value, error)
}

func fixed(n int, do func(args []value) (value, error)) function {
	return function{n, n, -1, func(args []value, _ node) (value, error) { return do(args) }}
}

// functions are the built-ins by name; the last group is what device mappings add.
var functions = map[string]function{
	"abs":         fixed(1, absolute),
	"avg":         fixed(1, average),
	"ceil":        fixed(1, rounded(math.Ceil)),
	"contains":    fixed(2, contains),
	"ends_with":   fixed(2, texts(strings.HasSuffix)),
	"floor":       fixed(1, rounded(math.Floor)),
	"join":        fixed(2, join),
	"keys":        fixed(1, keys),
	"length":      fixed(1, length),
	"map":         {2, 2, 0, func(a []value, each node) (value, error) { return mapEach(a[1], each) }},
	"max":         fixed(1, extreme(1)),
	"max_by":      {2, 2, 1, func(a []value, each node) (value, error) { return extremeBy(a[0], each, 1) }},
	"merge":       {0, -1, -1, func(a []value, _ node) (value, error) { return merge(a) }},
	"min":         fixed(1, extreme(-1)),
	"min_by":      {2, 2, 1, func(a []value, each node) (value, error) { return extremeBy(a[0], each, -1) }},
	"not_null":    {1, -1, -1, func(a []value, _ node) (value, error) { return notNull(a) }},
	"reverse":     fixed(1, reverse),
	"sort":        fixed(1, func(a []value) (value, error) { return sortBy(a[0], current{}) }),
	"sort_by":     {2, 2, 1, func(a []value, each node) (value, error) { return sortBy(a[0], each) }},
	"starts_with": fixed(2, texts(strings.HasPrefix)),
	"sum":         fixed(1, sum),
	"to_array":    fixed(1, toArray),
	"to_number":   fixed(1, toNumber),
	"to_string":   fixed(1, toString),
	"type":        fixed(1, func(a []value) (value, error) { return jsonvalue.String(typeName(a[0])), nil }),
	"values":      fixed(1, valuesOf),

	"add":                 fixed(2, arithmetic(addInt, func(a, b float64) float64 { return a + b })),
	"subtract":            fixed(2, arithmetic(subtractInt, func(a, b float64) float64 { return a - b })),
	"multiply":            fixed(2, arithmetic(multiplyInt, func(a, b float64) float64 { return a * b })),
	"divide":              fixed(2, arithmetic(divideInt, func(a, b float64) float64 { return a / b })),
	"pow":                 fixed(2, arithmetic(powInt, math.Pow)),
	"insertString":        fixed(3, insertString),
	"fromUnixTimestamp":   fixed(1, fromUnix(1000)),
	"fromUnixTimestampMs": fixed(1, fromUnix(1)),
}

func typeName(v value) string {
	switch v.Kind() {
	case resource.Bool:
		return "boolean"
	case resource.Absent:
		return "null"
	}
	return v.Kind().String()
}

// want returns an error when v is not of kind k.
func want(v value, at int, k ...resource.Kind) error {
	if slices.Contains(k, v.Kind()) {
		return nil
	}
	names := make([]string, len(k))
	for i, k := range k {
		names[i] = typeName(jsonvalueOf(k))
	}
	return fmt.Errorf("argument %d is %s, not %s", at+1, typeName(v), strings.Join(names, " or "))
}

func jsonvalueOf(k resource.Kind) value {
	switch k {
	case resource.Bool:
		return jsonvalue.Bool(true)
	case resource.Number:
		return jsonvalue.Int(0)
	case resource.String:
		return jsonvalue.String("")
	case resource.Array:
		return jsonvalue.Array()
	case resource.Object:
		return jsonvalue.Object(nil, nil)
	}
	return jsonvalue.Null()
}

func absolute(a []value) (value, error) {
	if err := want(a[0], 0, resource.Number); err != nil {
		return a[0], err
	}
	return jsonvalue.Number(strings.TrimPrefix(a[0].Text(), "-")), nil
}

func rounded(f func(float64) float64) func([]value) (value, error) {
	return func(a []value) (value, error) {
		if err := want(a[0], 0, resource.Number); err != nil {
			return a[0], err
		}
		x, _ := a[0].Float()
		return jsonvalue.Float(f(x)), nil
	}
}

// numbers returns the items of an array of numbers.
func numbers(v value) ([]value, error) {
	if err := want(v, 0, resource.Array); err != nil {
		return nil, err
	}
	list := collect(v)
	for _, x := range list {
		if x.Kind() != resource.Number {
			return nil, fmt.Errorf("an item is %s, not number", typeName(x))
		}
	}
	return list, nil
}

func sum(a []value) (value, error) {
	list, err := numbers(a[0])
	total := jsonvalue.Int(0)
	add := arithmetic(addInt, func(a, b float64) float64 { return a + b })
	for i := 0; err == nil && i < len(list); i++ {
		total, err = add([]value{total, list[i]})
	}
	return total, err
}

func average(a []value) (value, error) {
	list, err := numbers(a[0])
	if err != nil || len(list) == 0 {
		return jsonvalue.Null(), err
	}
	total := 0.0
	for _, x := range list {
		f, _ := x.Float()
		total += f
	}
	return jsonvalue.Float(total / float64(len(list))), nil
}

func contains(a []value) (value, error) {
	if a[0].Kind() == resource.String {
		return jsonvalue.Bool(a[1].Kind() == resource.String && strings.Contains(a[0].Text(), a[1].Text())), nil
	}
	if err := want(a[0], 0, resource.Array, resource.String); err != nil {
		return a[0], err
	}
	for c := range a[0].Children() {
		if jsonvalue.Equal(c, a[1]) {
			return jsonvalue.Bool(true), nil
		}
	}
	return jsonvalue.Bool(false), nil
}

func texts(f func(a, b string) bool) func([]value) (value, error) {
	return func(a []value) (value, error) {
		for i, x := range a {
			if err := want(x, i, resource.String); err != nil {
				return x, err
			}
		}
		return jsonvalue.Bool(f(a[0].Text(), a[1].Text())), nil
	}
}

func join(a []value) (value, error) {
	if err := want(a[0], 0, resource.String); err != nil {
		return a[0], err
	}
	if err := want(a[1], 1, resource.Array); err != nil {
		return a[1], err
	}
	var parts []string
	for c := range a[1].Children() {
		if c.Kind() != resource.String {
			return c, fmt.Errorf("an item is %s, not string", typeName(c))
		}
		parts = append(parts, c.Text())
	}
	return jsonvalue.String(strings.Join(parts, a[0].Text())), nil
}

func keys(a []value) (value, error) {
	if err := want(a[0], 0, resource.Object); err != nil {
		return a[0], err
	}
	var out []value
	for name := range a[0].Members() {
		out = append(out, jsonvalue.String(name))
	}
	return jsonvalue.Array(out...), nil
}

func valuesOf(a []value) (value, error) {
	if err := want(a[0], 0, resource.Object); err != nil {
		return a[0], err
	}
	return jsonvalue.Array(collect(a[0])...), nil
}

func length(a []value) (value, error) {
	if a[0].Kind() == resource.String {
		return jsonvalue.Int(int64(len([]rune(a[0].Text())))), nil
	}
	if err := want(a[0], 0, resource.String, resource.Array, resource.Object); err != nil {
		return a[0], err
	}
	return jsonvalue.Int(int64(a[0].Len())), nil
}

func merge(a []value) (value, error) {
	var names []string
	var items []value
	for i, x := range a {
		if err := want(x, i, resource.Object); err != nil {
			return x, err
		}
		for name, c := range x.Members() {
			if at := slices.Index(names, name); at >= 0 {
				items[at] = c
				continue
			}
			names, items = append(names, name), append(items, c)
		}
	}
	return jsonvalue.Object(names, items), nil
}

func notNull(a []value) (value, error) {
	for _, x := range a {
		if !x.IsNull() {
			return x, nil
		}
	}
	return jsonvalue.Null(), nil
}

func reverse(a []value) (value, error) {
	if a[0].Kind() == resource.String {
		r := []rune(a[0].Text())
		slices.Reverse(r)
		return jsonvalue.String(string(r)), nil
	}
	if err := want(a[0], 0, resource.String, resource.Array); err != nil {
		return a[0], err
	}
	list := collect(a[0])
	slices.Reverse(list)
	return jsonvalue.Array(list...), nil
}

func toArray(a []value) (value, error) {
	if a[0].Kind() == resource.Array {
		return a[0], nil
	}
	return jsonvalue.Array(a[0]), nil
}

func toString(a []value) (value, error) {
	if a[0].Kind() == resource.String {
		return a[0], nil
	}
	return jsonvalue.String(string(a[0].AppendJSON(nil))), nil
}

func toNumber(a []value) (value, error) {
	switch a[0].Kind() {
	case resource.Number:
		return a[0], nil
	case resource.String:
		if v, err := jsonvalue.Parse([]byte(strings.TrimSpace(a[0].Text()))); err == nil && v.Kind() == resource.Number {
			return v, nil
		}
	}
	return jsonvalue.Null(), nil
}

func mapEach(list value, each node) (value, error) {
	if err := want(list, 1, resource.Array); err != nil {
		return list, err
	}
	out := make([]value, 0, list.Len())
	for c := range list.Children() {
		r, err := each.eval(c)
		if err != nil {
			return r, err
		}
		out = append(out, r)
	}
	return jsonvalue.Array(out...), nil
}

// keyed are the items of a list with the values by which they are ordered.
type keyed struct{ item, key value }

func keysOf(list value, each node) ([]keyed, error) {
	if err := want(list, 0, resource.Array); err != nil {
		return nil, err
	}
	var out []keyed
	for c := range list.Children() {
		k, err := each.eval(c)
		if err != nil {
			return nil, err
		}
		if k.Kind() != resource.Number && k.Kind() != resource.String {
			return nil, fmt.Errorf("an item is ordered by %s, not by number or string", typeName(k))
		}
		if len(out) > 0 && out[0].key.Kind() != k.Kind() {
			return nil, errors.New("numbers and strings have no common order")
		}
		out = append(out, keyed{c, k})
	}
	return out, nil
}

func compareKeys(a, b keyed) int {
	if a.key.Kind() == resource.Number {
		return jsonvalue.CompareNumbers(a.key.Text(), b.key.Text())
	}
	return strings.Compare(a.key.Text(), b.key.Text())
}

func sortBy(list value, each node) (value, error) {
	ks, err := keysOf(list, each)
	if err != nil {
		return list, err
	}
	slices.SortStableFunc(ks, compareKeys)
	out := make([]value, len(ks))
	for i, k := range ks {
		out[i] = k.item
	}
	return jsonvalue.Array(out...), nil
}

func extreme(sign int) func([]value) (value, error) {
	return func(a []value) (value, error) { return extremeBy(a[0], current{}, sign) }
}

func extremeBy(list value, each node, sign int) (value, error) {
	ks, err := keysOf(list, each)
	if err != nil || len(ks) == 0 {
		return jsonvalue.Null(), err
	}
	best := ks[0]
	for _, k := range ks[1:] {
		if compareKeys(k, best)*sign > 0 {
			best = k
		}
	}
	return best.item, nil
}
