package dicom

import (
	"encoding/binary"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Frame tables are stored as varints: a kind, then for native frames start,
// size, bits and count, and for encapsulated ones the number of frames and, per
// frame, the number of pieces and for each the distance from the end of the
// piece before it and its length.
const (
	nativeTable       = 1
	encapsulatedTable = 2
)

// encodeFrames returns the stored form of a table.
func encodeFrames(t *dcm.FrameTable) []byte {
	if t == nil {
		return nil
	}
	var b []byte
	put := func(vs ...int64) {
		for _, v := range vs {
			b = binary.AppendVarint(b, v)
		}
	}
	if t.Ranges == nil {
		put(nativeTable, t.Start, t.Size, t.Bits, int64(t.Count))
		return b
	}
	put(encapsulatedTable, int64(len(t.Ranges)))
	end := int64(0)
	for _, frame := range t.Ranges {
		put(int64(len(frame)))
		for _, r := range frame {
			put(r.Offset-end, r.Length)
			end = r.Offset + r.Length
		}
	}
	return b
}

// decodeFrames reads the stored form.
func decodeFrames(b []byte) (*dcm.FrameTable, error) {
	bad := false
	get := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	t := &dcm.FrameTable{}
	switch get() {
	case nativeTable:
		t.Start, t.Size, t.Bits, t.Count = get(), get(), get(), int(get())
	case encapsulatedTable:
		n := get()
		if n < 0 || n > int64(len(b)) {
			bad = true
			break
		}
		t.Count = int(n)
		t.Ranges = make([][]dcm.Range, n)
		end := int64(0)
		for i := range t.Ranges {
			k := get()
			if bad || k < 0 || k > int64(len(b)) {
				bad = true
				break
			}
			t.Ranges[i] = make([]dcm.Range, k)
			for j := range t.Ranges[i] {
				off, length := end+get(), get()
				t.Ranges[i][j] = dcm.Range{Offset: off, Length: length}
				end = off + length
			}
		}
	default:
		bad = true
	}
	if bad {
		return nil, &fault.Error{Kind: fault.Internal, Op: "dicom: frame table", Msg: "the stored frame table is damaged"}
	}
	return t, nil
}
