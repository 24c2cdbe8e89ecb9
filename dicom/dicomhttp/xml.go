package dicomhttp

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

const typeDICOMXML = "application/dicom+xml"

// wantsXML reports whether data sets are wanted as XML and not as JSON: the
// first range that can be given decides.
func wantsXML(list []mediaRange) bool {
	for _, m := range list {
		switch {
		case m.full == typeDICOMXML, m.full == typeMultipart && m.typ == typeDICOMXML:
			return true
		case wantsJSON([]mediaRange{m}):
			return false
		}
	}
	return false
}

// xmlParts answers with an array of DICOM JSON data sets as XML, one part each
// (PS3.18 section 8.7.3.3).
func (x *exchange) xmlParts(array []byte) error {
	var list []map[string]jsonAttribute
	if err := json.Unmarshal(array, &list); err != nil {
		return fault.Wrap("dicomhttp: xml", err)
	}
	m := x.multipart(typeDICOMXML, -1)
	for _, d := range list {
		var b bytes.Buffer
		b.WriteString(xml.Header + `<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">`)
		writeXML(&b, d)
		b.WriteString("</NativeDicomModel>")
		if err := m.part(typeDICOMXML, ""); err != nil {
			return err
		}
		if err := m.write(b.String()); err != nil {
			return err
		}
	}
	return m.close()
}

// jsonAttribute is an attribute as our own JSON has it.
type jsonAttribute struct {
	VR     string
	Value  []json.RawMessage
	Inline string `json:"InlineBinary"`
	Bulk   string `json:"BulkDataURI"`
}

// writeXML writes the attributes of a data set in the Native DICOM Model
// (PS3.19 section A.1).
func writeXML(b *bytes.Buffer, d map[string]jsonAttribute) {
	for _, hex := range slices.Sorted(maps.Keys(d)) {
		a := d[hex]
		tag, _ := dcm.ParseTag(hex)
		fmt.Fprintf(b, `<DicomAttribute tag="%s" vr="%s"`, hex, a.VR)
		if e, ok := dcm.Lookup(tag); ok && !tag.Private() {
			fmt.Fprintf(b, ` keyword="%s"`, e.Keyword)
		}
		if c := d[tag.CreatorTag().Hex()]; tag.CreatorTag() != 0 && len(c.Value) > 0 {
			b.WriteString(` privateCreator="`)
			escapeXML(b, textOf(c.Value[0]))
			b.WriteByte('"')
		}
		b.WriteByte('>')
		switch {
		case a.Bulk != "":
			b.WriteString(`<BulkData uri="`)
			escapeXML(b, a.Bulk)
			b.WriteString(`"/>`)
		case a.Inline != "":
			b.WriteString("<InlineBinary>" + a.Inline + "</InlineBinary>")
		}
		for i, v := range a.Value {
			writeXMLValue(b, a.VR, i+1, v)
		}
		b.WriteString("</DicomAttribute>")
	}
}

func writeXMLValue(b *bytes.Buffer, vr string, n int, v json.RawMessage) {
	switch {
	case vr == "SQ":
		var item map[string]jsonAttribute
		_ = json.Unmarshal(v, &item) // ours
		fmt.Fprintf(b, `<Item number="%d">`, n)
		writeXML(b, item)
		b.WriteString("</Item>")
	case vr == "PN":
		writePersonName(b, n, v)
	default:
		fmt.Fprintf(b, `<Value number="%d">`, n)
		escapeXML(b, textOf(v))
		b.WriteString("</Value>")
	}
}

var nameParts = [...]string{"FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"}

func writePersonName(b *bytes.Buffer, n int, v json.RawMessage) {
	var groups struct{ Alphabetic, Ideographic, Phonetic string }
	_ = json.Unmarshal(v, &groups) // ours; null is an empty name
	fmt.Fprintf(b, `<PersonName number="%d">`, n)
	for _, g := range []struct{ name, value string }{{"Alphabetic", groups.Alphabetic}, {"Ideographic", groups.Ideographic}, {"Phonetic", groups.Phonetic}} {
		if g.value == "" {
			continue
		}
		b.WriteString("<" + g.name + ">")
		for i, part := range strings.SplitN(g.value, "^", len(nameParts)) {
			if part == "" {
				continue
			}
			b.WriteString("<" + nameParts[i] + ">")
			escapeXML(b, part)
			b.WriteString("</" + nameParts[i] + ">")
		}
		b.WriteString("</" + g.name + ">")
	}
	b.WriteString("</PersonName>")
}

// textOf is a JSON string, number or null as text.
func textOf(v json.RawMessage) string {
	var s string
	switch {
	case len(v) == 0 || string(v) == "null":
		return ""
	case v[0] == '"':
		_ = json.Unmarshal(v, &s) // ours
		return s
	}
	return string(v)
}

// escapeXML writes text; characters that XML does not have become U+FFFD.
func escapeXML(b *bytes.Buffer, s string) { _ = xml.EscapeText(b, []byte(s)) } // a buffer takes everything
