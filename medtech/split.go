package medtech

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/cbor"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Split returns the messages in what a source delivered: the items of an array of
// objects, the lines of newline-delimited objects, else m as it is. Content that is
// compressed by gzip is unpacked first, and CBOR becomes JSON.
func Split(m Raw) []Raw {
	if plain, ok := unpack(m.Body); ok {
		m.Body = plain
	}
	if cbor.Looks(m.Body) {
		if text, err := FromCBOR(m.Body); err == nil {
			m.Body = text
		}
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

// FromCBOR returns the items of a CBOR sequence (RFC 8742), which may be one, as
// lines of JSON.
func FromCBOR(data []byte) (lines []byte, err error) {
	for len(data) > 0 {
		if lines, data, err = cbor.AppendJSON(lines, data); err != nil {
			return nil, err
		}
		if len(lines) > maxUnpacked {
			return nil, errTooMuch
		}
		if len(data) > 0 {
			lines = append(lines, '\n')
		}
	}
	return lines, nil
}

// FromCSV returns the records of a CSV text (RFC 4180) with a header as lines of
// JSON: an object of the columns that are not empty. What is a JSON number stays
// one, all else is text. problems has what is wrong with a record, by its line in
// the result, which is then empty.
func FromCSV(text []byte) (lines []byte, problems map[int]string, err error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("the header cannot be read: %w", err)
	}
	names := make([][]byte, len(header))
	for i, h := range header {
		header[i] = strings.TrimSpace(h)
		if header[i] == "" || slices.Contains(header[:i], header[i]) {
			return nil, nil, fmt.Errorf("column %d of the header has no name of its own", i+1)
		}
		names[i] = append(resource.AppendString(nil, header[i]), ':')
	}
	problems = map[int]string{}
	for n := 0; ; n++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return lines, problems, nil
		}
		if n > 0 {
			lines = append(lines, '\n')
		}
		if err != nil {
			problems[n] = "the record cannot be read: " + err.Error()
			if !errors.Is(err, csv.ErrFieldCount) {
				return lines, problems, nil // nobody knows where the next one begins
			}
			continue
		}
		lines = append(lines, '{')
		for i, v := range record {
			if v == "" {
				continue
			}
			if lines[len(lines)-1] != '{' {
				lines = append(lines, ',')
			}
			lines = append(lines, names[i]...)
			if number.MatchString(v) {
				lines = append(lines, v...)
			} else {
				lines = resource.AppendString(lines, v)
			}
		}
		if lines = append(lines, '}'); len(lines) > maxUnpacked {
			return nil, nil, errTooMuch
		}
	}
}

// number is a JSON number (RFC 8259 section 6).
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

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

// maxUnpacked bounds what a payload becomes that is compressed or no JSON.
const maxUnpacked = 16 << 20

var errTooMuch = fmt.Errorf("it is more than %d bytes of JSON", maxUnpacked)

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
