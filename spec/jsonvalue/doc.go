// Package jsonvalue is a JSON value that is either a part of a parsed text or
// was made by a computation, so that expressions can look at both in one way.
//
// A Value over a text is a handle on a node of spec/resource: numbers keep
// their digits, members their order, and nothing is copied. A made Value is an
// object, array or scalar of other Values; objects that only wrap parts of a
// text (an envelope around a message) cost one small allocation.
package jsonvalue
