package medtech

import (
	"bytes"
	"compress/gzip"
	"io"
	"strconv"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Split returns the messages in what a source delivered: the items of an array of
// objects, the lines of newline-delimited objects, else m as it is. Content that is
// compressed by gzip is unpacked first.
func Split(m Raw) []Raw {
	if plain, ok := unpack(m.Body); ok {
		m.Body = plain
	}
	body := bytes.TrimSpace(m.Body)
	if len(body) == 0 {
		return []Raw{m}
	}
	var parts [][]byte
	switch {
	case body[0] == '[':
		parts = items(body)
	case body[0] == '{' && bytes.IndexByte(body, '\n') > 0:
		parts = lines(body)
	}
	if len(parts) == 0 {
		return []Raw{m}
	}
	list := make([]Raw, len(parts))
	for i, p := range parts {
		list[i] = m
		list[i].Body = p
		if m.SourceID != "" {
			list[i].SourceID = m.SourceID + "#" + strconv.Itoa(i)
		}
	}
	return list
}

// items returns the items of an array of objects; nil when it is none.
func items(body []byte) (parts [][]byte) {
	var doc resource.Doc
	if doc.Parse(body, resource.Options{}) != nil {
		return nil
	}
	for n := range doc.Root().Children() {
		if n.Kind() != resource.Object {
			return nil
		}
		parts = append(parts, n.Raw())
	}
	return parts
}

// lines returns the objects of newline-delimited JSON; nil when it is none, such
// as one object over several lines.
func lines(body []byte) (parts [][]byte) {
	for l := range bytes.Lines(body) {
		l = bytes.TrimSpace(l)
		if len(l) == 0 {
			continue
		}
		if l[0] != '{' || l[len(l)-1] != '}' {
			return nil
		}
		var doc resource.Doc
		if doc.Parse(l, resource.Options{}) != nil {
			return nil
		}
		parts = append(parts, l)
	}
	return parts
}

// maxUnpacked bounds what a compressed payload may hold.
const maxUnpacked = 16 << 20

// packed are the first bytes of content that is compressed: gzip (RFC 1952), zstd
// (RFC 8878), zlib (RFC 1950), xz and bzip2. No JSON text begins so.
var packed = [][]byte{{0x1f, 0x8b}, {0x28, 0xb5, 0x2f, 0xfd}, {0x78, 0x01}, {0x78, 0x9c}, {0x78, 0xda}, []byte("\xfd7zXZ"), []byte("BZh")}

// unpack returns the content of gzip; not ok when it is none, is damaged, or holds
// too much.
func unpack(body []byte) (plain []byte, ok bool) {
	if !bytes.HasPrefix(body, packed[0]) {
		return nil, false
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, false
	}
	plain, err = io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	return plain, err == nil && len(plain) <= maxUnpacked
}

// compressed reports whether a message is still compressed.
func compressed(body []byte) bool {
	for _, p := range packed {
		if bytes.HasPrefix(body, p) {
			return true
		}
	}
	return false
}
