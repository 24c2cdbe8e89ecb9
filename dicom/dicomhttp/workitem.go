package dicomhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// The worklist service, UPS-RS (PS3.18 section 11).

// maxWorkitem is the largest body of a request about a work item.
const maxWorkitem = 4 << 20

// dataset reads the data set of a body as DICOM JSON: an array with one, the
// object alone, or a Native DICOM Model in XML, alone or as the only part of
// multipart/related. An empty body is nil.
func (x *exchange) dataset() ([]byte, error) {
	header := x.r.Header.Get("Content-Type")
	typ, params, err := mime.ParseMediaType(header)
	if err != nil && header != "" {
		typ, params = lenientType(header)
	}
	var body []byte
	source := io.Reader(http.MaxBytesReader(x.w, x.r.Body, maxWorkitem))
	if utf8 := params["charset"] == "" || strings.EqualFold(params["charset"], "utf-8"); !utf8 {
		typ = ""
	}
	switch {
	case typ == typeDICOMJSON, typ == typeJSON, typ == typeDICOMXML:
		body, err = readBody(source)
	case typ == typeMultipart && strings.EqualFold(params["type"], typeDICOMXML) && params["boundary"] != "":
		typ = typeDICOMXML
		body, err = onlyPart(source, params["boundary"])
	default:
		err = fault.New(fault.Unsupported, "The media type %.60q is not supported: send application/dicom+json or application/dicom+xml in UTF-8.", header)
	}
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(body)
	if typ == typeDICOMXML && len(body) > 0 {
		if body, err = dcm.XMLToJSON(body); err != nil {
			return nil, fault.New(fault.Invalid, "The body is no data set of the Native DICOM Model: %v.", err)
		}
		return body, nil
	}
	if len(body) == 0 || body[0] != '[' {
		return body, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil || len(list) != 1 {
		return nil, fault.New(fault.Invalid, "The body is not a DICOM JSON array with one data set.")
	}
	return list[0], nil
}

func readBody(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, readError(err)
	}
	return body, nil
}

// onlyPart reads a multipart body that has one part.
func onlyPart(r io.Reader, boundary string) ([]byte, error) {
	s, release := newScanner(r, boundary, typeDICOMXML)
	defer release()
	p, err := s.nextPart()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if p.typ != typeDICOMXML {
		return nil, fault.New(fault.Unsupported, "The part has the media type %.60q; application/dicom+xml is supported.", p.typ)
	}
	body, err := readBody(p.body)
	if err != nil {
		return nil, err
	}
	if _, err := s.nextPart(); !errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Invalid, "The body has more than one data set.")
	}
	return body, nil
}

// needDataset is dataset for requests that must have a body.
func (x *exchange) needDataset() ([]byte, error) {
	body, err := x.dataset()
	if err == nil && len(body) == 0 {
		err = fault.New(fault.Invalid, "The request body is missing.")
	}
	return body, err
}

// uidParam reads a query that is a UID alone, ?1.2.3, or has it under one of
// some names; "" when there is none.
func (x *exchange) uidParam(names ...string) (string, error) {
	params, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil || len(params) > 1 {
		return "", fault.New(fault.Invalid, "The query of the URL is not a UID.")
	}
	for name, values := range params {
		if len(values) > 1 {
			break
		}
		if values[0] == "" {
			return name, nil
		}
		for _, n := range names {
			if strings.EqualFold(n, name) {
				return values[0], nil
			}
		}
	}
	if len(params) > 0 {
		return "", fault.New(fault.Invalid, "The query of the URL is not a UID.")
	}
	return "", nil
}

// workitemURL is the address of a work item.
func (x *exchange) workitemURL(uid string) string { return x.base() + "/workitems/" + uid }

// warn adds a warning to the answer (PS3.18 section 11.1.3).
func (x *exchange) warn(text string) {
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(x.h.opt.BaseURL(x.r), "https://"), "http://"), "/")
	x.w.Header().Set("Warning", `299 `+host+` "`+strings.ReplaceAll(text, `"`, `'`)+`"`)
}

