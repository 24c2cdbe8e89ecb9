package dicomhttp_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// pathOf is where a file is after it was stored.
func pathOf(t *testing.T, name string) string {
	t.Helper()
	f, err := dcm.Parse(file(t, name), dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/v2/studies/%s/series/%s/instances/%s", f.Data.String(dcm.TagStudyInstanceUID), f.Data.String(dcm.TagSeriesInstanceUID), f.Data.String(dcm.TagSOPInstanceUID))
}

func TestRendered(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.do("PUT", "/v2/studies", file(t, "MR_small_RLE.dcm"), "Content-Type", "application/dicom")
	w.do("PUT", "/v2/studies", file(t, "SC_rgb_rle_2frame.dcm"), "Content-Type", "application/dicom")
	w.do("PUT", "/v2/studies", file(t, "test-SR.dcm"), "Content-Type", "application/dicom")
	mr, rgb, sr := pathOf(t, "MR_small_RLE.dcm"), pathOf(t, "SC_rgb_rle_2frame.dcm"), pathOf(t, "test-SR.dcm")
	for _, tt := range []struct {
		path, accept string
		code         int
		width        int
	}{
		{mr + "/rendered", "", 200, 64},
		{mr + "/rendered?quality=50", "image/jpeg", 200, 64},
		{mr + "/rendered", "image/png", 200, 64},
		{mr + "/rendered", "text/html, image/png;q=0.5", 200, 64},
		{mr + "/rendered?viewport=32,32", "image/png", 200, 32},
		{mr + "/rendered?viewport=32,32,0,0,16,16", "", 200, 32},
		{mr + "/rendered?window=100,200,linear", "", 200, 64},
		{mr + "/frames/1/rendered", "", 200, 64},
		{rgb + "/frames/2/rendered", "", 200, 100},
		{mr + "/thumbnail", "", 200, 128},
		{strings.Split(mr, "/instances")[0] + "/thumbnail?viewport=20,20", "", 200, 20},
		{strings.Split(mr, "/series")[0] + "/thumbnail", "", 200, 128},
		{mr + "/rendered", "text/html", 406, 0},
		{mr + "/rendered?quality=0", "", 400, 0},
		{mr + "/rendered?quality=50", "image/png", 400, 0},
		{mr + "/rendered?window=1", "", 400, 0},
		{mr + "/rendered?window=1,0,linear", "", 400, 0},
		{mr + "/rendered?window=1,2,cubic", "", 400, 0},
		{mr + "/rendered?viewport=0,1", "", 400, 0},
		{mr + "/rendered?viewport=99999,1", "", 400, 0},
		{mr + "/rendered?annotation=patient", "", 400, 0},
		{mr + "/frames/2/rendered", "", 404, 0},
		{mr + "/frames/1,2/rendered", "", 400, 0},
		{sr + "/rendered", "", 404, 0},
		{sr + "/thumbnail", "", 404, 0},
		{strings.Split(sr, "/series")[0] + "/thumbnail", "", 404, 0},
	} {
		rec := w.do("GET", tt.path, nil, "Accept", tt.accept)
		if rec.Code != tt.code {
			t.Errorf("%s %q: %d, want %d: %.80s", tt.path, tt.accept, rec.Code, tt.code, rec.Body)
			continue
		}
		if rec.Code != 200 {
			continue
		}
		decode := jpeg.Decode
		if rec.Header().Get("Content-Type") == "image/png" {
			decode = png.Decode
		}
		img, err := decode(rec.Body)
		if err != nil || img.Bounds().Dx() != tt.width {
			t.Errorf("%s: %v, %v", tt.path, img.Bounds(), err)
		}
	}
}

// TestRenderedAll renders what is below a study or series, in parts.
func TestRenderedAll(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	for _, name := range []string{"MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm", "test-SR.dcm"} {
		w.do("PUT", "/v2/studies", file(t, name), "Content-Type", "application/dicom")
	}
	level := func(name, end string) string { return strings.Split(pathOf(t, name), end)[0] + "/rendered" }
	for _, tt := range []struct {
		path, accept string
		code, parts  int
		typ          string
	}{
		{level("MR_small_RLE.dcm", "/series"), "", 200, 1, "image/jpeg"},
		{level("SC_rgb_rle_2frame.dcm", "/series"), "*/*", 200, 2, "image/jpeg"},
		{level("SC_rgb_rle_2frame.dcm", "/instances"), `multipart/related; type="image/png"`, 200, 2, "image/png"},
		{level("SC_rgb_rle_2frame.dcm", "/instances") + "?viewport=8,8&quality=10", "image/jpeg", 200, 2, "image/jpeg"},
		{pathOf(t, "MR_small_RLE.dcm") + "/rendered", "multipart/related; type=image/jpeg", 200, 1, "image/jpeg"},
		{level("test-SR.dcm", "/series"), "", 404, 0, ""},
		{"/v2/studies/9.9/rendered", "", 404, 0, ""},
		{level("MR_small_RLE.dcm", "/series") + "?quality=0", "", 400, 0, ""},
		{level("MR_small_RLE.dcm", "/series"), "video/mp4", 406, 0, ""},
	} {
		rec := w.do("GET", tt.path, nil, "Accept", tt.accept)
		if rec.Code != tt.code {
			t.Errorf("%s %q: %d, want %d: %.80s", tt.path, tt.accept, rec.Code, tt.code, rec.Body)
			continue
		}
		if tt.code != 200 {
			continue
		}
		_, params, err := mime.ParseMediaType(rec.Header().Get("Content-Type"))
		if err != nil || params["type"] != tt.typ {
			t.Errorf("%s: %s", tt.path, rec.Header().Get("Content-Type"))
			continue
		}
		n := 0
		for mr := multipart.NewReader(rec.Body, params["boundary"]); ; n++ {
			p, err := mr.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			decode := jpeg.Decode
			if tt.typ == "image/png" {
				decode = png.Decode
			}
			if _, err := decode(p); err != nil || p.Header.Get("Content-Type") != tt.typ {
				t.Error(tt.path, err, p.Header)
			}
		}
		if n != tt.parts {
			t.Errorf("%s: %d parts, want %d", tt.path, n, tt.parts)
		}
	}
}

func TestWADOURI(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	w.stow(200, "/v2/studies", file(t, "MR_small.dcm"))
	seg := strings.Split(pathOf(t, "MR_small.dcm"), "/")
	object := "/v2/wado?requestType=WADO&studyUID=" + seg[3] + "&seriesUID=" + seg[5] + "&objectUID=" + seg[7]
	for _, tt := range []struct {
		query string
		code  int
		typ   string
		width int
	}{
		{"", 200, "image/jpeg", 64},
		{"&contentType=image/png", 200, "image/png", 64},
		{"&contentType=text/html,image/png%3Bq=0.5", 200, "image/png", 64},
		{"&rows=32", 200, "image/jpeg", 32},
		{"&columns=16&region=0,0,0.5,0.5&windowCenter=100&windowWidth=200&frameNumber=1&imageQuality=50", 200, "image/jpeg", 16},
		{"&region=0,0,0.5,0.5", 200, "image/jpeg", 32},
		{"&contentType=application/dicom", 200, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", 0},
		{"&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2", 200, "application/dicom; transfer-syntax=1.2.840.10008.1.2", 0},
		{"&contentType=application/dicom&transferSyntax=1.2.3", 406, "", 0},
		{"&contentType=application/dicom&rows=3", 400, "", 0},
		{"&contentType=video/mp4", 406, "", 0},
		{"&rows=0", 400, "", 0}, {"&region=1,1,0,0", 400, "", 0}, {"&windowCenter=3", 400, "", 0}, {"&frameNumber=2", 404, "", 0},
		{"&transferSyntax=1.2.840.10008.1.2", 400, "", 0}, {"&anonymize=yes", 400, "", 0}, {"1", 404, "", 0},
	} {
		rec := w.do("GET", object+tt.query, nil)
		if rec.Code != tt.code || tt.typ != "" && rec.Header().Get("Content-Type") != tt.typ {
			t.Errorf("%s: %d %s %.80s", tt.query, rec.Code, rec.Header().Get("Content-Type"), rec.Body)
			continue
		}
		if tt.width > 0 {
			decode := jpeg.Decode
			if tt.typ == "image/png" {
				decode = png.Decode
			}
			if img, err := decode(rec.Body); err != nil || img.Bounds().Dx() != tt.width {
				t.Errorf("%s: %v %v", tt.query, img, err)
			}
		}
	}
	w.want(400, "GET", "/v2/wado?requestType=WADO")
	w.want(400, "GET", strings.Replace(object, "WADO&", "X&", 1))
}

// TestTranscode decodes compressed pixels in frames and whole files, and
// compresses them again; RLE is lossless, so that they must be equal.
func TestTranscode(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	plain, packed := file(t, "MR_small.dcm"), file(t, "MR_small_RLE.dcm")
	w.stow(200, "/v2/studies", plain)
	path := pathOf(t, "MR_small.dcm")
	want := w.do("GET", path+"/frames/1", nil, "Accept", "application/octet-stream").Body.Bytes()
	if len(want) != 8192 {
		t.Fatal(len(want))
	}
	pixels := func(b []byte) []byte {
		f, err := dcm.Parse(b, dcm.Limits{})
		if err != nil || len(f.Notes) > 0 {
			t.Fatal(err, f.Notes)
		}
		e := f.Data.Get(dcm.TagPixelData)
		return b[e.Offset : e.Offset+e.Length]
	}
	rle := w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax="+dcm.RLELossless)
	if rle.Code != 200 || rle.Header().Get("Content-Type") != "application/dicom; transfer-syntax="+dcm.RLELossless {
		t.Fatal(rle.Code, rle.Body)
	}
	w.want(204, "DELETE", "/v2/studies/"+strings.Split(path, "/")[3])
	for name, b := range map[string][]byte{"ours": rle.Body.Bytes(), "theirs": packed} {
		if rec := w.do("PUT", "/v2/studies", b, "Content-Type", "application/dicom"); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
		if got := w.do("GET", path+"/frames/1", nil, "Accept", "application/octet-stream"); !bytes.Equal(got.Body.Bytes(), want) {
			t.Errorf("%s: another frame: %d %d bytes", name, got.Code, got.Body.Len())
		}
		if got := w.do("GET", path+"/frames/1", nil, "Accept", `multipart/related; type="image/dicom-rle"`); got.Code != 200 {
			t.Errorf("%s: %d", name, got.Code)
		}
		for _, uid := range []string{dcm.ExplicitLittle, dcm.ImplicitLittle, dcm.ExplicitBig, dcm.DeflatedLittle} {
			got := w.do("GET", path, nil, "Accept", "application/dicom; transfer-syntax="+uid)
			if got.Code != 200 {
				t.Errorf("%s as %s: %d %s", name, uid, got.Code, got.Body)
				continue
			}
			if uid == dcm.ExplicitLittle || uid == dcm.ImplicitLittle {
				if !bytes.Equal(pixels(got.Body.Bytes()), want) {
					t.Errorf("%s as %s: other pixels", name, uid)
				}
			}
		}
	}
	// What cannot be decoded is 406 before anything is sent.
	w.do("PUT", "/v2/studies", file(t, "JPEG2000-embedded-sequence-delimiter.dcm"), "Content-Type", "application/dicom")
	j2k := pathOf(t, "JPEG2000-embedded-sequence-delimiter.dcm")
	for path, accept := range map[string]string{j2k: "application/dicom", j2k + "/frames/1": "application/octet-stream", j2k + "/rendered": "image/jpeg"} {
		if rec := w.do("GET", path, nil, "Accept", accept); rec.Code != 406 {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	if rec := w.do("GET", j2k+"/frames/1", nil, "Accept", `multipart/related; type="image/jp2"`); rec.Code != 200 {
		t.Error(rec.Code)
	}
}
