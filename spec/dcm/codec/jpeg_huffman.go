package codec

import (
	"errors"
)

// lookBits is how many bits of a code one table access decodes.
const lookBits = 9

// huffman is a decoding table (ITU-T T.81 annex C and section F.2.2.3).
type huffman struct {
	look    [1 << lookBits]uint16 // length<<8 | symbol; 0: the code is longer
	max     [18]int32             // largest code of each length, -1 none
	offset  [17]int32             // of the symbol of a code of each length
	symbols []byte
}

var errHuffman = errors.New("a Huffman table is damaged")

// huffmanTables reads a DHT segment (section B.2.4.2).
func (d *jpegDecoder) huffmanTables(seg []byte) error {
	for len(seg) > 0 {
		if len(seg) < 17 {
			return errHuffman
		}
		class, id := seg[0]>>4, seg[0]&15
		n := 0
		for _, c := range seg[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(seg) < 17+n {
			return errHuffman
		}
		h, err := newHuffman(seg[1:17], seg[17:17+n])
		if err != nil {
			return err
		}
		if class == 0 {
			d.dc[id] = h
		} else {
			d.ac[id] = h
		}
		seg = seg[17+n:]
	}
	return nil
}

func newHuffman(counts, symbols []byte) (*huffman, error) {
	h := &huffman{symbols: symbols}
	code, at := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		n := int32(counts[l-1])
		h.offset[l], h.max[l] = at-code, -1
		if code+n > 1<<l {
			return nil, errHuffman
		}
		if l <= lookBits {
			for i := range n {
				e := uint16(l)<<8 | uint16(symbols[at+i])
				first := (code + i) << (lookBits - l)
				for j := range int32(1) << (lookBits - l) {
					h.look[first+j] = e
				}
			}
		}
		at += n
		code += n
		if n > 0 {
			h.max[l] = code - 1
		}
		code <<= 1
	}
	return h, nil
}

// bitReader reads the entropy coded bits of a scan: a zero after FF is stuffing,
// a marker ends the bits. Behind the end it gives zeros, and counts them.
type bitReader struct {
	src  []byte
	pos  int
	acc  uint64
	n    uint
	over uint // zero bits that were made up
}

var errCut = errors.New("the stream ends inside a scan")

func (b *bitReader) reset(src []byte, pos int) { *b = bitReader{src: src, pos: pos} }

// fill makes at least 32 bits available.
func (b *bitReader) fill() {
	for b.n <= 48 {
		var v byte
		switch {
		case b.pos >= len(b.src):
			b.over += 8
		case b.src[b.pos] != 0xFF:
			v = b.src[b.pos]
			b.pos++
		case b.pos+1 < len(b.src) && b.src[b.pos+1] == 0:
			v = 0xFF
			b.pos += 2
		default:
			b.over += 8
		}
		b.acc = b.acc<<8 | uint64(v)
		b.n += 8
	}
}

// short reports whether bits were used that the stream does not have.
func (b *bitReader) short() bool { return b.over > b.n }

// bits returns the next n bits, n <= 16.
func (b *bitReader) bits(n uint) int32 {
	if n == 0 {
		return 0
	}
	if b.n < n {
		b.fill()
	}
	b.n -= n
	return int32(b.acc>>b.n) & (1<<n - 1)
}

// receive returns a signed value of n bits (RECEIVE and EXTEND, section F.2.2.1).
func (b *bitReader) receive(n uint) int32 {
	v := b.bits(n)
	if n > 0 && v < 1<<(n-1) {
		v += -1<<n + 1
	}
	return v
}

// symbol decodes one Huffman code; -1 when there is no such code.
func (b *bitReader) symbol(h *huffman) int32 {
	if b.n < 16 {
		b.fill()
	}
	if e := h.look[b.acc>>(b.n-lookBits)&(1<<lookBits-1)]; e != 0 {
		b.n -= uint(e >> 8)
		return int32(e & 0xFF)
	}
	for l := uint(lookBits + 1); l <= 16; l++ {
		code := int32(b.acc>>(b.n-l)) & (1<<l - 1)
		if code <= h.max[l] {
			b.n -= l
			i := code + h.offset[l]
			if i < 0 || int(i) >= len(h.symbols) {
				return -1
			}
			return int32(h.symbols[i])
		}
	}
	return -1
}

// restarted moves behind the next restart marker; false when there is none.
func (b *bitReader) restarted() bool {
	pos := b.pos
	for pos+1 < len(b.src) {
		if b.src[pos] == 0xFF {
			switch m := b.src[pos+1]; {
			case m >= mRST0 && m <= mRST7:
				b.reset(b.src, pos+2)
				return true
			case m != 0 && m != 0xFF:
				return false
			}
		}
		pos++
	}
	return false
}
