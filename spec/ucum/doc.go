// Package ucum reads units of the Unified Code for Units of Measure
// (https://ucum.org), which FHIR quantities are coded with, and brings them to
// base units, so that 5 mg and 0.005 g compare as equal.
//
// units.txt is the table of the standard, made by tools/genucum. Not converted
// are the units whose scale is a logarithm or another function, but for
// temperatures: they are comparable only with themselves.
package ucum
