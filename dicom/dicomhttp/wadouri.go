package dicomhttp

import (
	"bytes"
	"image"
	"net/url"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/render"
)

// wadoURI is GET /wado (PS3.18 section 9): one object by query parameters, as
// it is or rendered.
func (x *exchange) wadoURI() error {
	params, err := x.params("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax",
		"frameNumber", "windowCenter", "windowWidth", "rows", "columns", "region", "imageQuality")
	if err != nil {
		return err
	}
	if params.Get("requestType") != "WADO" {
		return fault.New(fault.Invalid, "requestType is WADO.")
	}
	t := dicom.Target{Partition: x.rt.partition, UIDs: dicom.UIDs{Study: params.Get("studyUID"), Series: params.Get("seriesUID"), SOP: params.Get("objectUID")}}
	if t.Study == "" || t.Series == "" || t.SOP == "" {
		return fault.New(fault.Invalid, "studyUID, seriesUID and objectUID are needed.")
	}
	if q := web.From(x.r.Context()); q != nil {
		q.ResourceID = t.UIDs.String()
	}
	var types []string
	for part := range strings.SplitSeq(params.Get("contentType"), ",") {
		typ, _, _ := strings.Cut(part, ";")
		if typ = strings.ToLower(strings.TrimSpace(typ)); typ != "" {
			types = append(types, typ)
		}
	}
	if len(types) == 0 {
		types = []string{typeJPEG}
	}
	for _, typ := range types {
		switch typ {
		case typeDICOM:
			return x.wadoFile(t, params)
		case typeJPEG, typePNG:
			return x.wadoPicture(t, params, typ)
		}
	}
	return fault.New(fault.NotAcceptable, "contentType is application/dicom, image/jpeg or image/png.")
}

// wadoFile gives the object as a file; Explicit VR Little Endian unless the
// request names a transfer syntax (PS3.18 section 9.1.2.2.4).
func (x *exchange) wadoFile(t dicom.Target, params url.Values) error {
	for _, name := range []string{"frameNumber", "windowCenter", "windowWidth", "rows", "columns", "region", "imageQuality"} {
		if params.Get(name) != "" {
			return fault.New(fault.Invalid, "%s is for rendered objects only.", name)
		}
	}
	syntax := params.Get("transferSyntax")
	if syntax == "" {
		syntax = dcm.ExplicitLittle
	}
	ctx := x.long()
	in, err := x.h.s.Instance(ctx, t)
	if err != nil {
		return err
	}
	if syntax != "*" && !dicom.CanTranscode(in.Syntax, syntax) {
		return errNotAcceptable
	}
	return x.file(ctx, in, syntax)
}

func (x *exchange) wadoPicture(t dicom.Target, params url.Values, mediaType string) error {
	if params.Get("transferSyntax") != "" {
		return fault.New(fault.Invalid, "transferSyntax is for application/dicom only.")
	}
	q := dicom.Picture{Frame: 1}
	quality, rows, columns := 100, 0, 0
	for _, p := range []struct {
		name     string
		to       *int
		low, top int
	}{
		{"frameNumber", &q.Frame, 1, 1 << 30}, {"imageQuality", &quality, 1, 100},
		{"rows", &rows, 1, maxViewport}, {"columns", &columns, 1, maxViewport},
	} {
		v := params.Get(p.name)
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < p.low || n > p.top {
			return fault.New(fault.Invalid, "%s is a number from %d to %d.", p.name, p.low, p.top)
		}
		*p.to = n
	}
	if c, w := params.Get("windowCenter"), params.Get("windowWidth"); c != "" || w != "" {
		var err error
		if q.Window, err = parseWindow(c + "," + w); err != nil {
			return fault.New(fault.Invalid, "windowCenter and windowWidth are numbers, and needed together.")
		}
	}
	if err := x.wadoView(t, params.Get("region"), rows, columns, &q); err != nil {
		return err
	}
	img, err := x.h.s.Render(x.r.Context(), t, q)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if mediaType == typePNG {
		err = render.PNG(&b, img)
	} else {
		err = render.JPEG(&b, img, quality)
	}
	if err != nil {
		return fault.Wrap("dicomhttp: encode picture", err)
	}
	return x.json(200, b.Bytes(), mediaType)
}

// wadoView turns rows, columns and the region, whose corners are fractions of
// the frame, into a viewport.
func (x *exchange) wadoView(t dicom.Target, region string, rows, columns int, q *dicom.Picture) error {
	if region == "" && rows == 0 && columns == 0 {
		return nil
	}
	im, err := x.h.s.ImageOf(x.r.Context(), t)
	if err != nil {
		return err
	}
	v := &render.Viewport{Width: columns, Height: rows}
	if region != "" {
		parts := strings.Split(region, ",")
		var f [4]float64
		ok := len(parts) == 4
		for i := 0; ok && i < 4; i++ {
			f[i], err = strconv.ParseFloat(parts[i], 64)
			ok = err == nil && f[i] >= 0 && f[i] <= 1
		}
		if !ok || f[0] >= f[2] || f[1] >= f[3] {
			return fault.New(fault.Invalid, "region is xmin,ymin,xmax,ymax, fractions of the frame.")
		}
		w, h := float64(im.Columns), float64(im.Rows)
		v.Source = image.Rect(int(f[0]*w), int(f[1]*h), max(int(f[2]*w), int(f[0]*w)+1), max(int(f[3]*h), int(f[1]*h)+1))
	}
	whole := v.Source
	if whole.Empty() {
		whole = image.Rect(0, 0, im.Columns, im.Rows)
	}
	// A side that is not named follows from the other; none is the size of the source.
	switch {
	case v.Width == 0 && v.Height == 0:
		v.Width, v.Height = min(whole.Dx(), maxViewport), min(whole.Dy(), maxViewport)
	case v.Width == 0:
		v.Width = min(max(1, whole.Dx()*v.Height/whole.Dy()), maxViewport)
	case v.Height == 0:
		v.Height = min(max(1, whole.Dy()*v.Width/whole.Dx()), maxViewport)
	}
	q.Viewport = v
	return nil
}
