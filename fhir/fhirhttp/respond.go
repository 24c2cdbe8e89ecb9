package fhirhttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/fhirxml"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// logAttrs describes a failed request without any of its content.
func logAttrs(x *exchange, e *fault.Error) []slog.Attr {
	return []slog.Attr{
		slog.String("verb", string(x.in.Verb)), slog.String("type", x.in.Type), slog.String("id", x.in.ID),
		slog.String("op", e.Op), slog.Any("err", e.Err),
	}
}

// read answers a read or vread. This is the hot path: one copy from the stored
// form into a buffer, one Write.
func (x *exchange) read() error {
	if err := x.setConditions(); err != nil {
		return err
	}
	resp, err := x.h.svc.Do(x.r.Context(), &x.in)
	if err != nil {
		return err
	}
	rec := resp.Record
	if rec == nil {
		return errNoRecord(&x.in)
	}
	if x.format.raw {
		return x.rawBinary(rec)
	}
	if x.out, err = x.appendRecord(x.out[:0], rec, &x.view); err != nil {
		return err
	}
	x.sendRecord(http.StatusOK, rec)
	return nil
}

// errNoRecord reports a service that broke its contract.
func errNoRecord(in *fhir.Interaction) error {
	return &fault.Error{Kind: fault.Internal, Op: "fhirhttp: " + string(in.Verb), Msg: "internal error", Err: errors.New("the service returned no record")}
}

// write answers a create, update or patch.
func (x *exchange) write() error {
	if err := x.setConditions(); err != nil {
		return err
	}
	if _, ok := x.r.Header["Content-Range"]; ok { // RFC 9110 section 14.5
		return fault.At(fault.Invalid, "not-supported", "", "Content-Range is not possible: a resource is written as a whole")
	}
	if err := x.profileValidation(); err != nil {
		return err
	}
	if x.in.Verb == fhir.VerbPatch {
		if err := x.readPatch(); err != nil {
			return err
		}
	} else if err := x.readResource(); err != nil {
		return err
	}
	x.in.Body, x.in.Base = x.doc.Root(), x.baseURL()
	var resp *fhir.Response
	var err error
	if h, ok := x.r.Header["X-Provenance"]; ok {
		resp, err = x.withProvenance(h)
	} else {
		resp, err = x.h.svc.Do(x.r.Context(), &x.in)
	}
	if err != nil {
		return err
	}
	return x.written(resp)
}

// written renders the answer to a create, update or patch as Prefer asks (R4 section 3.1.0.1.7).
func (x *exchange) written(resp *fhir.Response) error {
	rec := resp.Record
	if rec == nil {
		return errNoRecord(&x.in)
	}
	x.noteResource(rec)
	code := resp.Status
	if code == 0 {
		code = http.StatusOK
	}
	x.w.Header()["Location"] = []string{string(x.appendLocation(nil, rec.Type, rec.ID, rec.Version))}
	switch x.prefer.returns {
	case returnMinimal:
		x.out = x.out[:0]
	case returnOutcome:
		x.out = appendDone(x.out[:0], resp, rec.Type, rec.ID)
	default:
		var err error
		if x.out, err = x.appendRecord(x.out[:0], rec, &x.view); err != nil {
			return err
		}
	}
	x.sendRecord(code, rec)
	return nil
}

// delete answers a delete or $purge-history.
func (x *exchange) delete() error {
	if _, ok := x.r.Header["X-Provenance"]; ok {
		return fault.At(fault.Invalid, "not-supported", "", "X-Provenance is not possible on a delete; create the Provenance beside it")
	}
	if err := x.setConditions(); err != nil {
		return err
	}
	x.in.Base = x.baseURL()
	resp, err := x.h.svc.Do(x.r.Context(), &x.in)
	if err != nil {
		return err
	}
	h := x.w.Header()
	if resp.Version > 0 {
		h["Etag"] = []string{string(appendETag(nil, resp.Version))}
	}
	if x.in.Conditional {
		h["Items-Deleted"] = []string{strconv.Itoa(resp.Deleted)}
	}
	if x.prefer.returns != returnOutcome {
		x.finish(http.StatusNoContent, nil)
		return nil
	}
	x.out = appendDone(x.out[:0], resp, x.in.Type, x.in.ID)
	x.sendJSON(http.StatusOK, x.out)
	return nil
}

// appendDone appends the OperationOutcome of a successful write.
func appendDone(dst []byte, resp *fhir.Response, typ, id string) []byte {
	what := "done"
	switch resp.Outcome {
	case fhir.Created:
		what = "created"
	case fhir.Updated:
		what = "updated"
	case fhir.Unchanged:
		what = "unchanged"
	case fhir.Deleted:
		what = "deleted"
	case fhir.Absent:
		what = "nothing to delete"
	}
	name := typ
	if id != "" {
		name += "/" + id
	}
	dst = append(dst, `{"resourceType":"OperationOutcome","issue":[`...)
	dst = append(dst, `{"severity":"information","code":"informational","details":{"text":`...)
	dst = resource.AppendString(dst, name+": "+what)
	dst = append(dst, `},"diagnostics":`...)
	dst = resource.AppendString(dst, name+": "+what)
	return append(dst, "}]}"...)
}

