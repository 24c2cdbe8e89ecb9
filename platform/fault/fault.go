// Package fault is the one error type of the platform.
//
// A room returns *Error; each edge has exactly one table from Kind to a status
// code and a body (OperationOutcome, problem+json, DICOM failure reason). Msg
// and Issues are safe to show to a client; Err is only ever logged.
package fault

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Kind says what went wrong in terms that a caller can act on.
type Kind uint8

// The kinds. The zero Kind is Internal, so that a forgotten kind is never shown as the client's mistake.
const (
	Internal        Kind = iota // a defect or a broken machine: 500
	Invalid                     // malformed input: 400
	Unprocessable               // well formed, breaks a rule: 422
	NotFound                    // 404
	Gone                        // deleted: 410
	Conflict                    // 409
	Precondition                // If-Match and friends, or several matches: 412
	Unauthenticated             // 401
	Forbidden                   // 403
	NotAllowed                  // known route, wrong method: 405
	NotAcceptable               // 406
	Unsupported                 // media type: 415
	TooLarge                    // 413
	TooCostly                   // refused by a cost limit: 400 with code too-costly
	Throttled                   // 429
	Timeout                     // 408
	Transient                   // try again: 503
	NotImplemented              // known to the standard, not offered here: 501
	NotModified                 // conditional read: 304
	HeadersTooLarge             // 431
)

// Issue is one finding, in the terms of OperationOutcome.issue (R4 section 2.39).
type Issue struct {
	Severity    string // fatal | error | warning | information; "" means error
	Code        string // http://hl7.org/fhir/issue-type; "" lets the edge choose by Kind
	Diagnostics string
	Expression  string // FHIRPath location such as Patient.name[0].given; may be empty
}

// Error is the platform's error.
type Error struct {
	Kind       Kind
	Op         string        // the operation that failed, for the log: "fhirsql: read"
	Msg        string        // one safe sentence for the client
	Issues     []Issue       // optional located findings
	RetryAfter time.Duration // for Throttled and Transient
	Version    int64         // for Gone: the version of the deletion (ETag)
	Err        error         // the cause; logged, never shown
}

// Error implements error. It holds the cause, so it is for logs, not for clients.
func (e *Error) Error() string {
	s := e.Msg
	if s == "" && len(e.Issues) > 0 {
		s = e.Issues[0].Diagnostics
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an Error of a kind with a safe message.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// At returns an Error with one located issue.
func At(k Kind, code, expression, format string, args ...any) *Error {
	msg := fmt.Sprintf(format, args...)
	return &Error{Kind: k, Msg: msg, Issues: []Issue{{Severity: "error", Code: code, Diagnostics: msg, Expression: expression}}}
}

// Wrap returns an Internal error around a cause; nil stays nil. An *Error passes
// through unchanged, so that the innermost kind wins.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Kind: Internal, Op: op, Msg: "internal error", Err: err}
}

// Guard calls f. A panic in it becomes an Internal error with the stack: what was
// asked fails, not the process with all that others asked. Goroutines that work on
// what clients sent need it; those of a request have the server's.
func Guard(op string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Error{Kind: Internal, Op: op, Msg: "internal error", Err: &Panic{Value: v, Stack: debug.Stack()}}
		}
	}()
	return f()
}

// Panic is the cause of an error of Guard.
type Panic struct {
	Value any
	Stack []byte
}

// Error implements error.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// From returns err as *Error: itself, or an Internal error around it. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Msg: "internal error", Err: err}
}

// Is reports whether err is, or wraps, an Error of kind k.
func Is(err error, k Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == k
}
