package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Stream is what a compressed stream says about the image in it.
type Stream struct {
	Syntax        string // the transfer syntax that it can be stored in
	Rows, Columns int
	Samples       int
	Bits          int // of a sample
	Signed        bool
	Photometric   string
	Lossy         bool
}

// Describe reads the headers of a stream of JPEG, JPEG-LS or JPEG 2000.
func Describe(r io.Reader) (*Stream, error) {
	b := bufio.NewReaderSize(r, 4<<10)
	head, err := b.Peek(2)
	if err != nil {
		return nil, errors.New("the stream is empty")
	}
	switch {
	case head[0] == 0xFF && head[1] == mSOI:
		return describeJPEG(b)
	case head[0] == 0xFF && head[1] == 0x4F:
		return describeJ2K(b)
	}
	return nil, errors.New("the stream is neither JPEG, JPEG-LS nor a codestream of JPEG 2000")
}

// nextSegment reads a marker with its parameters.
func nextSegment(b *bufio.Reader) (m byte, seg []byte, err error) {
	var h [4]byte
	for {
		if _, err := io.ReadFull(b, h[:2]); err != nil {
			return 0, nil, errors.New("the headers of the stream are cut off")
		}
		if h[0] != 0xFF {
			return 0, nil, errors.New("there is no marker where one should be")
		}
		if h[1] != 0xFF {
			break
		}
		_ = b.UnreadByte() // a fill byte; what was just read can be given back
	}
	if _, err := io.ReadFull(b, h[2:]); err != nil {
		return 0, nil, errors.New("the headers of the stream are cut off")
	}
	n := int(binary.BigEndian.Uint16(h[2:]))
	if n < 2 {
		return 0, nil, fmt.Errorf("a segment of %d bytes is impossible", n)
	}
	seg = make([]byte, n-2)
	if _, err := io.ReadFull(b, seg); err != nil {
		return 0, nil, errors.New("the headers of the stream are cut off")
	}
	return h[1], seg, nil
}

// describeJPEG reads up to the first scan (ISO 10918-1 section B.2).
func describeJPEG(b *bufio.Reader) (*Stream, error) {
	_, _ = b.Discard(2)
	s := &Stream{}
	adobe, sof, wide, rgb := -1, byte(0), false, false
	for {
		m, seg, err := nextSegment(b)
		if err != nil {
			return nil, err
		}
		switch {
		case m == mAPPE && len(seg) >= 12 && string(seg[:5]) == "Adobe":
			adobe = int(seg[11])
		case m >= mSOF0 && m <= 0xCF && m != mDHT && m != 0xC8 && m != 0xCC, m == mSOF55:
			if len(seg) < 6 || len(seg) < 6+3*int(seg[5]) {
				return nil, errors.New("the start of frame is cut off")
			}
			sof, s.Bits, s.Samples = m, int(seg[0]), int(seg[5])
			s.Rows, s.Columns = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
			if s.Samples == 3 {
				wide = seg[7]>>4 == 2
				rgb = seg[6] == 'R' && seg[9] == 'G' && seg[12] == 'B'
			}
		case m == mSOS:
			if sof == 0 || len(seg) < 1 || len(seg) < 4+2*int(seg[0]) {
				return nil, errors.New("the start of the scan is cut off")
			}
			return s, s.ofJPEG(sof, seg[1+2*int(seg[0])], adobe == 0 || rgb && adobe < 0, wide)
		}
	}
}