// appendRecord appends a resource, shown as v says.
func (x *exchange) appendRecord(dst []byte, rec *fhir.Record, v *view) ([]byte, error) {
	h := resource.Header{Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time()}
	if v.whole() {
		return resource.AppendResource(dst, h, rec.Stored), nil
	}
	x.tmp = resource.AppendResource(x.tmp[:0], h, rec.Stored)
	if err := x.extra.Parse(x.tmp, resource.Options{MaxDepth: maxStoredDepth}); err != nil {
		return dst, fault.Wrap("fhirhttp: stored resource", err)
	}
	return appendSubset(dst, x.extra.Root(), v), nil
}

// maxStoredDepth is beyond anything that was let in.
const maxStoredDepth = 10_000

// appendETag appends W/"version".
func appendETag(dst []byte, version int64) []byte {
	dst = append(dst, `W/"`...)
	return append(strconv.AppendInt(dst, version, 10), '"')
}

// appendLocation appends [base]/Type/id/_history/version.
func (x *exchange) appendLocation(dst []byte, typ, id string, version int64) []byte {
	dst = append(dst, x.baseURL()...)
	dst = append(dst, '/')
	dst = append(dst, typ...)
	dst = append(dst, '/')
	dst = append(dst, id...)
	dst = append(dst, "/_history/"...)
	return strconv.AppendInt(dst, version, 10)
}

// sendRecord sends x.out with the headers of a version. All values of the
// headers share one string and one slice.
func (x *exchange) sendRecord(code int, rec *fhir.Record) {
	body := x.formatted(x.out)
	var buf [96]byte
	b := appendETag(buf[:0], rec.Version)
	n1 := len(b)
	b = appendHTTPTime(b, rec.Seq.Time())
	n2 := len(b)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	s := string(b)
	vals := []string{s[:n1], s[n1:n2], s[n2:]}
	h := x.w.Header()
	h["Etag"] = vals[0:1:1]
	h["Last-Modified"] = vals[1:2:2]
	h["Content-Length"] = vals[2:3:3]
	if len(body) > 0 {
		h["Content-Type"] = x.format.contentType
	}
	x.finish(code, body)
}

// sendJSON sends a body with its type and length.
func (x *exchange) sendJSON(code int, body []byte) {
	body = x.formatted(body)
	h := x.w.Header()
	h["Content-Type"] = x.format.contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.finish(code, body)
}

// formatted applies _pretty and writes XML, if that is the format of the answer.
func (x *exchange) formatted(body []byte) []byte {
	if len(body) == 0 {
		return body
	}
	if x.format.xml {
		if text, ok := x.asXML(body); ok {
			return text
		}
		x.format.set(typeFHIR)
	}
	if !x.format.pretty {
		return body
	}
	x.pretty = append(resource.AppendIndent(x.pretty[:0], body), '\n')
	return x.pretty
}

// asXML rewrites an answer as XML. It is not ok for the few texts that XML cannot
// hold, such as the character U+FFFF; an answer in JSON, which says so in its
// Content-Type, is then better than none: a write has happened already.
func (x *exchange) asXML(body []byte) ([]byte, bool) {
	if err := x.extra.Parse(body, resource.Options{MaxDepth: maxStoredDepth}); err != nil {
		x.h.opt.Log.LogAttrs(x.r.Context(), slog.LevelError, "an answer is not JSON", slog.Any("err", err))
		return nil, false
	}
	text, err := fhirxml.Append(x.pretty[:0], x.extra.Root(), x.format.pretty)
	if err != nil {
		return nil, false
	}
	x.pretty = text
	return text, true
}

// finish writes the answer.
func (x *exchange) finish(code int, body []byte) {
	x.wrote, x.status = true, code
	x.w.WriteHeader(code)
	if len(body) == 0 || x.r.Method == http.MethodHead {
		return
	}
	n, err := x.w.Write(body)
	x.sent = n
	if err != nil && x.r.Context().Err() == nil {
		x.h.opt.Log.LogAttrs(context.Background(), slog.LevelDebug, "client went away", slog.Any("err", err))
	}
}

// appendHTTPTime appends t as http.TimeFormat, which Time.AppendFormat does at
// a quarter of the cost of a whole read. t is in UTC and has a year of four digits.
func appendHTTPTime(dst []byte, t time.Time) []byte {
	const days, months = "SunMonTueWedThuFriSat", "JanFebMarAprMayJunJulAugSepOctNovDec"
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	two := func(v int, sep byte) { dst = append(dst, byte('0'+v/10), byte('0'+v%10), sep) }
	w := 3 * int(t.Weekday())
	dst = append(append(dst, days[w:w+3]...), ", "...)
	two(day, ' ')
	dst = append(append(dst, months[3*month-3:3*month]...), ' ')
	dst = append(dst, byte('0'+year/1000%10), byte('0'+year/100%10))
	two(year%100, ' ')
	two(hour, ':')
	two(minute, ':')
	two(second, ' ')
	return append(dst, "GMT"...)
}

// appendInstant appends an instant as a JSON string.
func appendInstant(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = resource.AppendInstant(dst, t)
	return append(dst, '"')
}
