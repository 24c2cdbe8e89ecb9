package codec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// sample is a line of testdata/frames.tsv.
type sample struct {
	name, syntax, sum string
	im                dcm.Image
	data              []byte
}

func samples(t testing.TB) []sample {
	t.Helper()
	table, err := os.ReadFile(filepath.Join("testdata", "frames.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var out []sample
	for line := range strings.Lines(string(table)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(f) != 9 {
			continue
		}
		n := make([]int, 5)
		for i := range n {
			if n[i], err = strconv.Atoi(f[2+i]); err != nil {
				t.Fatal(err)
			}
		}
		s := sample{name: f[0], syntax: f[1], sum: f[8], im: dcm.Image{
			Rows: n[0], Columns: n[1], SamplesPerPixel: n[2], BitsAllocated: n[3], BitsStored: n[4], HighBit: n[4] - 1, Photometric: f[7], Frames: 1,
		}}
		if s.data, err = os.ReadFile(filepath.Join("testdata", s.name)); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if len(out) < 40 {
		t.Fatalf("only %d samples", len(out))
	}
	return out
}

// TestDecode compares every process, predictor and interleaving with what other
// toolkits decode, bit by bit.
func TestDecode(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			p, err := Decode(&s.im, s.syntax, s.data)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(p.Data); hex.EncodeToString(sum[:]) != s.sum {
				t.Errorf("the pixels differ from those of the reference")
			}
		})
	}
}

// TestDamaged cuts and changes frames: an error or pixels, never a panic.
func TestDamaged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, s := range samples(t) {
		short := 0
		for cut := 0; cut < len(s.data); cut += 1 + len(s.data)/40 {
			if _, err := Decode(&s.im, s.syntax, s.data[:cut]); err != nil {
				short++
			}
		}
		if short < 20 {
			t.Errorf("%s: only %d cut frames are refused", s.name, short)
		}
		for range 40 {
			bad := bytes.Clone(s.data)
			for range 1 + rnd.IntN(4) {
				bad[rnd.IntN(len(bad))] = byte(rnd.IntN(256))
			}
			_, _ = Decode(&s.im, s.syntax, bad) // either is right; a panic is not
		}
	}
}

// TestMismatch gives data sets that contradict the stream.
func TestMismatch(t *testing.T) {
	for _, s := range samples(t) {
		im := s.im
		im.Columns++
		if _, err := Decode(&im, s.syntax, s.data); err == nil && s.syntax != dcm.RLELossless {
			t.Errorf("%s: a wrong width is taken", s.name)
		}
		im = s.im
		im.SamplesPerPixel = 4 - im.SamplesPerPixel
		if _, err := Decode(&im, s.syntax, s.data); err == nil {
			t.Errorf("%s: a wrong number of samples is taken", s.name)
		}
	}
	if _, err := Decode(&samples(t)[0].im, dcm.JPEG2000, nil); !errors.Is(err, ErrSyntax) {
		t.Errorf("JPEG 2000: %v", err)
	}
}

// TestEncode brings random pixels into each form that is encoded, and back.
func TestEncode(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		im := dcm.Image{
			Rows: 1 + rnd.IntN(20), Columns: 1 + rnd.IntN(300), SamplesPerPixel: 1 + 2*rnd.IntN(2),
			BitsAllocated: 8 << rnd.IntN(3), Photometric: "RGB", Frames: 1,
		}
		p, err := newPixels(&im)
		if err != nil {
			t.Fatal(err)
		}
		levels := 1 + rnd.IntN(1<<(1+rnd.IntN(8)))
		for i := range p.Data {
			p.Data[i] = byte(rnd.IntN(levels))
		}
		for _, syntax := range []string{dcm.RLELossless, dcm.ExplicitBig, dcm.ExplicitLittle} {
			if !CanEncode(syntax) || !CanDecode(syntax) {
				t.Fatalf("%s cannot be encoded", syntax)
			}
			b, err := Encode(p, syntax)
			if err != nil {
				t.Fatal(err)
			}
			q, err := Decode(&im, syntax, b)
			if err != nil {
				t.Fatalf("%s of %+v: %v", syntax, im, err)
			}
			if !bytes.Equal(p.Data, q.Data) {
				t.Fatalf("%s of %+v is not lossless", syntax, im)
			}
			if syntax == dcm.RLELossless && len(b)%2 != 0 {
				t.Fatal("an odd fragment")
			}
		}
	}
}

