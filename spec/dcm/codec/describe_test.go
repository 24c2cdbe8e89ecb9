package codec_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// TestDescribe reads the headers of the sample streams.
func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		name string
		want codec.Stream
	}{
		{"SC_rgb_jpeg_gdcm", codec.Stream{Syntax: dcm.JPEGLosslessSV1, Rows: 100, Columns: 100, Samples: 3, Bits: 8, Photometric: "RGB"}},
		{"MR_small_el_sv1", codec.Stream{Syntax: dcm.JPEGLosslessSV1, Rows: 64, Columns: 64, Samples: 1, Bits: 16, Photometric: "MONOCHROME2"}},
		{"MR_small_el_sv6", codec.Stream{Syntax: dcm.JPEGLossless, Rows: 64, Columns: 64, Samples: 1, Bits: 16, Photometric: "MONOCHROME2"}},
		{"MR_small_jpeg_ls_lossless", codec.Stream{Syntax: dcm.JPEGLSLossless, Rows: 64, Columns: 64, Samples: 1, Bits: 16, Photometric: "MONOCHROME2"}},
		{"JPEGLSNearLossless_08", codec.Stream{Syntax: dcm.JPEGLSNear, Rows: 45, Columns: 10, Samples: 1, Bits: 8, Photometric: "MONOCHROME2", Lossy: true}},
		{"SC_rgb_dcmtk_eb_cy_s4", codec.Stream{Syntax: dcm.JPEGBaseline, Rows: 100, Columns: 100, Samples: 3, Bits: 8, Photometric: "YBR_FULL", Lossy: true}},
	} {
		data, err := os.ReadFile("testdata/" + tt.name + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.Describe(bytes.NewReader(data))
		if err != nil || *got != tt.want {
			t.Errorf("%s: %v\n got %+v\nwant %+v", tt.name, err, got, tt.want)
		}
		for n := range min(len(data), 600) { // cut off anywhere in the headers
			_, _ = codec.Describe(bytes.NewReader(data[:n]))
		}
	}
	j2k := []byte{0xFF, 0x4F, 0xFF, 0x51, 0, 47, 0, 0, 0, 0, 2, 1, 0, 0, 1, 3, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 2, 1, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 11, 1, 1, 11, 1, 1, 11, 1, 1,
		0xFF, 0x52, 0, 12, 0, 0, 0, 1, 1, 5, 4, 4, 0, 1}
	want := codec.Stream{Syntax: dcm.JPEG2000Lossless, Rows: 256, Columns: 512, Samples: 3, Bits: 12, Photometric: "YBR_RCT"}
	if got, err := codec.Describe(bytes.NewReader(j2k)); err != nil || *got != want {
		t.Errorf("JPEG 2000: %v %+v", err, got)
	}
	box := append([]byte("\x00\x00\x00\x0CjP  \r\n\x87\n\x00\x00\x00\x0Aftyp..\x00\x00\x00\x00jp2c"), j2k...)
	from, n, err := codec.Codestream(bytes.NewReader(box), int64(len(box)))
	if err != nil || !bytes.Equal(box[from:from+n], j2k) {
		t.Error(from, n, err)
	}
	if _, _, err := codec.Codestream(bytes.NewReader(box[:20]), 20); err == nil {
		t.Error("a box that is cut off is taken")
	}
	if from, n, err := codec.Codestream(bytes.NewReader(j2k), int64(len(j2k))); from != 0 || n != int64(len(j2k)) || err != nil {
		t.Error(from, n, err)
	}
	for _, bad := range []string{"", "\xFF", "abcd", "\xFF\xD8\xFF\xD9", "\xFF\xD8\xFF\xE0\x00\x00"} {
		if _, err := codec.Describe(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	for _, name := range []string{"SC_rgb_jpeg_gdcm", "MR_small_jls"} {
		data, err := os.ReadFile("testdata/" + name + ".bin")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 700)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = codec.Describe(bytes.NewReader(data))
		from, n, err := codec.Codestream(bytes.NewReader(data), int64(len(data)))
		if err == nil && (from < 0 || n < 0 || from+n > int64(len(data))) {
			t.Error(from, n)
		}
	})
}
