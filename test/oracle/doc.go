// Package oracle tests answers against a model: random searches over real
// resources, made from the resources' own values, must find in a store exactly
// what a brute-force evaluation finds.
package oracle
