package dicomhttp

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// tagView is an extended query tag as AHDS shows it.
type tagView struct {
	Path           string      `json:"path"`
	VR             string      `json:"vr"`
	PrivateCreator string      `json:"privateCreator,omitempty"`
	Level          string      `json:"level"`
	Status         string      `json:"status"`
	QueryStatus    string      `json:"queryStatus"`
	Errors         *tagErrors  `json:"errors,omitempty"`
	Operation      *opLocation `json:"operation,omitempty"`
}

type tagErrors struct {
	Count int64  `json:"count"`
	Href  string `json:"href"`
}

// opLocation is what a request that started an operation is answered.
type opLocation struct {
	ID   string `json:"id"`
	Href string `json:"href"`
}

func (x *exchange) viewTag(t *dicom.ExtendedTag) tagView {
	v := tagView{Path: t.Tag.Hex(), VR: t.VR.String(), PrivateCreator: t.Creator, Level: t.Level.String(), Status: t.Status.String(), QueryStatus: "Enabled"}
	if t.Disabled {
		v.QueryStatus = "Disabled"
	}
	if t.Errors > 0 {
		v.Errors = &tagErrors{t.Errors, x.base() + "/extendedquerytags/" + v.Path + "/errors"}
	}
	if t.Status == dicom.TagAdding {
		v.Operation = &opLocation{t.Operation, x.operationURL(t.Operation)}
	}
	return v
}

func (x *exchange) operationURL(id string) string { return x.root() + "/operations/" + id }

// body reads a JSON body strictly.
func (x *exchange) body(into any) error {
	d := json.NewDecoder(http.MaxBytesReader(x.w, x.r.Body, 4<<20))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.TooLarge, "The request is larger than %d bytes.", e.Limit)
	}
	if err != nil {
		return fault.New(fault.Invalid, "The body is not the JSON that is expected here.")
	}
	return nil
}

// answer sends a value as JSON.
func (x *exchange) answer(code int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap("dicomhttp: answer", err)
	}
	return x.json(code, text, typeJSON)
}

// started answers a request to begin an operation. An error with an id says that
// this operation is in the way.
func (x *exchange) started(id string, err error) error {
	code := http.StatusAccepted
	switch {
	case err != nil && id == "":
		return err
	case err != nil:
		code = http.StatusConflict
	}
	url := x.operationURL(id)
	x.w.Header().Set("Location", url)
	return x.answer(code, opLocation{id, url})
}

// addTags is POST /extendedquerytags.
func (x *exchange) addTags() error {
	var list []struct {
		Path           string `json:"path"`
		VR             string `json:"vr"`
		PrivateCreator string `json:"privateCreator"`
		Level          string `json:"level"`
	}
	if err := x.body(&list); err != nil {
		return err
	}
	tags := make([]dicom.NewTag, len(list))
	for i, t := range list {
		tags[i] = dicom.NewTag(t)
	}
	return x.started(x.h.s.AddTags(x.r.Context(), tags))
}

// page reads limit and offset of a list.
func (x *exchange) page() (limit, offset int, err error) {
	params, err := x.params("limit", "offset")
	if err != nil {
		return 0, 0, err
	}
	limit = 100
	if v := params.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > 200 {
			return 0, 0, fault.New(fault.Invalid, "limit is a number from 1 to 200.")
		}
	}
	if v := params.Get("offset"); v != "" {
		if offset, err = strconv.Atoi(v); err != nil || offset < 0 {
			return 0, 0, fault.New(fault.Invalid, "offset is a number that is not negative.")
		}
	}
	return limit, offset, nil
}

// listTags is GET /extendedquerytags.
func (x *exchange) listTags() error {
	limit, offset, err := x.page()
	if err != nil {
		return err
	}
	list, err := x.h.s.ListTags(x.r.Context(), limit, offset)
	if err != nil {
		return err
	}
	out := []tagView{}
	for _, t := range list {
		out = append(out, x.viewTag(t))
	}
	return x.answer(http.StatusOK, out)
}

// showTag is GET /extendedquerytags/{tag}.
func (x *exchange) showTag() error {
	t, err := x.h.s.Tag(x.r.Context(), x.rt.rest)
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, x.viewTag(t))
}

// patchTag is PATCH /extendedquerytags/{tag}.
func (x *exchange) patchTag() error {
	var body struct {
		QueryStatus string `json:"queryStatus"`
	}
	if err := x.body(&body); err != nil {
		return err
	}
	if body.QueryStatus != "Enabled" && body.QueryStatus != "Disabled" {
		return fault.New(fault.Invalid, "QueryStatus is Enabled or Disabled.")
	}
	t, err := x.h.s.EnableTag(x.r.Context(), x.rt.rest, body.QueryStatus == "Enabled")
	if err != nil {
		return err
	}
	return x.answer(http.StatusOK, x.viewTag(t))
}

// deleteTag is DELETE /extendedquerytags/{tag}.
func (x *exchange) deleteTag() error {
	if err := x.h.s.DeleteTag(x.r.Context(), x.rt.rest); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// tagErrors is GET /extendedquerytags/{tag}/errors.
func (x *exchange) tagErrors() error {
	limit, offset, err := x.page()
	if err != nil {
		return err
	}
	list, err := x.h.s.TagErrors(x.r.Context(), x.rt.rest, limit, offset)
	if err != nil {
		return err
	}
	type view struct {
		Study   string    `json:"studyInstanceUid"`
		Series  string    `json:"seriesInstanceUid"`
		SOP     string    `json:"sopInstanceUid"`
		Created time.Time `json:"createdTime"`
		Message string    `json:"errorMessage"`
	}
	out := []view{}
	for _, e := range list {
		out = append(out, view{e.Study, e.UIDs.Series, e.SOP, e.At, e.Message})
	}
	return x.answer(http.StatusOK, out)
}
