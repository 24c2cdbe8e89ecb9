package dcm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
)

// jsonAttribute is one attribute of the DICOM JSON model.
type jsonAttribute struct {
	VR     string            `json:"vr"`
	Value  []json.RawMessage `json:"Value"`
	Inline *string           `json:"InlineBinary"`
	Bulk   *string           `json:"BulkDataURI"`
}

// maxJSONDepth bounds the nesting of sequences.
const maxJSONDepth = 64

// ParseJSON reads one data set of the DICOM JSON model (PS3.18 section F.2). Its
// text is kept in UTF-8. Bulk data that are only referred to are refused. The
// message of an error names the attribute and repeats no value.
func ParseJSON(text []byte) (*Dataset, error) {
	return (&jsonReader{}).dataset(text, "", 0)
}

// ParseJSONBulk is ParseJSON for data sets with bulk data elsewhere: bulk is
// called for each BulkDataURI with the path of its element (54000100[0].54001010)
// and completes the element.
func ParseJSONBulk(text []byte, bulk func(e *Element, path, uri string) error) (*Dataset, error) {
	return (&jsonReader{bulk}).dataset(text, "", 0)
}

type jsonReader struct {
	bulk func(e *Element, path, uri string) error // nil: they are refused
}

func (r *jsonReader) dataset(text []byte, path string, depth int) (*Dataset, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("%s: sequences are nested more than %d deep", path, maxJSONDepth)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return nil, fmt.Errorf("%snot a JSON object of DICOM attributes", prefix(path))
	}
	d := &Dataset{charset: &Charset{utf8: true}, Elements: make([]Element, 0, len(members))}
	seen := make(map[Tag]bool, len(members))
	for name, raw := range members {
		t, ok := ParseAttribute(name)
		if !ok {
			return nil, fmt.Errorf("%s%q is neither a tag (GGGGEEEE) nor a keyword", prefix(path), name)
		}
		at := t.Hex()
		if path != "" {
			at = path + "." + at
		}
		if seen[t] {
			return nil, fmt.Errorf("%s: the attribute is there twice", at)
		}
		seen[t] = true
		e, err := r.attribute(t, raw, at, depth)
		if err != nil {
			return nil, err
		}
		d.Elements = append(d.Elements, e)
	}
	sort.Slice(d.Elements, func(i, j int) bool { return d.Elements[i].Tag < d.Elements[j].Tag })
	return d, nil
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

func (r *jsonReader) attribute(t Tag, raw json.RawMessage, at string, depth int) (Element, error) {
	var a jsonAttribute
	e := Element{Tag: t}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return e, fmt.Errorf("%s: not an attribute with vr and one of Value, InlineBinary", at)
	}
	var ok bool
	if e.VR, ok = ParseVR(a.VR); !ok {
		return e, fmt.Errorf("%s: the vr %q is not known", at, a.VR)
	}
	switch {
	case a.Bulk != nil && r.bulk == nil:
		return e, fmt.Errorf("%s: BulkDataURI cannot be used here", at)
	case a.Bulk != nil && (a.Value != nil || a.Inline != nil || e.VR == SQ):
		return e, fmt.Errorf("%s: BulkDataURI does not go with Value, InlineBinary or a sequence", at)
	case a.Bulk != nil:
		return e, r.bulk(&e, at, *a.Bulk)
	case a.Inline != nil && a.Value != nil:
		return e, fmt.Errorf("%s: Value and InlineBinary exclude each other", at)
	case a.Inline != nil:
		b, err := base64.StdEncoding.DecodeString(*a.Inline)
		if err != nil {
			return e, fmt.Errorf("%s: InlineBinary is not base64", at)
		}
		e.Value = b
	case e.VR == SQ:
		for i, v := range a.Value {
			item, err := r.dataset(v, fmt.Sprintf("%s[%d]", at, i), depth+1)
			if err != nil {
				return e, err
			}
			e.Items = append(e.Items, item)
		}
		return e, nil
	default:
		if err := e.values(a.Value, at); err != nil {
			return e, err
		}
	}
	if len(e.Value)&1 == 1 {
		pad := byte(' ')
		if e.VR == UI || !e.VR.isString() {
			pad = 0
		}
		e.Value = append(e.Value, pad)
	}
	e.Length = int64(len(e.Value))
	return e, nil
}