// TestNative has planes, subsampled colour and single bits.
func TestNative(t *testing.T) {
	planes := dcm.Image{Rows: 1, Columns: 2, SamplesPerPixel: 3, BitsAllocated: 8, Planar: true, Photometric: "RGB"}
	p, err := Decode(&planes, dcm.ExplicitLittle, []byte{1, 2, 3, 4, 5, 6})
	if err != nil || !bytes.Equal(p.Data, []byte{1, 3, 5, 2, 4, 6}) {
		t.Errorf("planes: %v %v", p, err)
	}
	half := dcm.Image{Rows: 1, Columns: 2, SamplesPerPixel: 3, BitsAllocated: 8, Photometric: "YBR_FULL_422"}
	p, err = Decode(&half, dcm.ExplicitLittle, []byte{1, 2, 9, 8})
	if err != nil || p.Photometric != "YBR_FULL" || !bytes.Equal(p.Data, []byte{1, 9, 8, 2, 9, 8}) {
		t.Errorf("4:2:2: %v %v", p, err)
	}
	words := dcm.Image{Rows: 2, Columns: 2, SamplesPerPixel: 1, BitsAllocated: 8, VR: dcm.OW, Photometric: "MONOCHROME2"}
	if p, err = Decode(&words, dcm.ExplicitBig, []byte{2, 1, 4, 3}); err != nil || !bytes.Equal(p.Data, []byte{1, 2, 3, 4}) {
		t.Errorf("bytes in words: %v %v", p, err)
	}
	one := dcm.Image{Rows: 3, Columns: 3, SamplesPerPixel: 1, BitsAllocated: 1, Photometric: "MONOCHROME2"}
	if p, err = Decode(&one, dcm.ExplicitLittle, []byte{0xFF, 1}); err != nil || len(p.Data) != 2 {
		t.Errorf("bits: %v %v", p, err)
	}
	if _, err = Decode(&planes, dcm.ExplicitLittle, []byte{1, 2, 3}); err == nil {
		t.Error("half a frame is taken")
	}
}

// TestRGB has the corners of the colour space (JFIF).
func TestRGB(t *testing.T) {
	p := &Pixels{Rows: 1, Columns: 4, Samples: 3, Bits: 8, Photometric: "YBR_FULL", Data: []byte{0, 128, 128, 255, 128, 128, 76, 85, 255, 29, 255, 107}}
	q, err := p.RGB()
	if err != nil || !bytes.Equal(q.Data, []byte{0, 0, 0, 255, 255, 255, 254, 0, 0, 0, 0, 254}) {
		t.Errorf("%v %v", q.Data, err)
	}
	if _, err := (&Pixels{Photometric: "HSV"}).RGB(); err == nil {
		t.Error("HSV is taken")
	}
}

// FuzzDecode must not panic, whatever a frame holds.
func FuzzDecode(f *testing.F) {
	kinds := []string{dcm.RLELossless, dcm.JPEGBaseline, dcm.JPEGLSLossless, dcm.ExplicitLittle, dcm.DeflatedFrame}
	for _, s := range samples(f) {
		for i, k := range kinds {
			if k == s.syntax {
				f.Add(s.data, uint8(i), uint8(s.im.Rows), uint8(s.im.Columns), s.im.SamplesPerPixel == 3, s.im.BitsAllocated == 16)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, kind, rows, columns uint8, color, wide bool) {
		im := dcm.Image{Rows: int(rows) + 1, Columns: int(columns) + 1, SamplesPerPixel: 1, BitsAllocated: 8, Photometric: "MONOCHROME2"}
		if color {
			im.SamplesPerPixel, im.Photometric = 3, "YBR_FULL"
		}
		if wide {
			im.BitsAllocated = 16
		}
		p, err := Decode(&im, kinds[int(kind)%len(kinds)], data)
		if err == nil && int64(len(p.Data)) != im.FrameSize() {
			t.Fatalf("%d bytes for %+v", len(p.Data), im)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range samples(b) {
		switch s.name {
		case "MR_small_el_sv1.bin", "MR_small_jls.bin", "MR_small_rle.bin", "JPEG-lossy.bin", "SC_rgb_dcmtk_eb_cy_s4.bin":
			b.Run(strings.TrimSuffix(s.name, ".bin"), func(b *testing.B) {
				b.SetBytes(s.im.FrameSize())
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Decode(&s.im, s.syntax, s.data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
