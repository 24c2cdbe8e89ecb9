package auth

import (
	"fmt"
	"strings"
)

// Perms is what a clinical scope permits: the letters of SMART App Launch 2.x.
type Perms uint8

// The permissions, in the order in which a scope lists them.
const (
	PermCreate Perms = 1 << iota
	PermRead
	PermUpdate
	PermDelete
	PermSearch
)

const permLetters = "cruds"

// String returns the letters.
func (p Perms) String() string {
	var b strings.Builder
	for i := range len(permLetters) {
		if p&(1<<i) != 0 {
			b.WriteByte(permLetters[i])
		}
	}
	return b.String()
}

// The contexts of clinical scopes.
const (
	ForPatient = "patient" // what belongs to the patient in context
	ForUser    = "user"    // what the user may see
	ForSystem  = "system"  // what the client may see; there is no user
)

// Scope is one clinical scope (SMART App Launch 2.2, "Scopes for requesting
// FHIR Resources"), of version 1 or 2.
type Scope struct {
	For   string // ForPatient, ForUser or ForSystem
	Type  string // a resource type or "*"
	Perms Perms
	Query string // search criteria that a resource must match; "" = none
}

// String returns the scope in the form of version 2.
func (s Scope) String() string {
	out := s.For + "/" + s.Type + "." + s.Perms.String()
	if s.Query != "" {
		out += "?" + s.Query
	}
	return out
}

// Covers reports whether s is about resources of a type.
func (s *Scope) Covers(typ string) bool { return s.Type == "*" || s.Type == typ }

// IsClinical reports whether text is meant as a clinical scope.
func IsClinical(text string) bool {
	before, _, ok := strings.Cut(text, "/")
	return ok && (before == ForPatient || before == ForUser || before == ForSystem)
}

// ParseScope reads a clinical scope.
func ParseScope(text string) (Scope, error) {
	bad := func(why string) (Scope, error) {
		return Scope{}, fmt.Errorf("scope %.100q: %s", text, why)
	}
	if !IsClinical(text) {
		return bad("it does not begin with patient/, user/ or system/")
	}
	var s Scope
	var rest string
	s.For, rest, _ = strings.Cut(text, "/")
	rest, query, constrained := strings.Cut(rest, "?")
	typ, perms, ok := strings.Cut(rest, ".")
	if !ok || typ == "" || perms == "" {
		return bad("a resource type, a dot and permissions are needed")
	}
	if typ != "*" && !isTypeName(typ) {
		return bad("the resource type is none")
	}
	s.Type = typ
	switch perms {
	case "read":
		s.Perms = PermRead | PermSearch
	case "write":
		s.Perms = PermCreate | PermUpdate | PermDelete
	case "*":
		s.Perms = PermCreate | PermRead | PermUpdate | PermDelete | PermSearch
	default:
		at := 0
		for _, c := range perms {
			i := strings.IndexRune(permLetters[at:], c)
			if i < 0 {
				return bad("permissions are read, write, * or letters of cruds in this order")
			}
			s.Perms |= 1 << (at + i)
			at += i + 1
		}
	}
	if constrained {
		switch {
		case perms == "read" || perms == "write" || perms == "*":
			return bad("search criteria need permissions of version 2, such as rs")
		case query == "":
			return bad("the search criteria are empty")
		case typ == "*":
			return bad("search criteria need one resource type")
		}
		s.Query = query
	}
	return s, nil
}

// isTypeName reports whether s looks like the name of a resource type. Which
// ones exist is known to the FHIR room; a scope for another one permits nothing.
func isTypeName(s string) bool {
	if len(s) > 64 || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// foreignScope reads the form that clinical scopes have where a scope may hold no
// slash or star, as in Entra ID and Azure Health Data Services:
// patient.Observation.rs, user$all.read. What was meant as a limit must not be
// taken for none.
func foreignScope(text string) string {
	for _, context := range []string{ForPatient, ForUser, ForSystem} {
		rest, ok := strings.CutPrefix(text, context)
		if !ok || rest == "" || rest[0] != '.' && rest[0] != '$' {
			continue
		}
		typ, perms, _ := strings.Cut(rest[1:], ".")
		switch {
		case typ == "all":
			typ = "*"
		case typ == "" || typ != "*" && !isTypeName(typ):
			continue
		}
		if perms == "all" {
			perms = "*"
		}
		return context + "/" + typ + "." + perms
	}
	return text
}

// clinical returns the clinical scopes of a list. Those that cannot be read
// permit nothing.
func clinical(scopes []string) []Scope {
	var out []Scope
	for _, text := range scopes {
		if s, err := ParseScope(text); err == nil {
			out = append(out, s)
		}
	}
	return out
}
