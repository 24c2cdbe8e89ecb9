package dicomhttp

import (
	"bytes"
	"image"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm/render"
)

const (
	typeJPEG = "image/jpeg"
	typePNG  = "image/png"
)

// pictureType chooses from the Accept header; JPEG when both will do.
func (x *exchange) pictureType() (string, error) {
	for _, m := range accepts(x.r) {
		switch m.full {
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

func (x *exchange) picture(t dicom.Target, viewport *render.Viewport) error {
	mediaType, err := x.pictureType()
	if err != nil {
		return err
	}
	params, err := x.params("quality", "viewport", "window", "iccprofile", "accept")
	if err != nil {
		return err
	}
	q := dicom.Picture{Frame: 1, Viewport: viewport}
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
	quality, err := pictureParams(params, mediaType, &q)
	if err != nil {
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
