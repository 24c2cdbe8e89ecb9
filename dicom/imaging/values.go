package imaging

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// attribute is an attribute of the DICOM JSON model, as far as it is read here.
type attribute struct {
	Value []json.RawMessage
}

func valuesOf(object []byte) []json.RawMessage {
	var a attribute
	if object == nil || json.Unmarshal(object, &a) != nil {
		return nil
	}
	return a.Value
}

// text returns the first value of a text attribute, fit for a FHIR string.
func text(a dicom.Attributes, t dcm.Tag) string { return textOf(a.Get(t)) }

func textOf(object []byte) string {
	list := valuesOf(object)
	var s string
	if len(list) == 0 || json.Unmarshal(list[0], &s) != nil {
		return ""
	}
	return clean(s)
}

// clean takes out what a FHIR string may not have (R4 section 2.24.0.1).
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}

// number returns the first value of a numeric attribute that is an unsignedInt.
func number(a dicom.Attributes, t dcm.Tag) *int64 {
	list := valuesOf(a.Get(t))
	if len(list) == 0 {
		return nil
	}
	return unsigned(strings.Trim(string(list[0]), `"`))
}

func unsigned(s string) *int64 {
	var n json.Number = json.Number(strings.TrimPrefix(strings.TrimSpace(s), "+"))
	v, err := n.Int64()
	if err != nil || v < 0 || v > 1<<31-1 {
		return nil
	}
	return &v
}

// code returns a value as FHIR code: no spaces but single ones between words.
func code(s string) string { return strings.Join(strings.Fields(s), " ") }

// items returns the members of the first item of a sequence.
func firstItem(object []byte) map[string]json.RawMessage {
	list := valuesOf(object)
	var m map[string]json.RawMessage
	if len(list) == 0 || json.Unmarshal(list[0], &m) != nil {
		return nil
	}
	return m
}

// Tags of issuers (PS3.3 section 10.14, PS3.3 table 10-17).
const (
	tagIssuerOfPatientID           dcm.Tag = 0x00100021
	tagIssuerOfPatientIDQualifiers dcm.Tag = 0x00100024
	tagIssuerOfAccessionNumber     dcm.Tag = 0x00080051
	universalEntityID                      = "00400032"
	universalEntityIDType                  = "00400033"
)

// entitySystem returns the URI of the universal entity of an issuer; "" when it
// has none that is one.
func entitySystem(item map[string]json.RawMessage) string {
	id := textOf(item[universalEntityID])
	if id == "" {
		return ""
	}
	switch textOf(item[universalEntityIDType]) {
	case "ISO":
		if dcm.CheckUID(id) {
			return "urn:oid:" + id
		}
	case "UUID":
		return "urn:uuid:" + strings.ToLower(strings.TrimPrefix(id, "urn:uuid:"))
	case "URI":
		return uri(id)
	case "DNS":
		return uri("http://" + id)
	}
	return ""
}

// Tags of codes (PS3.3 section 8).
const (
	tagProcedureCodes dcm.Tag = 0x00081032
	codeValue                 = "00080100"
	codeScheme                = "00080102"
	codeMeaning               = "00080104"
	codeSchemeUID             = "0008010C"
	longCodeValue             = "00080119"
)

// schemes are the systems of coding schemes (PS3.16 section 8; R4 section 4.3).
var schemes = map[string]string{
	"DCM": systemDCM, "SCT": "http://snomed.info/sct", "SRT": "http://snomed.info/srt", "99SDM": "http://snomed.info/srt", "LN": "http://loinc.org",
	"RADLEX": "http://www.radlex.org", "UCUM": "http://unitsofmeasure.org", "C4": "http://www.ama-assn.org/go/cpt", "I10": "http://hl7.org/fhir/sid/icd-10",
	"I10P": "http://www.cms.gov/Medicare/Coding/ICD10", "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
}

// codes reads a sequence of codes. A code whose scheme has no system is there with
// its meaning as the text, but says of no system to be one of it.
func codes(object []byte) (list []concept) {
	for _, raw := range valuesOf(object) {
		var item map[string]json.RawMessage
		if json.Unmarshal(raw, &item) != nil {
			continue
		}
		value := code(textOf(item[codeValue]))
		if value == "" {
			value = code(textOf(item[longCodeValue]))
		}
		c := concept{Text: textOf(item[codeMeaning])}
		system := schemes[textOf(item[codeScheme])]
		if uid := textOf(item[codeSchemeUID]); system == "" && dcm.CheckUID(uid) {
			system = "urn:oid:" + uid
		}
		if value != "" && system != "" {
			c.Coding = []coding{{System: system, Code: value, Display: c.Text}}
		} else if value != "" && c.Text == "" {
			c.Text = value
		}
		if c.Coding != nil || c.Text != "" {
			list = append(list, c)
		}
	}
	return list
}

// uri returns a value that can stand as the system of an identifier, or "".
func uri(s string) string {
	if strings.ContainsFunc(s, unicode.IsSpace) || !strings.Contains(s, ":") {
		return ""
	}
	return s
}

// date returns a DA as a FHIR date, or "".
func date(s string) string {
	t, err := time.Parse("20060102", s)
	if err != nil {
		return ""
	}
	return t.Format(time.DateOnly)
}

// started returns a DA and a TM as a dateTime. FHIR wants a zone where there is a
// time (R4 section 2.24.0.1), so that without one the day is all that is said.
func started(day, clock, zone string) string {
	d := date(day)
	if d == "" || len(clock) < 4 || len(zone) != 5 {
		return d
	}
	z, err := time.Parse("-0700", zone)
	if err != nil {
		return d
	}
	whole, fraction, _ := strings.Cut(clock, ".")
	if len(whole) == 4 {
		whole += "00"
	}
	if strings.HasSuffix(whole, "60") {
		whole = whole[:4] + "59" // a leap second, which a dateTime may not have
	}
	t, err := time.Parse("150405", whole)
	if err != nil {
		return d
	}
	if fraction = strings.TrimRight(fraction, "0"); fraction != "" && len(fraction) <= 6 && strings.Trim(fraction, "0123456789") == "" {
		fraction = "." + fraction
	} else {
		fraction = ""
	}
	return d + "T" + t.Format(time.TimeOnly) + fraction + z.Format("-07:00")
}
