package dicomhttp

import (
	"bytes"
	"context"
	"image"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/render"
)

const (
	typeJPEG = "image/jpeg"
	typePNG  = "image/png"
)

// pictureType chooses from the Accept header; JPEG when both will do.
func (x *exchange) pictureType() (string, error) {
	for _, m := range accepts(x.r) {
		typ := m.full
		if typ == typeMultipart {
			typ = m.typ
		}
		switch typ {
		case typeJPEG, "image/jpg", "image/*", "*/*":
			return typeJPEG, nil
		case typePNG:
			return typePNG, nil
		}
	}
	return "", fault.New(fault.NotAcceptable, "Rendered frames are given as image/jpeg or image/png.")
}

// rendered is GET .../rendered of an instance or a frame (PS3.18 section 10.4.1.1.3).
func (x *exchange) rendered() error {
	return x.picture(x.target(), nil)
}

// thumbnailSize is how large thumbnails are unless the request says it.
const thumbnailSize = 128

// thumbnail is GET .../thumbnail at all levels (PS3.18 section 10.4.1.1.4).
func (x *exchange) thumbnail() error {
	t, err := x.h.s.Representative(x.r.Context(), x.target())
	if err != nil {
		return err
	}
	return x.picture(t, &render.Viewport{Width: thumbnailSize, Height: thumbnailSize})
}

// wish is how a picture is wanted.
type wish struct {
	dicom.Picture
	mediaType string
	quality   int
}

// wish reads the request for pictures.
func (x *exchange) wish(viewport *render.Viewport) (w wish, err error) {
	if w.mediaType, err = x.pictureType(); err != nil {
		return w, err
	}
	params, err := x.params("quality", "viewport", "window", "iccprofile", "accept")
	if err != nil {
		return w, err
	}
	w.Picture = dicom.Picture{Frame: 1, Viewport: viewport}
	w.quality, err = pictureParams(params, w.mediaType, &w.Picture)
	return w, err
}

// render returns an encoded picture.
func (x *exchange) render(ctx context.Context, t dicom.Target, w wish) ([]byte, error) {
	img, err := x.h.s.Render(ctx, t, w.Picture)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if w.mediaType == typePNG {
		err = render.PNG(&b, img)
	} else {
		err = render.JPEG(&b, img, w.quality)
	}
	return b.Bytes(), fault.Wrap("dicomhttp: encode picture", err)
}

// renderedAll is GET .../rendered of a study or series: every frame of every
// instance that has some, in parts.
func (x *exchange) renderedAll() error {
	w, err := x.wish(nil)
	if err != nil {
		return err
	}
	ctx := x.long()
	if err := x.decodable(ctx); err != nil {
		return err
	}
	var m *multipartWriter
	for in, err := range x.h.s.Instances(ctx, x.target()) {
		if err != nil {
			return err
		}
		t := dicom.Target{Partition: x.rt.partition, UIDs: in.UIDs}
		fr, err := x.h.s.Frames(ctx, t)
		if fault.Is(err, fault.NotFound) {
			continue // no image, or deleted meanwhile
		}
		if err != nil {
			return err
		}
		for w.Frame = 1; w.Frame <= fr.Table.Count; w.Frame++ {
			b, err := x.render(ctx, t, w)
			if err != nil {
				return err
			}
			if m == nil {
				m = x.multipart(w.mediaType, -1)
			}
			x.stall()
			if err = m.part(w.mediaType, ""); err == nil {
				err = m.write(string(b))
			}
			if err != nil {
				return err
			}
		}
	}
	if m == nil {
		return fault.New(fault.NotFound, "There is no image to render.")
	}
	return m.close()
}

// decodable returns NotAcceptable when an instance of the target has frames
// that cannot be decoded, so that it is said before the answer begins.
func (x *exchange) decodable(ctx context.Context) error {
	for in, err := range x.h.s.Instances(ctx, x.target()) {
		if err != nil {
			return err
		}
		if stored, known := dcm.SyntaxOf(in.Syntax); known && stored.Encapsulated && !dicom.CanDecode(in.Syntax) {
			return fault.New(fault.NotAcceptable, "Frames in the transfer syntax %s cannot be rendered.", in.Syntax)
		}
	}
	return nil
}

