// Package jmespath evaluates JMESPath (https://jmespath.org/specification.html)
// with the functions that device mappings add to it: add, subtract, multiply,
// divide, pow, insertString, fromUnixTimestamp and fromUnixTimestampMs.
//
// Numbers keep the text of the message until something computes with them.
// Arithmetic on two whole numbers stays in 64-bit integers (divide(40, 50) is
// 0) and fails when the result does not fit; a number written with a fraction
// or an exponent makes it floating point.
//
// Reading order: lex.go, parse.go, eval.go, functions.go, arithmetic.go.
package jmespath
