package fhirsql

import (
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// A cursor is the place behind the last row of a page: the values of the
// columns that the page is ordered by. It is bound to its query by a hash, so
// that a token of one search is not taken for a place in another.
//
//	version byte, 8 bytes hash, then per value: tag byte, content
const cursorVersion = 1

const (
	tagNull = iota
	tagInt
	tagFloat
	tagText
	tagBlob
)

// fingerprint is the hash FNV-1a.
func fingerprint(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return h
}

func encodeCursor(print string, vals []any) string {
	b := make([]byte, 0, 64)
	b = binary.BigEndian.AppendUint64(append(b, cursorVersion), fingerprint(print))
	for _, v := range vals {
		switch v := v.(type) {
		case int64:
			b = binary.AppendVarint(append(b, tagInt), v)
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, tagFloat), math.Float64bits(v))
		case string:
			b = append(binary.AppendUvarint(append(b, tagText), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, tagBlob), uint64(len(v))), v...)
		default:
			b = append(b, tagNull)
		}
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor returns the values of a cursor, nil for an empty one. It is
// Invalid unless it belongs to the query and has n values (any number for n < 0).
func decodeCursor(text, print string, n int) ([]any, error) {
	if text == "" {
		return nil, nil
	}
	bad := fault.At(fault.Invalid, "invalid", "", "the page token is not valid for this request: start again at the first page")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 9 || b[0] != cursorVersion || binary.BigEndian.Uint64(b[1:]) != fingerprint(print) {
		return nil, bad
	}
	var vals []any
	for b = b[9:]; len(b) > 0; {
		tag := b[0]
		b = b[1:]
		var v any
		switch tag {
		case tagNull:
		case tagInt:
			x, w := binary.Varint(b)
			if w <= 0 {
				return nil, bad
			}
			v, b = x, b[w:]
		case tagFloat:
			if len(b) < 8 {
				return nil, bad
			}
			v, b = math.Float64frombits(binary.BigEndian.Uint64(b)), b[8:]
		case tagText, tagBlob:
			x, w := binary.Uvarint(b)
			if w <= 0 || x > uint64(len(b)-w) {
				return nil, bad
			}
			content := b[w : w+int(x)]
			if v = string(content); tag == tagBlob {
				v = content
			}
			b = b[w+int(x):]
		default:
			return nil, bad
		}
		vals = append(vals, v)
	}
	if n >= 0 && len(vals) != n {
		return nil, bad
	}
	return vals, nil
}
