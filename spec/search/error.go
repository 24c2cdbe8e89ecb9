package search

import "fmt"

// Error is a search that is refused. Code is an issue type of FHIR: "invalid"
// or "value" for a mistake of the client, "not-supported" for a part of the
// standard that has no meaning here, "too-costly" for a limit. Msg is safe to show.
type Error struct {
	Param string // as written in the URL, with modifier; "" when it is the search as a whole
	Code  string
	Msg   string
	// Modifier says that a modifier is the cause; that is never left out.
	Modifier bool
}

// Error implements error.
func (e *Error) Error() string {
	if e.Param == "" {
		return e.Msg
	}
	return fmt.Sprintf("search parameter %q: %s", e.Param, e.Msg)
}

func invalid(param, format string, args ...any) *Error {
	return &Error{Param: param, Code: "invalid", Msg: fmt.Sprintf(format, args...)}
}

func badValue(param, format string, args ...any) *Error {
	return &Error{Param: param, Code: "value", Msg: fmt.Sprintf(format, args...)}
}

func notSupported(param, format string, args ...any) *Error {
	return &Error{Param: param, Code: "not-supported", Msg: fmt.Sprintf(format, args...)}
}
