package dicomhttp

import (
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// store is POST and PUT /studies and /studies/{study} (PS3.18 section 10.5).
func (x *exchange) store() error {
	list := accepts(x.r)
	if !wantsJSON(list) {
		return fault.New(fault.NotAcceptable, "The answer is application/dicom+json.")
	}
	parts, release, err := x.parts()
	if err != nil {
		return err
	}
	defer release()
	res, err := x.h.s.Store(x.long(), dicom.StoreRequest{
		Partition: x.rt.partition, Study: x.rt.uids.Study, Version: x.rt.version,
		Replace: x.r.Method == http.MethodPut, Size: x.r.ContentLength,
	}, parts)
	if err != nil {
		return err
	}
	if len(res.Stored) == 0 && len(res.Failed) == 0 {
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	code := http.StatusOK
	switch {
	case len(res.Stored) == 0:
		code = http.StatusConflict
	case len(res.Failed) > 0, x.rt.version >= 2 && res.Warned():
		code = http.StatusAccepted
	}
	return x.json(code, res.AppendJSON(nil, x.base(), x.rt.uids.Study, x.rt.version), typeDICOMJSON)
}

// parts reads the Content-Type of a store request.
func (x *exchange) parts() (p dicom.Parts, release func(), err error) {
	if enc := x.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, nil, fault.New(fault.Unsupported, "A Content-Encoding is not supported for DICOM files.")
	}
	typ, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil {
		// type=application/dicom without quotation marks is common, and not what
		// the grammar allows.
		typ, params = lenientType(x.r.Header.Get("Content-Type"))
	}
	body := &patient{r: x.r.Body, c: http.NewResponseController(x.w.ResponseWriter), stall: x.h.opt.Stall}
	switch typ {
	case typeDICOM:
		return &single{r: body}, func() {}, nil
	case typeMultipart:
	default:
		return nil, nil, fault.New(fault.Unsupported, "The media type %.60q is not supported: send multipart/related; type=\"application/dicom\", or application/dicom.", typ)
	}
	if t := strings.ToLower(params["type"]); t != "" && t != typeDICOM && t != typeOctets {
		return nil, nil, fault.New(fault.Unsupported, "multipart/related of type %.60q is not supported; application/dicom is.", t)
	}
	if params["start"] != "" {
		return nil, nil, fault.New(fault.Invalid, "The parameter start of multipart/related is not supported.")
	}
	b := params["boundary"]
	if b == "" || len(b) > 200 {
		return nil, nil, fault.New(fault.Invalid, "The boundary of the multipart body is missing or too long.")
	}
	s, release := newScanner(body, b, typeDICOM)
	return s, release, nil
}

// lenientType reads a Content-Type whose parameters are not quoted.
func lenientType(s string) (string, map[string]string) {
	parts := splitQuoted(s, ';')
	params := map[string]string{}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		params[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return strings.ToLower(strings.TrimSpace(parts[0])), params
}

var _ io.Reader = (*patient)(nil)