// warned adds the message of a refusal as a warning.
func (x *exchange) warned(err error) error {
	if k := fault.From(err).Kind; k == fault.Invalid || k == fault.Conflict || k == fault.NotFound {
		x.warn(fault.From(err).Msg)
	}
	return err
}

// addWorkitem is POST /workitems (section 11.4).
func (x *exchange) addWorkitem() error {
	uid, err := x.uidParam("workitem", "AffectedSOPInstanceUID")
	if err != nil {
		return err
	}
	body, err := x.needDataset()
	if err != nil {
		return err
	}
	if uid, err = x.h.s.CreateWorkitem(x.r.Context(), x.rt.partition, uid, body); err != nil {
		return err
	}
	if q := web.From(x.r.Context()); q != nil {
		q.ResourceID = "workitems/" + uid
	}
	h := x.w.Header()
	h.Set("Location", x.workitemURL(uid))
	h.Set("Content-Location", x.workitemURL(uid))
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

// workitem is GET /workitems/{workitem} (section 11.5).
func (x *exchange) workitem() error {
	list := accepts(x.r)
	if !wantsJSON(list) && !wantsXML(list) {
		return fault.New(fault.NotAcceptable, "Work items are given as application/dicom+json or multipart/related; type=\"application/dicom+xml\".")
	}
	body, err := x.h.s.Workitem(x.r.Context(), x.rt.partition, x.rt.workitem, nil)
	if err != nil {
		return err
	}
	x.w.Header().Set("Cache-Control", "no-cache") // its state is what matters
	if wantsXML(list) {
		return x.xmlParts(append(append([]byte{'['}, body...), ']'))
	}
	return x.json(http.StatusOK, body, typeDICOMJSON)
}

// updateWorkitem is POST /workitems/{workitem} (section 11.6).
func (x *exchange) updateWorkitem() error {
	transaction, err := x.uidParam("transaction-uid", "transaction")
	if err != nil {
		return err
	}
	body, err := x.needDataset()
	if err != nil {
		return err
	}
	if err := x.h.s.UpdateWorkitem(x.r.Context(), x.rt.partition, x.rt.workitem, transaction, body); err != nil {
		return x.warned(err)
	}
	x.w.Header().Set("Content-Location", x.workitemURL(x.rt.workitem))
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// changeWorkitemState is PUT /workitems/{workitem}/state (section 11.7).
func (x *exchange) changeWorkitemState() error {
	body, err := x.needDataset()
	if err != nil {
		return err
	}
	warning, err := x.h.s.ChangeWorkitemState(x.r.Context(), x.rt.partition, x.rt.workitem, body)
	if err != nil {
		return x.warned(err)
	}
	if warning != "" {
		x.warn(string(warning))
	}
	x.w.Header().Set("Content-Location", x.workitemURL(x.rt.workitem))
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// cancelWorkitem is POST /workitems/{workitem}/cancelrequest (section 11.8).
func (x *exchange) cancelWorkitem() error {
	var body []byte
	if x.r.Header.Get("Content-Type") != "" || x.r.ContentLength != 0 {
		var err error
		if body, err = x.dataset(); err != nil {
			return err
		}
	}
	if err := x.h.s.RequestCancellation(x.r.Context(), x.rt.partition, x.rt.workitem, body); err != nil {
		if fault.Is(err, fault.Conflict) {
			return x.warned(err)
		}
		return err
	}
	x.w.WriteHeader(http.StatusAccepted)
	return nil
}

// searchWorkitems is GET /workitems (section 11.9).
func (x *exchange) searchWorkitems() error {
	list, params, err := x.query()
	if err != nil {
		return err
	}
	p, err := x.h.s.SearchWorkitems(x.r.Context(), x.rt.partition, params)
	if err != nil {
		return err
	}
	x.w.Header().Set("Cache-Control", "no-cache")
	return x.matches(p, params, list)
}
