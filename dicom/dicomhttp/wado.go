package dicomhttp

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// offer is how an answer with DICOM files is given.
type offer struct {
	multipart bool
	syntax    string // "*" for the stored one
}

// offers turns the Accept header into ways to give DICOM files, best first
// (PS3.18 section 8.7.3.5.2). The default transfer syntax is Explicit VR Little Endian.
func offers(list []mediaRange) []offer {
	var out []offer
	for _, m := range list {
		syntax := m.syntax
		if syntax == "" {
			syntax = dcm.ExplicitLittle
		}
		switch m.full {
		case typeMultipart, "multipart/*":
			if m.typ == typeDICOM || m.typ == "" || m.typ == "application/*" || m.typ == "*/*" {
				out = append(out, offer{true, syntax})
			}
		case typeDICOM, "application/*":
			out = append(out, offer{false, syntax})
		case "*/*":
			if m.syntax == "" {
				syntax = "*"
			}
			out = append(out, offer{true, syntax})
		}
	}
	return out
}

var errNotAcceptable = fault.New(fault.NotAcceptable, "None of the media types and transfer syntaxes of the Accept header can be given.")

// original reports whether the version before bulk updates is wanted.
func (x *exchange) original() bool {
	return strings.EqualFold(x.r.Header.Get("Msdicom-Request-Original"), "true")
}

// retrieve is GET of a study, series or instance (PS3.18 section 10.4).
func (x *exchange) retrieve() error {
	list := offers(accepts(x.r))
	if len(list) == 0 {
		return errNotAcceptable
	}
	if x.rt.level == dicom.LevelInstance {
		return x.retrieveInstance(list)
	}
	ctx := x.long()
	_, n, err := x.h.s.Count(ctx, x.target())
	if err != nil {
		return err
	}
	for _, o := range list {
		if !o.multipart && n > 1 {
			continue
		}
		ok, err := x.possible(ctx, o.syntax)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if !o.multipart {
			for in, err := range x.h.s.Instances(ctx, x.target()) {
				if err != nil {
					return err
				}
				return x.file(ctx, in, o.syntax)
			}
		}
		return x.files(ctx, o.syntax)
	}
	return errNotAcceptable
}

// possible reports whether all instances of the target can be given in a syntax.
func (x *exchange) possible(ctx context.Context, syntax string) (bool, error) {
	if syntax == "*" {
		return true, nil
	}
	for in, err := range x.h.s.Instances(ctx, x.target()) {
		if err != nil {
			return false, err
		}
		if !dicom.CanTranscode(in.Syntax, syntax) {
			return false, nil
		}
	}
	return true, nil
}

// files answers with all instances of the target as parts.
func (x *exchange) files(ctx context.Context, syntax string) error {
	var m *multipartWriter
	for in, err := range x.h.s.Instances(ctx, x.target()) {
		if err != nil {
			return err
		}
		if m == nil {
			m = x.multipart(typeDICOM, -1)
		}
		if err := x.filePart(ctx, m, in, syntax); err != nil {
			return err
		}
	}
	return m.close()
}

func (x *exchange) filePart(ctx context.Context, m *multipartWriter, in *dicom.Instance, syntax string) error {
	x.stall()
	if syntax == "*" || syntax == in.Syntax {
		r, _, err := x.h.s.File(ctx, in, x.original())
		if err != nil {
			return err
		}
		defer r.Close()
		if err := m.part(typeDICOM, in.Syntax); err != nil {
			return err
		}
		return x.copy(r)
	}
	return x.h.s.Transcode(ctx, &late{w: x.w, begin: func() error { return m.part(typeDICOM, syntax) }}, in, x.original(), syntax)
}

// late does something before the first byte goes out, so that what fails before
// can still be answered by a status.
type late struct {
	w     io.Writer
	begin func() error
}

// Write implements io.Writer.
func (l *late) Write(p []byte) (int, error) {
	if l.begin != nil {
		if err := l.begin(); err != nil {
			return 0, err
		}
		l.begin = nil
	}
	return l.w.Write(p)
}