func (x *exchange) picture(t dicom.Target, viewport *render.Viewport) error {
	q, err := x.wish(viewport)
	if err != nil {
		return err
	}
	if x.rt.rest != "" {
		list, err := frameList(x.rt.rest)
		if err != nil {
			return err
		}
		if len(list) > 1 {
			return fault.New(fault.Invalid, "One frame is rendered at a time.")
		}
		q.Frame = list[0]
	}
	b, err := x.render(x.r.Context(), t, q)
	if err != nil {
		return err
	}
	if inParts(accepts(x.r)) {
		m := x.multipart(q.mediaType, int64(len(b))+partOverhead(q.mediaType, ""))
		if err = m.part(q.mediaType, ""); err == nil {
			err = m.write(string(b))
		}
		if err != nil {
			return err
		}
		return m.close()
	}
	return x.json(200, b, q.mediaType)
}

// inParts reports whether the best range wants a multipart answer.
func inParts(list []mediaRange) bool {
	for _, m := range list {
		switch m.full {
		case typeMultipart:
			return true
		case typeJPEG, "image/jpg", "image/*", "*/*", typePNG:
			return false
		}
	}
	return false
}

// pictureParams reads the query of a rendered resource (PS3.18 section 8.3.5).
func pictureParams(params url.Values, mediaType string, q *dicom.Picture) (quality int, err error) {
	quality = 100
	if v := params.Get("quality"); v != "" {
		if quality, err = strconv.Atoi(v); err != nil || quality < 1 || quality > 100 {
			return 0, fault.New(fault.Invalid, "quality is a number from 1 to 100.")
		}
		if mediaType != typeJPEG {
			return 0, fault.New(fault.Invalid, "quality is for image/jpeg only.")
		}
	}
	if v := params.Get("iccprofile"); v != "" && v != "no" {
		return 0, fault.New(fault.Invalid, "iccprofile is not supported; no is the only value.")
	}
	if v := params.Get("window"); v != "" {
		if q.Window, err = parseWindow(v); err != nil {
			return 0, err
		}
	}
	if v := params.Get("viewport"); v != "" {
		if q.Viewport, err = parseViewport(v); err != nil {
			return 0, err
		}
	}
	return quality, nil
}

// parseWindow reads center,width[,function].
func parseWindow(v string) (*render.Window, error) {
	parts := strings.Split(v, ",")
	if len(parts) == 2 || len(parts) == 3 {
		w := &render.Window{}
		var err1, err2 error
		w.Center, err1 = strconv.ParseFloat(parts[0], 64)
		w.Width, err2 = strconv.ParseFloat(parts[1], 64)
		ok := true
		if len(parts) == 3 {
			w.Function, ok = render.ParseFunction(strings.ToLower(strings.ReplaceAll(parts[2], "_", "-")))
		}
		if ok && err1 == nil && err2 == nil && !math.IsNaN(w.Center) && !math.IsInf(w.Center, 0) && !math.IsInf(w.Width, 0) && w.Valid() {
			return w, nil
		}
	}
	return nil, fault.New(fault.Invalid, "window is center,width and linear, linear-exact or sigmoid.")
}

// maxViewport bounds the size of a picture that is asked for.
const maxViewport = 8192

// parseViewport reads width,height[,x,y,width,height of the part that is shown].
func parseViewport(v string) (*render.Viewport, error) {
	bad := fault.New(fault.Invalid, "viewport is width,height and, if wanted, x,y,width,height of the part of the frame; the sides are at most %d.", maxViewport)
	var n []int
	for i, p := range strings.Split(v, ",") {
		if p = strings.TrimSpace(p); p == "" && i >= 2 {
			p = "0"
		}
		f, err := strconv.ParseFloat(p, 64)
		if err != nil || math.Abs(f) > 1<<20 {
			return nil, bad
		}
		n = append(n, int(f))
	}
	if len(n) != 2 && len(n) != 6 || n[0] < 1 || n[1] < 1 || n[0] > maxViewport || n[1] > maxViewport {
		return nil, bad
	}
	w := &render.Viewport{Width: n[0], Height: n[1]}
	if len(n) == 6 && (n[4] != 0 || n[5] != 0) {
		w.FlipX, w.FlipY = n[4] < 0, n[5] < 0
		w.Source = image.Rect(n[2], n[3], n[2]+max(n[4], -n[4]), n[3]+max(n[5], -n[5]))
	}
	return w, nil
}
