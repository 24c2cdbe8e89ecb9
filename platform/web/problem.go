package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Status returns the HTTP status of a kind of fault, for edges without a table
// of their own.
func Status(k fault.Kind) int {
	switch k {
	case fault.Invalid, fault.TooCostly:
		return http.StatusBadRequest
	case fault.Unprocessable:
		return http.StatusUnprocessableEntity
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Gone:
		return http.StatusGone
	case fault.Conflict:
		return http.StatusConflict
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotAllowed:
		return http.StatusMethodNotAllowed
	case fault.NotAcceptable:
		return http.StatusNotAcceptable
	case fault.Unsupported:
		return http.StatusUnsupportedMediaType
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Timeout:
		return http.StatusRequestTimeout
	case fault.Transient:
		return http.StatusServiceUnavailable
	case fault.NotImplemented:
		return http.StatusNotImplemented
	case fault.HeadersTooLarge:
		return http.StatusRequestHeaderFieldsTooLarge
	case fault.NotModified:
		return http.StatusNotModified
	}
	return http.StatusInternalServerError
}

// SetRetryAfter puts Retry-After on an answer that asks the client to come
// back: whole seconds, at least one (RFC 9110 section 10.2.3).
func SetRetryAfter(h http.Header, e *fault.Error) {
	if e.Kind != fault.Throttled && e.Kind != fault.Transient {
		return
	}
	h.Set("Retry-After", strconv.Itoa(max(1, int((e.RetryAfter+time.Second-1)/time.Second))))
}

// find is one finding of a problem, as in the example of RFC 9457 section 3.
type find struct {
	Detail  string `json:"detail"`
	Pointer string `json:"pointer,omitempty"`
}

// Problem answers with application/problem+json (RFC 9457). The cause of an
// internal fault is not shown.
func Problem(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	status := Status(e.Kind)
	detail := e.Msg
	if detail == "" && len(e.Issues) > 0 {
		detail = e.Issues[0].Diagnostics
	}
	body := struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail,omitempty"`
		Instance string `json:"instance,omitempty"`
		Errors   []find `json:"errors,omitempty"`
	}{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
	for _, i := range e.Issues {
		body.Errors = append(body.Errors, find{i.Diagnostics, i.Expression})
	}
	if q := From(r.Context()); q != nil {
		body.Instance = "urn:request:" + q.ID
	}
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: strings and a number
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	SetRetryAfter(h, e)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // the client is gone when this fails
	}
}
