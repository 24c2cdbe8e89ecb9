package fhirhttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/fhirxml"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// readBody reads the request body into x.body, inflated. Neither the body on the
// wire nor the inflated one may exceed MaxBody.
func (x *exchange) readBody() error {
	limit := x.h.opt.MaxBody
	if x.r.ContentLength > limit {
		return x.tooLarge()
	}
	var src io.Reader = x.r.Body
	switch enc := strings.ToLower(strings.Join(x.r.Header["Content-Encoding"], ", ")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := openGzip(&io.LimitedReader{R: x.r.Body, N: limit + 1})
		if err != nil {
			return x.badBody(err)
		}
		defer gzips.Put(z)
		src = z
	default:
		x.w.Header()["Accept-Encoding"] = acceptEncoding // RFC 9110 section 12.5.3
		return fault.New(fault.Unsupported, "Content-Encoding %q is not supported; send gzip or nothing", printable(enc))
	}
	var err error
	x.body, err = readAll(x.body[:0], src, x.r.ContentLength, limit)
	switch {
	case errors.Is(err, errTooLarge):
		return x.tooLarge()
	case err != nil:
		return x.badBody(err)
	}
	x.held, err = x.h.opt.Bodies.Enter(x.r.Context(), int64(len(x.body)))
	if err != nil {
		return &fault.Error{Kind: fault.Throttled, Msg: "too many large bodies at the same time", RetryAfter: time.Second, Err: err}
	}
	return nil
}

var gzips sync.Pool

// acceptEncoding is the header that says which encodings a body may have.
var acceptEncoding = []string{"gzip"}

func openGzip(r io.Reader) (*gzip.Reader, error) {
	if z, ok := gzips.Get().(*gzip.Reader); ok {
		if err := z.Reset(r); err != nil {
			return nil, err
		}
		return z, nil
	}
	return gzip.NewReader(r)
}

var errTooLarge = errors.New("the body is too large")

// readAll appends all of r to dst. It trusts the announced size only so far,
// so that announcing costs a client as much as sending.
func readAll(dst []byte, r io.Reader, size, limit int64) ([]byte, error) {
	const trust = 1 << 20
	if size < 511 {
		size = 511
	}
	if need := int(min(size, trust)) + 1; cap(dst) < need {
		dst = make([]byte, 0, need)
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)) > limit {
			return dst, errTooLarge
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// tooLarge refuses the body and gives up the connection: the rest is not read.
func (x *exchange) tooLarge() error {
	x.w.Header()["Connection"] = []string{"close"}
	return fault.New(fault.TooLarge, "the body is larger than %d bytes", x.h.opt.MaxBody)
}

// badBody explains why a body could not be read.
func (x *exchange) badBody(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return x.tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &fault.Error{Kind: fault.Timeout, Msg: "the body did not arrive in time", Err: err}
	}
	return &fault.Error{Kind: fault.Invalid, Msg: "the body could not be read: it is incomplete or not compressed as announced", Err: err}
}

// readFHIR reads and parses the body, JSON or XML, into x.doc.
func (x *exchange) readFHIR() error {
	isXML, err := x.bodyType()
	if err != nil {
		return err
	}
	if err := x.readBody(); err != nil {
		return err
	}
	if isXML {
		return x.parseXML()
	}
	return x.parseJSON(&x.doc, x.body)
}

// parseXML turns the body, which is XML, into JSON and parses that.
func (x *exchange) parseXML() error {
	opt := resource.Options{MaxDepth: x.h.opt.MaxDepth, MaxNodes: x.h.opt.MaxNodes}
	text, err := fhirxml.AppendJSON(x.tmp[:0], x.body, opt)
	if err != nil {
		return located(err, x.body)
	}
	x.tmp, x.body = x.body, text
	return x.parseJSON(&x.doc, x.body)
}

// parseJSON parses src, which must be an object, and locates the first error.
func (x *exchange) parseJSON(d *resource.Doc, src []byte) error {
	if err := x.parseAny(d, src); err != nil {
		return err
	}
	if d.Root().Kind() != resource.Object {
		return fault.At(fault.Invalid, "structure", "", "the body is not a JSON object")
	}
	return nil
}

// parseAny parses src, whatever JSON it is, and locates the first error.
func (x *exchange) parseAny(d *resource.Doc, src []byte) error {
	return located(d.Parse(src, resource.Options{MaxDepth: x.h.opt.MaxDepth, MaxNodes: x.h.opt.MaxNodes}), src)
}

// located says of a syntax error in src where it is.
func located(err error, src []byte) error {
	if err == nil {
		return nil
	}
	se, ok := errors.AsType[*resource.SyntaxError](err)
	if !ok {
		return fault.Wrap("fhirhttp: parse", err)
	}
	if len(bytes.TrimSpace(src)) == 0 {
		return fault.At(fault.Invalid, "structure", "", "the body is empty")
	}
	line, col := position(src, se.Offset)
	return fault.At(fault.Invalid, se.Code, se.Path, "%s", fmt.Sprintf("%s (line %d, column %d)", se.Msg, line, col))
}

// position turns an offset into a line and a column, both from 1.
func position(src []byte, off int) (line, col int) {
	before := src[:max(0, min(off, len(src)))]
	return 1 + bytes.Count(before, []byte{'\n'}), len(before) - bytes.LastIndexByte(before, '\n')
}

// readForm merges the parameters of a POST _search into those of the URL (R4
// section 3.1.1.3).
func (x *exchange) readForm() error {
	h := x.r.Header.Get("Content-Type")
	if h == "" && x.r.ContentLength == 0 {
		return nil
	}
	typ, params, err := mime.ParseMediaType(h)
	if err != nil || typ != "application/x-www-form-urlencoded" {
		return fault.New(fault.Unsupported, "a _search needs Content-Type application/x-www-form-urlencoded, not %q", printable(h))
	}
	if err := checkParams(params); err != nil {
		return err
	}
	if err := x.readBody(); err != nil {
		return err
	}
	raw := strings.TrimSpace(string(x.body))
	if raw == "" {
		return nil
	}
	if strings.Count(raw, "&")+strings.Count(x.in.RawQuery, "&") >= maxParams {
		return fault.At(fault.Invalid, "too-costly", "", "more than %d parameters", maxParams)
	}
	form, err := search.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.Invalid, "the form is not percent-encoded properly")
	}
	if x.in.RawQuery == "" {
		x.in.RawQuery, x.in.Params = raw, form
	} else {
		x.in.RawQuery += "&" + raw
		for k, v := range form {
			x.in.Params[k] = append(x.in.Params[k], v...)
		}
	}
	// The form may hold _format, _pretty, _summary and _elements.
	return x.negotiate()
}
