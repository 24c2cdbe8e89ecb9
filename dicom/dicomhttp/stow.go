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
	in, err := x.input()
	if err != nil {
		return err
	}
	defer in.release()
	req := dicom.StoreRequest{
		Partition: x.rt.partition, Study: x.rt.uids.Study, Version: x.rt.version,
		Replace: x.r.Method == http.MethodPut, Size: x.r.ContentLength,
	}
	var res *dicom.StoreResult
	if in.mixed != nil {
		res, err = x.h.s.StoreMetadata(x.long(), req, x.base()+"/studies", in.mixed)
	} else {
		res, err = x.h.s.Store(x.long(), req, in.files)
	}
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

// input is the body of a store request: files, or metadata and bulk data.
type input struct {
	files   dicom.Parts
	mixed   dicom.MixedParts
	release func()
}

// input reads the Content-Type of a store request.
func (x *exchange) input() (in input, err error) {
	if enc := x.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return in, fault.New(fault.Unsupported, "A Content-Encoding is not supported for DICOM files.")
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
		return input{files: &single{r: body}, release: func() {}}, nil
	case typeDICOMJSON, typeDICOMXML:
		return input{mixed: &alone{part: &dicom.Part{Type: typ, Params: params, Body: &single{r: body}}}, release: func() {}}, nil
	case typeMultipart:
	default:
		return in, fault.New(fault.Unsupported, "The media type %.60q is not supported: send multipart/related; type=\"application/dicom\", or application/dicom.", typ)
	}
	root := strings.ToLower(params["type"])
	apart := root == typeDICOMJSON || root == typeDICOMXML
	if root != "" && root != typeDICOM && root != typeOctets && !apart {
		return in, fault.New(fault.Unsupported, "multipart/related of type %.60q is not supported; application/dicom, application/dicom+json and application/dicom+xml are.", root)
	}
	if params["start"] != "" {
		return in, fault.New(fault.Invalid, "The parameter start of multipart/related is not supported.")
	}
	b := params["boundary"]
	if b == "" || len(b) > 200 {
		return in, fault.New(fault.Invalid, "The boundary of the multipart body is missing or too long.")
	}
	if apart {
		s, release := newScanner(body, b, root)
		return input{mixed: mixed{s}, release: release}, nil
	}
	s, release := newScanner(body, b, typeDICOM)
	return input{files: s, release: release}, nil
}

// mixed gives the parts of a request with metadata and bulk data (PS3.18 section 10.5.1.4).
type mixed struct{ s *scanner }

// Next implements dicom.MixedParts.
func (m mixed) Next() (*dicom.Part, error) {
	p, err := m.s.nextPart()
	if err != nil {
		return nil, err
	}
	if p.typ == typeDICOM {
		return nil, fault.New(fault.Unsupported, "A part is a file, application/dicom, between metadata and bulk data.")
	}
	return &dicom.Part{Type: p.typ, Params: p.params, Location: p.location, Body: p.body}, nil
}

// alone is a request that is metadata without bulk data elsewhere.
type alone struct{ part *dicom.Part }

// Next implements dicom.MixedParts.
func (a *alone) Next() (*dicom.Part, error) {
	p := a.part
	if p == nil {
		return nil, io.EOF
	}
	a.part = nil
	return p, nil
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