// values encodes the members of Value.
func (e *Element) values(list []json.RawMessage, at string) error {
	if e.VR.isString() {
		parts := make([]string, len(list))
		for i, raw := range list {
			s, err := e.text(raw)
			if err != nil {
				return fmt.Errorf("%s: value %d: %w", at, i+1, err)
			}
			if strings.Contains(s, `\`) && e.VR.multi() {
				return fmt.Errorf("%s: value %d holds a backslash", at, i+1)
			}
			parts[i] = s
		}
		e.Value = []byte(strings.Join(parts, `\`))
		return nil
	}
	if e.VR.Bulk() && len(list) > 0 {
		return fmt.Errorf("%s: VR %s has InlineBinary, not Value", at, e.VR)
	}
	for i, raw := range list {
		if err := e.number(raw); err != nil {
			return fmt.Errorf("%s: value %d: %w", at, i+1, err)
		}
	}
	return nil
}

// text decodes a string value; numbers are fine for IS and DS.
func (e *Element) text(raw json.RawMessage) (string, error) {
	if string(raw) == "null" {
		return "", nil
	}
	if e.VR == PN && len(raw) > 0 && raw[0] == '{' {
		var g struct{ Alphabetic, Ideographic, Phonetic string }
		if err := json.Unmarshal(raw, &g); err != nil {
			return "", fmt.Errorf("not a name")
		}
		return strings.TrimRight(g.Alphabetic+"="+g.Ideographic+"="+g.Phonetic, "="), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err == nil {
		return s, nil
	}
	if e.VR == IS || e.VR == DS {
		if n := jsonNumber(string(raw)); n != "" {
			return string(raw), nil
		}
	}
	return "", fmt.Errorf("not a string")
}

func (e *Element) number(raw json.RawMessage) error {
	s := strings.Trim(string(raw), `"`)
	if e.VR == AT {
		t, ok := ParseTag(s)
		if !ok {
			return fmt.Errorf("not a tag")
		}
		e.Value = binary.LittleEndian.AppendUint16(e.Value, t.Group())
		e.Value = binary.LittleEndian.AppendUint16(e.Value, uint16(t))
		return nil
	}
	switch e.VR {
	case FL, FD:
		bits := e.VR.width() * 8
		v, err := strconv.ParseFloat(s, bits)
		if err != nil {
			return fmt.Errorf("not a number of VR %s", e.VR)
		}
		if e.VR == FL {
			e.Value = binary.LittleEndian.AppendUint32(e.Value, math.Float32bits(float32(v)))
		} else {
			e.Value = binary.LittleEndian.AppendUint64(e.Value, math.Float64bits(v))
		}
		return nil
	}
	var bits uint64
	switch e.VR {
	case SS, SL, SV:
		v, err := strconv.ParseInt(s, 10, e.VR.width()*8)
		if err != nil {
			return fmt.Errorf("not an integer of VR %s", e.VR)
		}
		bits = uint64(v)
	default:
		v, err := strconv.ParseUint(s, 10, e.VR.width()*8)
		if err != nil {
			return fmt.Errorf("not an integer of VR %s", e.VR)
		}
		bits = v
	}
	switch e.VR.width() {
	case 2:
		e.Value = binary.LittleEndian.AppendUint16(e.Value, uint16(bits))
	case 4:
		e.Value = binary.LittleEndian.AppendUint32(e.Value, uint32(bits))
	default:
		e.Value = binary.LittleEndian.AppendUint64(e.Value, bits)
	}
	return nil
}
