package dicomhttp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// TestSpoiledFrame has a second frame that cannot be decoded, and samples that
// RLE cannot hold: both are told by the status, before anything is answered.
func TestSpoiledFrame(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	b := bytes.Clone(file(t, "SC_rgb_rle_2frame.dcm"))
	f, err := dcm.Parse(b, dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	second := f.Data.Get(dcm.TagPixelData).Fragments[1]
	for i := range int64(64) {
		b[second.Offset+i] = 0xFF
	}
	w.stow(200, "/v2/studies", b)
	path := pathOf(t, "SC_rgb_rle_2frame.dcm")
	for accept, code := range map[string]int{
		"application/dicom": 406, "application/dicom; transfer-syntax=" + dcm.ImplicitLittle: 406,
		`multipart/related; type="application/dicom"`: 406, "application/dicom; transfer-syntax=*": 200,
	} {
		if rec := w.do("GET", path, nil, "Accept", accept); rec.Code != code {
			t.Errorf("%s: %d, want %d", accept, rec.Code, code)
		}
	}
	w.want(200, "GET", path+"/frames/1", "Accept", "application/octet-stream")
	w.want(406, "GET", path+"/frames/2", "Accept", "application/octet-stream")
	// The memory of what failed is given back.
	for range 50 {
		w.want(406, "GET", path, "Accept", "application/dicom")
	}

	us := func(tag dcm.Tag, v byte) dcm.Element {
		return dcm.Element{Tag: tag, VR: dcm.US, Value: []byte{v, 0}, Length: 2}
	}
	wide := made(t, "1.2.64", "1.2.64.1", "1.2.64.1.1", us(dcm.TagRows, 2), us(dcm.TagColumns, 2), us(dcm.TagSamplesPerPixel, 3), us(dcm.TagBitsAllocated, 64),
		dcm.NewText(dcm.TagPhotometricInterpretation, dcm.CS, "RGB"), dcm.Element{Tag: dcm.TagPixelData, VR: dcm.OW, Value: make([]byte, 96), Length: 96})
	w.stow(200, "/v2/studies", wide)
	w.want(406, "GET", "/v2/studies/1.2.64/series/1.2.64.1/instances/1.2.64.1.1", "Accept", "application/dicom; transfer-syntax="+dcm.RLELossless)
}

// TestMutations stores files that were spoiled in many ways and asks for all
// that there is of those that were taken: never a 5xx, and JSON is JSON.
func TestMutations(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	names, err := filepath.Glob(filepath.Join("..", "..", "spec", "dcm", "testdata", "*.dcm"))
	if err != nil || len(names) == 0 {
		t.Fatal(err, len(names))
	}
	var files [][]byte
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 50_000 {
			files = append(files, b)
		}
	}
	r := rand.New(rand.NewPCG(6, 2026))
	taken := 0
	for n := range 400 {
		b := bytes.Clone(files[r.IntN(len(files))])
		for range 1 + r.IntN(3) {
			b = spoil(r, b)
		}
		rec := w.do("PUT", "/v2/studies", b, "Content-Type", "application/dicom")
		if rec.Code >= 500 {
			t.Errorf("%d: store: %d %s", n, rec.Code, rec.Body)
		}
		if rec.Code > 202 {
			continue
		}
		taken++
		f, err := dcm.Parse(b, dcm.Limits{})
		if err != nil {
			t.Errorf("%d was stored and cannot be parsed: %v", n, err)
			continue
		}
		d := f.Data
		path := "/v2/studies/" + d.String(dcm.TagStudyInstanceUID) + "/series/" + d.String(dcm.TagSeriesInstanceUID) + "/instances/" + d.String(dcm.TagSOPInstanceUID)
		for _, q := range [][2]string{
			{"", "application/dicom; transfer-syntax=*"}, {"", "application/dicom"}, {"", "application/dicom; transfer-syntax=" + dcm.RLELossless},
			{"/metadata", "application/dicom+json"}, {"/metadata", `multipart/related; type="application/dicom+xml"`},
			{"/frames/1", "*/*"}, {"/frames/1", "application/octet-stream"}, {"/rendered", "image/png"}, {"/thumbnail", "image/jpeg"}, {"/bulkdata/7FE00010", "*/*"},
		} {
			rec := w.do("GET", path+q[0], nil, "Accept", q[1])
			if rec.Code >= 500 || q[0] == "/metadata" && rec.Code != 200 {
				t.Errorf("%d: %s as %s: %d %s", n, q[0], q[1], rec.Code, rec.Body)
			}
			if q[1] == "application/dicom+json" && !json.Valid(rec.Body.Bytes()) {
				t.Errorf("%d: no JSON", n)
			}
		}
	}
	if taken < 100 {
		t.Errorf("only %d files were taken", taken)
	}
	for _, path := range []string{"/v2/studies", "/v2/series", "/v2/instances", "/v2/changefeed"} {
		if got := w.want(200, "GET", path); !json.Valid([]byte(got)) {
			t.Errorf("%s: no JSON", path)
		}
	}
}

// spoil changes a file: cuts, flips, repeats, or says other lengths and other
// attributes of the image.
func spoil(r *rand.Rand, b []byte) []byte {
	if len(b) < 200 {
		return b
	}
	i := 132 + r.IntN(len(b)-140)
	switch r.IntN(7) {
	case 0:
		return b[:i]
	case 1:
		for range 1 + r.IntN(10) {
			b[r.IntN(len(b))] = byte(r.IntN(256))
		}
	case 2:
		binary.LittleEndian.PutUint32(b[i:], []uint32{0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, 0, 1, uint32(len(b))}[r.IntN(7)])
	case 3:
		binary.LittleEndian.PutUint16(b[i:], []uint16{0xFFFF, 0xFFFE, 0, 1}[r.IntN(4)])
	case 4:
		return slices.Insert(b, i, b[i:min(len(b), i+r.IntN(200))]...)
	case 5:
		return slices.Delete(b, i, min(len(b), i+1+r.IntN(100)))
	default:
		for _, tag := range []string{"\x28\x00\x02\x00", "\x28\x00\x10\x00", "\x28\x00\x11\x00", "\x28\x00\x00\x01", "\x28\x00\x01\x01", "\x28\x00\x03\x01"} {
			if at := bytes.Index(b, []byte(tag)); at > 0 && at+10 < len(b) && r.IntN(2) == 0 {
				binary.LittleEndian.PutUint16(b[at+8:], []uint16{0, 1, 2, 3, 12, 32, 64, 0x8000, 0xFFFF}[r.IntN(9)])
			}
		}
	}
	return b
}
