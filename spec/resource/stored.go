package resource

import (
	"encoding/binary"
	"time"
)

// The stored form of a resource is its compact JSON without what the store
// knows anyway: resourceType, id, meta.versionId and meta.lastUpdated.
//
//	uvarint(len(metaRest)) metaRest rest
//
// metaRest is the inside of the braces of meta (`"tag":[...]`), rest the other
// members of the resource (`"active":true,"name":[...]`), both in their order
// and either possibly empty. Rendering a resource is thus a copy of two runs of
// bytes behind a new head; a new version never touches the content.

// Header is what the stored form leaves out.
type Header struct {
	Type        string
	ID          string
	Version     int64     // left out of meta when 0
	LastUpdated time.Time // left out of meta when zero
}

// AppendStored appends the stored form of n, a resource object, with edits
// applied to the values of its members. The siblings of the members left out
// (_id, meta._lastUpdated) stay. A meta that is no object has no stored form
// and is left out. The edits are sorted and do not overlap.
func (n Node) AppendStored(dst []byte, edits []Edit) []byte {
	// One byte is enough for the length of almost every metaRest; a longer
	// length moves it up.
	at := len(dst)
	dst = append(dst, 0)
	from := len(dst)
	if meta := n.Get("meta"); meta.Kind() == Object {
		for c := meta.First(); c.Valid(); c = c.Next() {
			if !c.KeyIs("versionId") && !c.KeyIs("lastUpdated") {
				dst = c.appendMember(dst, from, edits)
			}
		}
	}
	size := len(dst) - from
	if size < 0x80 {
		dst[at] = byte(size)
	} else {
		var head [binary.MaxVarintLen64]byte
		w := binary.PutUvarint(head[:], uint64(size))
		dst = append(dst, head[:w-1]...)
		copy(dst[at+w:], dst[from:from+size])
		copy(dst[at:], head[:w])
	}
	return n.appendRest(dst, edits)
}

// appendRest appends the members of a resource that are kept besides meta.
func (n Node) appendRest(dst []byte, edits []Edit) []byte {
	if n.Kind() != Object {
		return dst
	}
	from := len(dst)
	for c := n.First(); c.Valid(); c = c.Next() {
		if c.KeyIs("resourceType") || c.KeyIs("id") || c.KeyIs("meta") {
			continue
		}
		dst = c.appendMember(dst, from, edits)
	}
	return dst
}

// appendMember appends name, colon and value, and a comma before when something
// was written since from.
func (n Node) appendMember(dst []byte, from int, edits []Edit) []byte {
	dst = append(append(append(comma(dst, from), '"'), n.rawKey()...), '"', ':')
	return n.AppendEdited(dst, edits)
}

// splitStored returns the two parts of a stored form. A damaged length is taken
// for an empty first part.
func splitStored(stored []byte) (metaRest, rest []byte) {
	size, w := binary.Uvarint(stored)
	if w <= 0 || size > uint64(len(stored)-w) {
		return nil, nil
	}
	end := w + int(size)
	return stored[w:end], stored[end:]
}

// AppendResource appends the JSON text of a resource from its stored form. It
// does not allocate when dst is large enough: len(stored) + 160 bytes and the
// length of type and id are.
func AppendResource(dst []byte, h Header, stored []byte) []byte {
	metaRest, rest := splitStored(stored)
	dst = append(dst, `{"resourceType":`...)
	dst = AppendString(dst, h.Type)
	if h.ID != "" {
		dst = append(dst, `,"id":`...)
		dst = AppendString(dst, h.ID)
	}
	if h.Version != 0 || !h.LastUpdated.IsZero() || len(metaRest) > 0 {
		dst = append(dst, `,"meta":{`...)
		from := len(dst)
		if h.Version != 0 {
			dst = append(dst, `"versionId":"`...)
			dst = append(appendInt(dst, h.Version), '"')
		}
		if !h.LastUpdated.IsZero() {
			dst = comma(dst, from)
			dst = append(dst, `"lastUpdated":"`...)
			dst = append(AppendInstant(dst, h.LastUpdated), '"')
		}
		if len(metaRest) > 0 {
			dst = append(comma(dst, from), metaRest...)
		}
		dst = append(dst, '}')
	}
	if len(rest) > 0 {
		dst = append(append(dst, ','), rest...)
	}
	return append(dst, '}')
}

func comma(dst []byte, from int) []byte {
	if len(dst) > from {
		return append(dst, ',')
	}
	return dst
}

// AppendInstant appends t as a FHIR instant in UTC with milliseconds,
// 2026-11-21T10:00:00.000Z.
func AppendInstant(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / 1e6
	digit := func(v int) byte { return byte('0' + v%10) }
	return append(dst,
		digit(year/1000), digit(year/100), digit(year/10), digit(year), '-',
		digit(int(month)/10), digit(int(month)), '-', digit(day/10), digit(day), 'T',
		digit(hour/10), digit(hour), ':', digit(minute/10), digit(minute), ':',
		digit(second/10), digit(second), '.', digit(ms/100), digit(ms/10), digit(ms), 'Z')
}