func (x *exchange) retrieveInstance(list []offer) error {
	ctx := x.long()
	in, err := x.h.s.Instance(ctx, x.target())
	if err != nil {
		return err
	}
	for _, o := range list {
		if o.syntax != "*" && !dicom.CanTranscode(in.Syntax, o.syntax) {
			continue
		}
		if !o.multipart {
			return x.file(ctx, in, o.syntax)
		}
		if o.syntax != "*" && o.syntax != in.Syntax {
			m := x.multipart(typeDICOM, -1)
			if err := x.filePart(ctx, m, in, o.syntax); err != nil {
				return err
			}
			return m.close()
		}
		return x.wholePart(ctx, in)
	}
	return errNotAcceptable
}

// wholePart answers with the stored file as the only part; the size is known.
func (x *exchange) wholePart(ctx context.Context, in *dicom.Instance) error {
	r, size, err := x.h.s.File(ctx, in, x.original())
	if err != nil {
		return err
	}
	defer r.Close()
	m := x.multipart(typeDICOM, size+partOverhead(typeDICOM, in.Syntax))
	if err := m.part(typeDICOM, in.Syntax); err != nil {
		return err
	}
	if err := x.copy(r); err != nil {
		return err
	}
	return m.close()
}

// file answers with one file, not in parts.
func (x *exchange) file(ctx context.Context, in *dicom.Instance, syntax string) error {
	if syntax != "*" && syntax != in.Syntax {
		x.stall()
		return x.h.s.Transcode(ctx, &late{w: x.w, begin: func() error {
			x.w.Header()["Content-Type"] = []string{typeDICOM + "; transfer-syntax=" + syntax}
			x.w.WriteHeader(http.StatusOK)
			return nil
		}}, in, x.original(), syntax)
	}
	r, size, err := x.h.s.File(ctx, in, x.original())
	if err != nil {
		return err
	}
	defer r.Close()
	version := in.Version
	if x.original() && in.OriginalVersion > 0 {
		version = in.OriginalVersion
	}
	x.w.Header()["Etag"] = []string{dicom.ETag(in.UIDs, version, 1)}
	return x.plain(r, size, typeDICOM+"; transfer-syntax="+in.Syntax)
}

