package jsonvalue

import (
	"iter"
	"math"
	"strconv"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Value is a JSON value. The zero Value is absent; every method is safe on it.
type Value struct {
	node resource.Node
	made *made
}

// made is a value that no text has.
type made struct {
	kind  resource.Kind
	text  string   // of a scalar
	names []string // of an object; as long as items
	items []Value
}

var null = &made{kind: resource.Null, text: "null"}

// Of returns the value of a node.
func Of(n resource.Node) Value { return Value{node: n} }

// Null returns null.
func Null() Value { return Value{made: null} }

// Bool returns true or false.
func Bool(b bool) Value { return Value{made: &made{kind: resource.Bool, text: strconv.FormatBool(b)}} }

// String returns a string.
func String(s string) Value { return Value{made: &made{kind: resource.String, text: s}} }

// Number returns a number with the given text, which must be a JSON number.
func Number(text string) Value { return Value{made: &made{kind: resource.Number, text: text}} }

// Int returns a whole number.
func Int(i int64) Value { return Number(strconv.FormatInt(i, 10)) }

// floatDigits is how many significant digits a computed number has: as many as
// any double can keep through a text and back, so that 0.1+0.2 is 0.3.
const floatDigits = 15

// Float returns a computed number; one that is not finite is null.
func Float(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Null()
	}
	return Number(strconv.FormatFloat(f, 'g', floatDigits, 64))
}

// Array returns an array of items.
func Array(items ...Value) Value {
	return Value{made: &made{kind: resource.Array, items: items}}
}

// Object returns an object; names and items have the same length.
func Object(names []string, items []Value) Value {
	return Value{made: &made{kind: resource.Object, names: names, items: items}}
}

// Node returns the node of a value over a text; it is absent for a made one.
func (v Value) Node() resource.Node { return v.node }

// Valid reports whether there is a value.
func (v Value) Valid() bool { return v.made != nil || v.node.Valid() }

// Kind returns the JSON type.
func (v Value) Kind() resource.Kind {
	if v.made != nil {
		return v.made.kind
	}
	return v.node.Kind()
}

// IsNull reports whether v is null or absent.
func (v Value) IsNull() bool { return !v.Valid() || v.Kind() == resource.Null }

// Scalar reports whether v is neither an object nor an array.
func (v Value) Scalar() bool {
	k := v.Kind()
	return k != resource.Object && k != resource.Array
}

// Text returns a string unescaped, a number or boolean as written, and "" for
// everything else.
func (v Value) Text() string {
	if v.made == nil {
		return v.node.Text()
	}
	if v.made.kind == resource.Null {
		return ""
	}
	return v.made.text
}

// Get returns the member of that name; it is absent when v is no object or has
// no such member.
func (v Value) Get(name string) Value {
	if v.made == nil {
		return Of(v.node.Get(name))
	}
	for i, n := range v.made.names {
		if n == name {
			return v.made.items[i]
		}
	}
	return Value{}
}

// Len returns the number of members or items.
func (v Value) Len() int {
	if v.made == nil {
		return v.node.Len()
	}
	return len(v.made.items)
}

// At returns item i of an array; it is absent when there is none.
func (v Value) At(i int) Value {
	switch {
	case v.Kind() != resource.Array || i < 0:
		return Value{}
	case v.made == nil:
		return Of(v.node.At(i))
	case i < len(v.made.items):
		return v.made.items[i]
	}
	return Value{}
}

// Children iterates over the values of members or items in their order.
func (v Value) Children() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.made == nil {
			for n := v.node.First(); n.Valid(); n = n.Next() {
				if !yield(Of(n)) {
					return
				}
			}
			return
		}
		for _, c := range v.made.items {
			if !yield(c) {
				return
			}
		}
	}
}

// Members iterates over the members of an object in their order.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		switch {
		case v.Kind() != resource.Object:
		case v.made == nil:
			for n := v.node.First(); n.Valid(); n = n.Next() {
				if !yield(string(n.Key()), Of(n)) {
					return
				}
			}
		default:
			for i, c := range v.made.items {
				if !yield(v.made.names[i], c) {
					return
				}
			}
		}
	}
}

// Float returns a number as a double; false when v is no number or too large.
func (v Value) Float() (float64, bool) {
	if v.Kind() != resource.Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.Text(), 64)
	return f, err == nil
}

// Int returns a number that is written without fraction and exponent and fits
// into 64 bits.
func (v Value) Int() (int64, bool) {
	if v.Kind() != resource.Number {
		return 0, false
	}
	i, err := strconv.ParseInt(v.Text(), 10, 64)
	return i, err == nil
}

// Equal reports whether a and b are the same JSON value: numbers by value,
// objects without regard to the order of their members.
func Equal(a, b Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case resource.Number:
		return CompareNumbers(a.Text(), b.Text()) == 0
	case resource.Array:
		if a.Len() != b.Len() {
			return false
		}
		next, stop := iter.Pull(b.Children())
		defer stop()
		for x := range a.Children() {
			y, _ := next()
			if !Equal(x, y) {
				return false
			}
		}
		return true
	case resource.Object:
		if a.Len() != b.Len() {
			return false
		}
		for name, x := range a.Members() {
			y := b.Get(name)
			if !y.Valid() || !Equal(x, y) {
				return false
			}
		}
		return true
	}
	return a.Text() == b.Text()
}

// CompareNumbers compares the texts of two numbers by value: -1, 0 or 1.
func CompareNumbers(a, b string) int {
	if x, err := strconv.ParseInt(a, 10, 64); err == nil {
		if y, err := strconv.ParseInt(b, 10, 64); err == nil {
			return order(x, y)
		}
	}
	x, _ := strconv.ParseFloat(a, 64) // out of range: the infinity of its sign
	y, _ := strconv.ParseFloat(b, 64)
	return order(x, y)
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// AppendJSON appends v as compact JSON text; an absent value is null.
func (v Value) AppendJSON(dst []byte) []byte {
	if v.made == nil {
		if !v.node.Valid() {
			return append(dst, "null"...)
		}
		return v.node.AppendCompact(dst)
	}
	switch v.made.kind {
	case resource.String:
		return resource.AppendString(dst, v.made.text)
	case resource.Array:
		dst = append(dst, '[')
		for i, c := range v.made.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = c.AppendJSON(dst)
		}
		return append(dst, ']')
	case resource.Object:
		dst = append(dst, '{')
		for i, c := range v.made.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(resource.AppendString(dst, v.made.names[i]), ':')
			dst = c.AppendJSON(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.made.text...)
}

// Parse reads a JSON text into a document of its own.
func Parse(text []byte) (Value, error) {
	d := new(resource.Doc)
	if err := d.Parse(text, resource.Options{}); err != nil {
		return Value{}, err
	}
	return Of(d.Root()), nil
}