// ofJPEG finishes a description. param is the first of the scan: the predictor of
// a lossless one, the allowed error of JPEG-LS.
func (s *Stream) ofJPEG(sof, param byte, rgb, wide bool) error {
	switch {
	case sof == mSOF0 && s.Bits == 8:
		s.Syntax, s.Lossy = dcm.JPEGBaseline, true
	case sof == mSOF0 || sof == mSOF1:
		s.Syntax, s.Lossy = dcm.JPEGExtended, true
	case sof == mSOF3 && param == 1:
		s.Syntax = dcm.JPEGLosslessSV1
	case sof == mSOF3:
		s.Syntax = dcm.JPEGLossless
	case sof == mSOF55 && param == 0:
		s.Syntax = dcm.JPEGLSLossless
	case sof == mSOF55:
		s.Syntax, s.Lossy = dcm.JPEGLSNear, true
	case sof == mSOF2:
		return errors.New("progressive JPEG has no transfer syntax")
	default:
		return fmt.Errorf("the coding process %X has no transfer syntax", sof)
	}
	s.colours(func() string {
		switch {
		case sof == mSOF3 || sof == mSOF55 || rgb:
			return "RGB"
		case wide:
			return "YBR_FULL_422"
		}
		return "YBR_FULL"
	})
	return nil
}

func (s *Stream) colours(three func() string) {
	s.Photometric = "MONOCHROME2"
	if s.Samples == 3 {
		s.Photometric = three()
	}
}

// describeJ2K reads SIZ and COD (ISO 15444-1 section A.5 and A.6).
func describeJ2K(b *bufio.Reader) (*Stream, error) {
	_, _ = b.Discard(2)
	s, high := &Stream{}, false
	for {
		m, seg, err := nextSegment(b)
		if err != nil {
			return nil, err
		}
		switch m {
		case 0x51: // SIZ
			if len(seg) < 39 {
				return nil, errors.New("the size of the image is cut off")
			}
			u := func(at int) int { return int(binary.BigEndian.Uint32(seg[at:])) }
			s.Columns, s.Rows = u(2)-u(10), u(6)-u(14)
			s.Samples = int(binary.BigEndian.Uint16(seg[34:]))
			s.Bits, s.Signed = int(seg[36]&0x7F)+1, seg[36]&0x80 != 0
		case 0x50: // CAP: parts of the standard that are used, of which 15 is HTJ2K
			high = len(seg) >= 4 && binary.BigEndian.Uint32(seg)>>(32-15)&1 == 1
		case 0x52: // COD
			if len(seg) < 10 || s.Samples == 0 {
				return nil, errors.New("the coding style is cut off")
			}
			reversible := seg[9] == 1
			s.Lossy = !reversible
			switch {
			case high && reversible:
				s.Syntax = dcm.HTJ2KLossless
			case high:
				s.Syntax = dcm.HTJ2K
			case reversible:
				s.Syntax = dcm.JPEG2000Lossless
			default:
				s.Syntax = dcm.JPEG2000
			}
			s.colours(func() string {
				switch {
				case seg[4] == 0:
					return "RGB"
				case reversible:
					return "YBR_RCT"
				}
				return "YBR_ICT"
			})
			return s, nil
		}
	}
}

// Codestream finds the codestream in a file of the JPEG 2000 family (ISO 15444-1
// annex I), which a data set holds without the boxes around it. Anything else is
// its own codestream.
func Codestream(r io.ReaderAt, size int64) (offset, n int64, err error) {
	var h [16]byte
	if got, _ := r.ReadAt(h[:12], 0); got < 12 || string(h[4:8]) != "jP  " {
		return 0, size, nil
	}
	for at := int64(0); at+8 <= size; {
		if got, err := r.ReadAt(h[:min(16, size-at)], at); int64(got) < min(16, size-at) {
			return 0, 0, fmt.Errorf("read a box: %w", err)
		}
		head, length := int64(8), int64(binary.BigEndian.Uint32(h[:]))
		switch length {
		case 0: // up to the end
			length = size - at
		case 1:
			head, length = 16, int64(min(binary.BigEndian.Uint64(h[8:]), 1<<62))
		}
		if length < head || length > size-at {
			return 0, 0, errors.New("a box is longer than the file")
		}
		if string(h[4:8]) == "jp2c" {
			return at + head, length - head, nil
		}
		at += length
	}
	return 0, 0, errors.New("the file has no codestream")
}