// plain answers with bytes of a known size, or the range of them that is asked
// for (RFC 9110 section 14).
func (x *exchange) plain(r io.Reader, size int64, mediaType string) error {
	h := x.w.Header()
	h["Content-Type"] = []string{mediaType}
	h["Accept-Ranges"] = []string{"bytes"}
	if tag := h.Get("Etag"); tag != "" && matches(x.r.Header.Get("If-None-Match"), tag) {
		return fault.New(fault.NotModified, "")
	}
	code, from, n := http.StatusOK, int64(0), size
	if spec := x.r.Header.Get("Range"); spec != "" && x.rangeHolds(h.Get("Etag")) {
		var ok, can bool
		if from, n, ok, can = byteRange(spec, size); can && !ok {
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
			x.w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return nil
		} else if can {
			code = http.StatusPartialContent
			h.Set("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+n-1, 10)+"/"+strconv.FormatInt(size, 10))
		}
	}
	h["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	x.w.WriteHeader(code)
	if x.r.Method == http.MethodHead {
		return nil
	}
	if from > 0 {
		if s, ok := r.(io.Seeker); ok {
			if _, err := s.Seek(from, io.SeekStart); err != nil {
				return err
			}
		} else if _, err := io.CopyN(io.Discard, r, from); err != nil {
			return err
		}
	}
	return x.copy(io.LimitReader(r, n))
}

// rangeHolds reports whether If-Range lets the Range count.
func (x *exchange) rangeHolds(tag string) bool {
	cond := x.r.Header.Get("If-Range")
	return cond == "" || cond == tag
}

// byteRange reads a single range. can is false when the header is not one that
// is understood, and is ignored then.
func byteRange(spec string, size int64) (from, n int64, ok, can bool) {
	from, n = 0, size
	s, isBytes := strings.CutPrefix(spec, "bytes=")
	a, b, dash := strings.Cut(strings.TrimSpace(s), "-")
	if !isBytes || !dash || strings.Contains(s, ",") {
		return from, n, false, false
	}
	if a == "" {
		last, err := strconv.ParseInt(b, 10, 64)
		if err != nil || last < 0 {
			return from, n, false, false
		}
		last = min(last, size)
		return size - last, last, last > 0, true
	}
	from, err := strconv.ParseInt(a, 10, 64)
	if err != nil || from < 0 {
		return 0, size, false, false
	}
	to := size - 1
	if b != "" {
		if to, err = strconv.ParseInt(b, 10, 64); err != nil || to < from {
			return 0, size, false, false
		}
		to = min(to, size-1)
	}
	return from, to - from + 1, from < size, true
}

// matches reports whether If-None-Match names a tag.
func matches(header, tag string) bool {
	if header == "" {
		return false
	}
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || part == tag || `"`+part+`"` == tag {
			return true
		}
	}
	return false
}

// copy sends bytes to a client who may be slow, but not silent.
func (x *exchange) copy(r io.Reader) error {
	if x.r.Method == http.MethodHead {
		return nil
	}
	x.stall()
	if more, err := x.w.gather(r); err != nil {
		return &fault.Error{Kind: fault.Internal, Op: "dicomhttp: read", Msg: "the answer broke off", Err: err}
	} else if !more {
		return nil
	}
	for {
		x.stall()
		n, err := io.CopyN(x.w, r, 4<<20)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &fault.Error{Kind: fault.Internal, Op: "dicomhttp: send", Msg: "the answer broke off", Err: context.Canceled}
		}
		if n == 0 {
			return nil
		}
	}
}

// multipartWriter writes a multipart/related answer (RFC 2387).
type multipartWriter struct {
	x        *exchange
	boundary string
	partType string
	size     int64
}

const boundaryLength = 26 // of rand.Text

// multipart is an answer in parts of a media type, which begins with the first
// part; size is that of the body, if it is known.
func (x *exchange) multipart(partType string, size int64) *multipartWriter {
	m := &multipartWriter{x: x, boundary: rand.Text()[:boundaryLength], partType: partType, size: size}
	return m
}

// begin sends the header of the answer.
func (m *multipartWriter) begin() {
	x := m.x
	if x.w.status != 0 {
		return
	}
	h, partType, size := x.w.Header(), m.partType, m.size
	h["Content-Type"] = []string{`multipart/related; type="` + partType + `"; boundary=` + m.boundary}
	if size >= 0 {
		h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	}
	x.w.WriteHeader(http.StatusOK)
}

// partOverhead is what one part and the end of the body take beside its bytes.
func partOverhead(mediaType, syntax string) int64 {
	n := len("--\r\nContent-Type: \r\n\r\n") + boundaryLength + len(mediaType) + len("\r\n----\r\n") + boundaryLength
	if syntax != "" {
		n += len("; transfer-syntax=") + len(syntax)
	}
	return int64(n)
}

// part writes what stands before the bytes of a part.
func (m *multipartWriter) part(mediaType, syntax string) error {
	m.begin()
	lead := "\r\n--"
	if m.x.w.n == 0 {
		lead = "--"
	}
	if syntax != "" {
		mediaType += "; transfer-syntax=" + syntax
	}
	return m.write(lead + m.boundary + "\r\nContent-Type: " + mediaType + "\r\n\r\n")
}

func (m *multipartWriter) write(s string) error {
	if m.x.r.Method == http.MethodHead {
		return nil
	}
	_, err := io.WriteString(m.x.w, s)
	return err
}

// close writes the last boundary.
func (m *multipartWriter) close() error {
	return m.write("\r\n--" + m.boundary + "--\r\n")
}
