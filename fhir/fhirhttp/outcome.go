package fhirhttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// statuses is the one table from a kind of fault to the HTTP status and the
// issue type (http://hl7.org/fhir/R4/valueset-issue-type.html).
var statuses = [...]struct {
	status int
	code   string
}{
	fault.Internal:        {http.StatusInternalServerError, "exception"},
	fault.Invalid:         {http.StatusBadRequest, "invalid"},
	fault.Unprocessable:   {http.StatusUnprocessableEntity, "processing"},
	fault.NotFound:        {http.StatusNotFound, "not-found"},
	fault.Gone:            {http.StatusGone, "deleted"},
	fault.Conflict:        {http.StatusConflict, "conflict"},
	fault.Precondition:    {http.StatusPreconditionFailed, "conflict"},
	fault.Unauthenticated: {http.StatusUnauthorized, "login"},
	fault.Forbidden:       {http.StatusForbidden, "forbidden"},
	fault.NotAllowed:      {http.StatusMethodNotAllowed, "not-supported"},
	fault.NotAcceptable:   {http.StatusNotAcceptable, "not-supported"},
	fault.Unsupported:     {http.StatusUnsupportedMediaType, "not-supported"},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, "too-long"},
	fault.TooCostly:       {http.StatusBadRequest, "too-costly"},
	fault.Throttled:       {http.StatusTooManyRequests, "throttled"},
	fault.Timeout:         {http.StatusRequestTimeout, "timeout"},
	fault.Transient:       {http.StatusServiceUnavailable, "transient"},
	fault.NotImplemented:  {http.StatusNotImplemented, "not-supported"},
	fault.NotModified:     {http.StatusNotModified, "informational"},
	fault.HeadersTooLarge: {http.StatusRequestHeaderFieldsTooLarge, "too-long"},
}

// status returns the row of the table for a kind.
func status(k fault.Kind) (int, string) {
	if int(k) >= len(statuses) {
		k = fault.Internal
	}
	return statuses[k].status, statuses[k].code
}

// Render answers r with err as an OperationOutcome, in the format that r asks
// for: for the parts of a server that stand before the handler (authentication,
// limits) and answer on FHIR paths. What is internal is for them to log.
func Render(w http.ResponseWriter, r *http.Request, err error) {
	x := exchange{h: silent, w: w, r: r}
	x.fail(err)
}

var silent = &handler{opt: Options{Log: slog.New(slog.DiscardHandler)}}

// fail answers with an error.
func (x *exchange) fail(err error) {
	if x.wrote {
		return
	}
	e := fault.From(err)
	code, _ := status(e.Kind)
	if e.Kind == fault.Internal && !errors.Is(err, context.Canceled) {
		x.h.opt.Log.LogAttrs(x.r.Context(), slog.LevelError, "FHIR request failed", logAttrs(x, e)...)
	}
	h := x.w.Header()
	if m, ok := errors.AsType[*methodError](err); ok {
		h["Allow"] = []string{m.allow}
	}
	if e.Version > 0 && (e.Kind == fault.Gone || e.Kind == fault.NotModified) {
		h["Etag"] = []string{string(appendETag(nil, e.Version))}
	}
	setRetry(h, e)
	if code == http.StatusNotModified {
		x.finish(code, nil)
		return
	}
	if x.format.contentType == nil {
		// It failed before the format was chosen.
		if x.in.Params == nil {
			x.in.Params = x.r.URL.Query()
		}
		if x.setFormat() != nil || x.format.contentType == nil {
			x.format.set(typeFHIR)
		}
	}
	x.out = appendOutcome(x.out[:0], e)
	x.sendJSON(code, x.out)
}

// setRetry asks the client to come back: in seconds, and in the milliseconds of
// Azure. An answer that means "try again" always says when.
func setRetry(h http.Header, e *fault.Error) {
	wait := e.RetryAfter
	if wait <= 0 {
		if e.Kind != fault.Throttled && e.Kind != fault.Transient {
			return
		}
		wait = time.Second
	}
	secs := (wait + time.Second - 1) / time.Second
	h["Retry-After"] = []string{strconv.FormatInt(int64(secs), 10)}
	h["X-Ms-Retry-After-Ms"] = []string{strconv.FormatInt(wait.Milliseconds(), 10)}
}

// appendOutcome appends e as an OperationOutcome.
func appendOutcome(dst []byte, e *fault.Error) []byte {
	_, code := status(e.Kind)
	dst = append(dst, `{"resourceType":"OperationOutcome","issue":[`...)
	if len(e.Issues) == 0 {
		msg := e.Msg
		if msg == "" {
			msg = "the request failed"
		}
		dst = appendIssue(dst, fault.Issue{Severity: "error", Code: code, Diagnostics: msg})
	}
	for i, is := range e.Issues {
		if i > 0 {
			dst = append(dst, ',')
		}
		if is.Severity == "" {
			is.Severity = "error"
		}
		if is.Code == "" {
			is.Code = code
		}
		dst = appendIssue(dst, is)
	}
	return append(dst, "]}"...)
}

// appendIssue appends one OperationOutcome.issue.
func appendIssue(dst []byte, is fault.Issue) []byte {
	dst = append(dst, `{"severity":`...)
	dst = resource.AppendString(dst, is.Severity)
	dst = append(dst, `,"code":`...)
	dst = resource.AppendString(dst, is.Code)
	if is.Diagnostics != "" {
		dst = append(dst, `,"diagnostics":`...)
		dst = resource.AppendString(dst, is.Diagnostics)
	}
	if is.Expression != "" {
		dst = append(dst, `,"expression":[`...)
		dst = resource.AppendString(dst, is.Expression)
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
