package dcm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">`

var xmlSets = []struct{ name, xml, want string }{
	{"nothing", ``, `{}`},
	{"values with gaps", `<DicomAttribute tag="00080008" vr="CS" keyword="ImageType"><Value number="1">A</Value><Value number="3">C</Value></DicomAttribute>`,
		`{"00080008":{"vr":"CS","Value":["A",null,"C"]}}`},
	{"an empty attribute and an empty value", `<DicomAttribute tag="00080050" vr="SH"/><DicomAttribute tag="00081030" vr="LO"><Value number="1"/></DicomAttribute>`,
		`{"00080050":{"vr":"SH"},"00081030":{"vr":"LO","Value":[null]}}`},
	{"space that counts", `<DicomAttribute tag="00081030" vr="LO"><Value> a&amp;"b" </Value></DicomAttribute>`, `{"00081030":{"vr":"LO","Value":[" a&\"b\" "]}}`},
	{"a name", `<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName><NameSuffix>Jr</NameSuffix></Alphabetic><Ideographic><FamilyName>山田</FamilyName></Ideographic></PersonName></DicomAttribute>`,
		`{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou^^^Jr","Ideographic":"山田"}]}}`},
	{"a sequence", `<DicomAttribute tag="00081140" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2</Value></DicomAttribute></Item><Item number="2"/></DicomAttribute>`,
		`{"00081140":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}},{}]}}`},
	{"binary", `<DicomAttribute tag="00282000" vr="OB"><InlineBinary>QU
		JD</InlineBinary></DicomAttribute><DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="a?b"/></DicomAttribute>`,
		`{"00282000":{"vr":"OB","InlineBinary":"QUJD"},"7FE00010":{"vr":"OW","BulkDataURI":"a?b"}}`},
	{"private tags without a block", `<DicomAttribute tag="00090002" vr="LO" privateCreator="B"><Value>x</Value></DicomAttribute><DicomAttribute tag="00090010" vr="LO"><Value number="1">A</Value></DicomAttribute><DicomAttribute tag="00090001" vr="LO" privateCreator="A"/>`,
		`{"00091102":{"vr":"LO","Value":["x"]},"00090010":{"vr":"LO","Value":["A"]},"00091001":{"vr":"LO"},"00090011":{"vr":"LO","Value":["B"]}}`},
}

func TestXMLToJSON(t *testing.T) {
	for _, tt := range xmlSets {
		got, err := dcm.XMLToJSON([]byte(xmlHead + tt.xml + "</NativeDicomModel>"))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", tt.name, err, got, tt.want)
		}
	}
	for _, tt := range []struct{ name, xml, want string }{
		{"no XML", `{"a":1}`, "ends too early"},
		{"another root", `<a/>`, `"a", not NativeDicomModel`},
		{"cut off", xmlHead + `<DicomAttribute tag="00100010" vr="PN">`, "line 1"},
		{"two roots", xmlHead + `</NativeDicomModel><b/>`, "after NativeDicomModel"},
		{"no tag", xmlHead + `<DicomAttribute vr="PN"/></NativeDicomModel>`, "not GGGGEEEE"},
		{"no vr", xmlHead + `<DicomAttribute tag="00100020"/></NativeDicomModel>`, "00100020: the vr"},
		{"text between", xmlHead + `Doe</NativeDicomModel>`, "text where elements"},
		{"a value of a sequence", xmlHead + `<DicomAttribute tag="00081140" vr="SQ"><Value>Doe</Value></DicomAttribute></NativeDicomModel>`, "00081140: the element Value does not go with VR"},
		{"numbers that fall", xmlHead + `<DicomAttribute tag="00080008" vr="CS"><Value number="2">Doe</Value><Value number="1"/></DicomAttribute></NativeDicomModel>`, "count from 1"},
		{"a number too many", xmlHead + `<DicomAttribute tag="00080008" vr="CS"><Value number="99999999">Doe</Value></DicomAttribute></NativeDicomModel>`, "count from 1"},
		{"a missing item", xmlHead + `<DicomAttribute tag="00081140" vr="SQ"><Item number="2"/></DicomAttribute></NativeDicomModel>`, "an item is missing"},
		{"another character set", `<?xml version="1.0" encoding="latin1"?><NativeDicomModel/>`, "UTF-8"},
		{"an entity", `<!DOCTYPE x [<!ENTITY e "Doe">]>` + xmlHead[38:] + `<DicomAttribute tag="00080008" vr="CS"><Value>&e;</Value></DicomAttribute></NativeDicomModel>`, "not well-formed"},
		{"too deep", xmlHead + strings.Repeat(`<DicomAttribute tag="00081140" vr="SQ"><Item>`, 100), "nested more than 64"},
	} {
		_, err := dcm.XMLToJSON([]byte(tt.xml))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "Doe") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzXMLToJSON: what is taken is JSON whose only possible faults are those of values.
func FuzzXMLToJSON(f *testing.F) {
	for _, tt := range xmlSets {
		f.Add([]byte(xmlHead + tt.xml + "</NativeDicomModel>"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := dcm.XMLToJSON(text)
		if err != nil {
			return
		}
		_, err = dcm.ParseJSONBulk(got, func(*dcm.Element, string, string) error { return nil })
		if err != nil && strings.Contains(err.Error(), "not a JSON object") {
			t.Errorf("%v\n%s", err, got)
		}
	})
}

// TestXMLGaps takes short numbers of values: what is left out takes no more than
// the text does.
func TestXMLGaps(t *testing.T) {
	one := `<DicomAttribute tag="00081030" vr="LO"><Value number="%d">x</Value></DicomAttribute>`
	text := func(number, n int) []byte {
		return []byte("<NativeDicomModel>" + strings.Repeat(fmt.Sprintf(one, number), n) + "</NativeDicomModel>")
	}
	if out, err := dcm.XMLToJSON(text(3, 1)); err != nil || string(out) != `{"00081030":{"vr":"LO","Value":[null,null,"x"]}}` {
		t.Error(string(out), err)
	}
	for _, c := range []struct{ number, n int }{{1 << 20, 1}, {1 << 20, 20}, {200, 1}, {100, 50}, {1 << 62, 1}} {
		if out, err := dcm.XMLToJSON(text(c.number, c.n)); err == nil {
			t.Errorf("%d values %d times: %d bytes of XML became %d of JSON", c.number, c.n, len(text(c.number, c.n)), len(out))
		}
	}
}
