package medtechhttp

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// readBody returns the body, inflated. Neither form may be larger than MaxBody.
func (h *handler) readBody(r *http.Request) ([]byte, error) {
	tooLarge := fault.New(fault.TooLarge, "the body is larger than %d bytes", h.opt.MaxBody)
	if r.ContentLength > h.opt.MaxBody {
		return nil, tooLarge
	}
	wire := &io.LimitedReader{R: r.Body, N: h.opt.MaxBody + 1}
	var src io.Reader = wire
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(wire)
		if err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Msg: "the body is not gzip as announced", Err: err}
		}
		src = io.LimitReader(z, h.opt.MaxBody+1)
	default:
		return nil, fault.New(fault.Unsupported, "Content-Encoding %.40q is not supported; send gzip or nothing", enc)
	}
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 {
		buf.Grow(int(min(n, 1<<20)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(src)
	var tooBig *http.MaxBytesError
	switch {
	case int64(buf.Len()) > h.opt.MaxBody || wire.N == 0 || errors.As(err, &tooBig):
		return nil, tooLarge
	case err != nil:
		return nil, &fault.Error{Kind: fault.Invalid, Msg: "the body could not be read: it is incomplete or not compressed as announced", Err: err}
	}
	return bytes.TrimPrefix(buf.Bytes(), []byte("\ufeff")), nil
}

// enter waits until there is room to work on a body; what it returns is given
// back with Leave.
func (h *handler) enter(r *http.Request, body []byte) (int64, error) {
	held, err := h.opt.Bodies.Enter(r.Context(), int64(len(body)))
	if err != nil {
		return 0, &fault.Error{Kind: fault.Throttled, Msg: "too many large bodies at the same time", RetryAfter: time.Second, Err: err}
	}
	return held, nil
}

// mediaType returns the type of the body; "" when there is none.
func mediaType(r *http.Request) (string, error) {
	text := r.Header.Get("Content-Type")
	if text == "" {
		return "", nil
	}
	typ, _, err := mime.ParseMediaType(text)
	if err != nil {
		return "", fault.New(fault.Unsupported, "Content-Type %.80q cannot be read", text)
	}
	return typ, nil
}

// jsonType refuses a body that is announced as something other than JSON.
func jsonType(r *http.Request) error {
	typ, err := mediaType(r)
	if err != nil {
		return err
	}
	if typ == "" || typ == "application/json" || typ == "text/json" || strings.HasSuffix(typ, "+json") {
		return nil
	}
	return fault.New(fault.Unsupported, "Content-Type %.80q is not supported; send application/json", typ)
}

// decode reads a JSON body strictly into v. An empty body leaves v alone.
func (h *handler) decode(r *http.Request, v any) error {
	if err := jsonType(r); err != nil {
		return err
	}
	text, err := h.readBody(r)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fault.New(fault.Invalid, "the body cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if d.More() {
		return fault.New(fault.Invalid, "the body has more than one JSON value")
	}
	return nil
}
