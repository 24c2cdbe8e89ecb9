package mapping

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Options choose between the ways to read mappings.
type Options struct {
	// MS evaluates expressions only where AHDS does and makes the Observations
	// that it makes: effectivePeriod always, identifiers in whole seconds.
	MS bool
	// IgnorePeriod lets periodInterval only group SampledData, as the
	// documentation of AHDS says; its program groups all values.
	IgnorePeriod bool
}

// Problem is one finding in a mapping.
type Problem struct {
	Line    int    `json:"line,omitempty"` // from 1; 0 when it is about no place
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // template[2].template.typeName
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"` // the mapping can be used all the same
}

// String returns the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems are all findings of a mapping, in the order of the text.
type Problems []Problem

// Error implements error.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "; ")
}

// Fatal returns the problems that are no warnings.
func (ps Problems) Fatal() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return p.Warning })
}

// position returns the line and column, counted from 1, of an offset. A column
// is a character.
func position(src []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(src))
	before := src[:offset]
	line = 1 + bytes.Count(before, []byte{'\n'})
	start := bytes.LastIndexByte(before, '\n') + 1
	return line, 1 + utf8.RuneCount(bytes.TrimPrefix(before[start:], []byte("\ufeff")))
}

// Class names what went wrong with a message, with the names of AHDS.
type Class string

// The classes.
const (
	CorrelationIDNotDefined Class = "CorrelationIdNotDefined"
	FHIRDataMapping         Class = "FhirDataMapping"
	IncompatibleData        Class = "IncompatibleData"
	InvalidDataFormat       Class = "InvalidDataFormat"
	InvalidQuantity         Class = "InvalidQuantityFhirValue"
	TemplateExpression      Class = "TemplateExpression"
	TemplateNotFound        Class = "TemplateNotFound"
)

// Error says why a message, or a part of it, gives no measurement or no
// Observation. Msg holds no data of the message, so that it can be logged.
type Error struct {
	Class    Class
	TypeName string // of the template; may be empty
	Line     int    // in the mapping; 0 when it is about no place
	Column   int
	Msg      string
}

// Error implements error.
func (e *Error) Error() string {
	s := string(e.Class) + ": "
	if e.TypeName != "" {
		s += "template " + e.TypeName + ": "
	}
	s += e.Msg
	if e.Line > 0 {
		s += fmt.Sprintf(" (Line Number: %d, Position: %d)", e.Line, e.Column)
	}
	return s
}
