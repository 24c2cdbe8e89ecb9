package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// rleHeader is the size of the table of segments (PS3.5 section G.5).
const rleHeader = 64

// unRLE decodes a frame of RLE Lossless: one segment for each byte of a sample,
// the most significant first, sample after sample.
func unRLE(im *dcm.Image, src []byte) (*Pixels, error) {
	p, err := newPixels(im)
	if err != nil {
		return nil, err
	}
	if p.Bits < 8 {
		return nil, errors.New("RLE of single bits is not an image")
	}
	if len(src) < rleHeader {
		return nil, fmt.Errorf("the RLE frame ends in its header, after %d bytes", len(src))
	}
	width := p.Bits / 8
	want := width * p.Samples
	n := int(binary.LittleEndian.Uint32(src))
	if n != want {
		return nil, fmt.Errorf("the RLE frame has %d segments, its pixels need %d", n, want)
	}
	if n > 15 {
		return nil, fmt.Errorf("an RLE frame has at most 15 segments, not %d", n)
	}
	for i := range n {
		begin, end := int64(binary.LittleEndian.Uint32(src[4+4*i:])), int64(len(src))
		if i+1 < n {
			end = int64(binary.LittleEndian.Uint32(src[8+4*i:]))
		}
		if begin < rleHeader || begin > end || end > int64(len(src)) {
			return nil, fmt.Errorf("RLE segment %d lies outside of the frame", i+1)
		}
		sample, b := i/width, width-1-i%width
		if err := unpackBits(p.Data[sample*width+b:], want, p.Rows*p.Columns, src[begin:end]); err != nil {
			return nil, fmt.Errorf("RLE segment %d: %w", i+1, err)
		}
	}
	return p, nil
}

// unpackBits writes n bytes, each step bytes after the other (PS3.5 section G.3.2).
func unpackBits(dst []byte, step, n int, src []byte) error {
	at := 0
	for at < n {
		if len(src) == 0 {
			return fmt.Errorf("it ends after %d of %d bytes", at, n)
		}
		c := int8(src[0])
		src = src[1:]
		switch {
		case c >= 0:
			k := min(int(c)+1, n-at)
			if len(src) < k {
				return fmt.Errorf("it ends inside a run, after %d of %d bytes", at, n)
			}
			for _, v := range src[:k] {
				dst[at*step] = v
				at++
			}
			src = src[min(int(c)+1, len(src)):]
		case c != -128:
			if len(src) == 0 {
				return fmt.Errorf("it ends inside a run, after %d of %d bytes", at, n)
			}
			v := src[0]
			src = src[1:]
			for range min(1-int(c), n-at) {
				dst[at*step] = v
				at++
			}
		}
	}
	return nil
}

// toRLE encodes a frame. Rows are packed one by one, as section G.3.1 asks.
func toRLE(p *Pixels) ([]byte, error) {
	width := p.Bits / 8
	n := width * p.Samples
	if p.Bits < 8 || n > 15 {
		return nil, fmt.Errorf("%d samples of %d bits cannot be RLE", p.Samples, p.Bits)
	}
	out := make([]byte, rleHeader, rleHeader+len(p.Data)/2)
	binary.LittleEndian.PutUint32(out, uint32(n))
	row := make([]byte, p.Columns)
	for i := range n {
		binary.LittleEndian.PutUint32(out[4+4*i:], uint32(len(out)))
		at := (i/width)*width + width - 1 - i%width
		for range p.Rows {
			for x := range row {
				row[x] = p.Data[at]
				at += n
			}
			out = packBits(out, row)
		}
		if len(out)%2 != 0 {
			out = append(out, 0)
		}
	}
	return out, nil
}

// packBits appends the runs of a row.
func packBits(dst, row []byte) []byte {
	for i := 0; i < len(row); {
		run := 1
		for i+run < len(row) && run < 128 && row[i+run] == row[i] {
			run++
		}
		if run > 1 {
			dst = append(dst, byte(1-run), row[i])
			i += run
			continue
		}
		end := i + 1
		for end < len(row) && end-i < 128 && (end+2 >= len(row) || row[end] != row[end+1] || row[end] != row[end+2]) {
			end++
		}
		dst = append(dst, byte(end-i-1))
		dst = append(dst, row[i:end]...)
		i = end
	}
	return dst
}
