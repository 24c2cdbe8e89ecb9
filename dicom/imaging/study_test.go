package imaging

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// attrs encodes attributes in the stored form; a value that begins with [ is the
// JSON of Value.
func attrs(values map[dcm.Tag]string) (out dicom.Attributes) {
	for _, t := range slices.Sorted(maps.Keys(values)) {
		v := values[t]
		if v == "" || v[0] != '[' {
			text, _ := json.Marshal([]string{v})
			v = string(text)
		}
		object := `{"vr":"LO","Value":` + v + `}`
		out = binary.BigEndian.AppendUint32(out, uint32(t))
		out = append(binary.AppendUvarint(out, uint64(len(object))), object...)
	}
	return out
}

// TestStudyResource pins what becomes of the attributes of a study.
func TestStudyResource(t *testing.T) {
	for _, tt := range []struct {
		name  string
		study *Study
		want  string
	}{
		{"nothing but UIDs", &Study{Instances: 1, Series: []Series{{UID: "1.2.1", Count: 1, Instances: []Instance{{UID: "1.2.1.1", Class: "1.2.840.10008.5.1.4.1.1.7"}}}}},
			`{"identifier":[{"system":"urn:dicom:uid","value":"urn:oid:1.2"}],"status":"available","subject":null,"endpoint":null,"numberOfSeries":1,"numberOfInstances":1,
			"series":[{"uid":"1.2.1","modality":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]},"numberOfInstances":1,
			"instance":[{"uid":"1.2.1.1","sopClass":{"system":"urn:ietf:rfc:3986","code":"urn:oid:1.2.840.10008.5.1.4.1.1.7"}}]}]}`},
		{"everything, in order", &Study{Instances: 3,
			Attrs: attrs(map[dcm.Tag]string{
				dcm.TagStudyDate: "20240229", dcm.TagStudyTime: "101530.25", dcm.TagTimezoneOffsetFromUTC: "-0330", dcm.TagStudyDescription: " Chest\u0007 CT ",
				tagProcedureCodes: `[{"00080100":{"vr":"SH","Value":["RPID16"]},"00080102":{"vr":"SH","Value":["RADLEX"]},"00080104":{"vr":"LO","Value":["CT CHEST"]}},
					{"00080100":{"vr":"SH","Value":["X1"]},"00080102":{"vr":"SH","Value":["99LOCAL"]},"00080104":{"vr":"LO","Value":["Chest"]}},
					{"00080119":{"vr":"UC","Value":["LONG"]},"0008010C":{"vr":"UI","Value":["1.2.3"]}},{"00080100":{"vr":"SH","Value":["X2"]}},{}]`,
				dcm.TagAccessionNumber: "A 1", tagIssuerOfAccessionNumber: `[{"00400032":{"vr":"UT","Value":["1.2.3"]},"00400033":{"vr":"CS","Value":["ISO"]}}]`}),
			Series: []Series{
				{UID: "1.2.9", Count: 1, Attrs: attrs(map[dcm.Tag]string{dcm.TagModality: "SR"})},
				{UID: "1.2.2", Count: 2, Attrs: attrs(map[dcm.Tag]string{dcm.TagModality: "ct", dcm.TagSeriesNumber: "[2]", dcm.TagSeriesDescription: "thin",
					dcm.TagPerformedStepStartDate: "20240301", dcm.TagPerformedStepStartTime: "0800", dcm.TagTimezoneOffsetFromUTC: "+0100"}),
					Instances: []Instance{{"1.2.2.2", "1.3", "10"}, {"1.2.2.1", "1.3", "9"}, {"1.2.2.3", "1.3", "-1"}}},
			}},
			`{"identifier":[{"system":"urn:dicom:uid","value":"urn:oid:1.2"},{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"ACSN"}]},"system":"urn:oid:1.2.3","value":"A 1"}],
			"status":"available","modality":[{"system":"http://dicom.nema.org/resources/ontology/DCM","code":"CT"},{"system":"http://dicom.nema.org/resources/ontology/DCM","code":"SR"}],
			"subject":null,"started":"2024-02-29T10:15:30.25-03:30","endpoint":null,"numberOfSeries":2,"numberOfInstances":3,"description":"Chest  CT",
			"procedureCode":[{"coding":[{"system":"http://www.radlex.org","code":"RPID16","display":"CT CHEST"}],"text":"CT CHEST"},{"text":"Chest"},{"coding":[{"system":"urn:oid:1.2.3","code":"LONG"}]},{"text":"X2"}],
			"series":[{"uid":"1.2.2","number":2,"modality":{"system":"http://dicom.nema.org/resources/ontology/DCM","code":"CT"},"description":"thin","numberOfInstances":2,"started":"2024-03-01T08:00:00+01:00",
			"instance":[{"uid":"1.2.2.1","sopClass":{"system":"urn:ietf:rfc:3986","code":"urn:oid:1.3"},"number":9},{"uid":"1.2.2.2","sopClass":{"system":"urn:ietf:rfc:3986","code":"urn:oid:1.3"},"number":10},{"uid":"1.2.2.3","sopClass":{"system":"urn:ietf:rfc:3986","code":"urn:oid:1.3"}}]},
			{"uid":"1.2.9","modality":{"system":"http://dicom.nema.org/resources/ontology/DCM","code":"SR"},"numberOfInstances":1}]}`},
	} {
		r := tt.study.resource()
		for _, id := range tt.study.identifiers("1.2") {
			r.Identifier = append(r.Identifier, marshal(id))
		}
		compare(t, tt.name, marshal(r), tt.want)
	}
}

func compare(t *testing.T, name string, got []byte, want string) {
	t.Helper()
	a, err := tree(got)
	if err != nil {
		t.Fatal(name, err, string(got))
	}
	b, err := tree([]byte(want))
	if err != nil {
		t.Fatal(name, err)
	}
	if d := cmp.Diff(b, a); d != "" {
		t.Errorf("%s:\n%s", name, d)
	}
}

func TestStarted(t *testing.T) {
	for _, tt := range [][4]string{
		{"20240102", "", "", "2024-01-02"},
		{"20240102", "101112", "", "2024-01-02"}, // no zone: FHIR has no time without one
		{"20240102", "10", "+0100", "2024-01-02"},
		{"20240102", "1011", "+0100", "2024-01-02T10:11:00+01:00"},
		{"20240102", "101112.500000", "+0000", "2024-01-02T10:11:12.5+00:00"},
		{"20161231", "235960", "+0000", "2016-12-31T23:59:59+00:00"},
		{"20240102", "251112", "+0100", "2024-01-02"},
		{"20240102", "101112.x", "+0100", "2024-01-02T10:11:12+01:00"},
		{"20240102", "101112", "01000", "2024-01-02"},
		{"20240230", "101112", "+0100", ""},
		{"2024", "101112", "+0100", ""},
		{"", "101112", "+0100", ""},
	} {
		if got := started(tt[0], tt[1], tt[2]); got != tt[3] {
			t.Errorf("%q %q %q: %q, want %q", tt[0], tt[1], tt[2], got, tt[3])
		}
	}
}

// TestPatient pins by which identifier a Patient is found, and what one is made of.
func TestPatient(t *testing.T) {
	c := Config{Scope: "w/s", PatientSystem: "https://h/mrn", Issuers: map[string]string{"North": "https://north/mrn"}}
	entity := func(id, typ string) string {
		return `[{"00400032":{"vr":"UT","Value":["` + id + `"]},"00400033":{"vr":"CS","Value":["` + typ + `"]}}]`
	}
	for _, tt := range []struct {
		issuer, qualifiers, want string
		findable                 bool
	}{
		{"", "", `{"system":"https://h/mrn","value":"7"}`, true},
		{"North", "", `{"system":"https://north/mrn","value":"7"}`, true},
		{"South", "", `{"value":"7","assigner":{"display":"South"}}`, false},
		{"urn:oid:1.2.3", "", `{"system":"urn:oid:1.2.3","value":"7"}`, true},
		{"1.2.3", "", `{"system":"urn:oid:1.2.3","value":"7"}`, true},
		{"North", entity("1.9", "ISO"), `{"system":"urn:oid:1.9","value":"7"}`, true},
		{"North", entity("https://x/y", "URI"), `{"system":"https://x/y","value":"7"}`, true},
		{"North", entity("h.example.org", "DNS"), `{"system":"http://h.example.org","value":"7"}`, true},
		{"North", entity("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "UUID"), `{"system":"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6","value":"7"}`, true},
		{"North", entity("not a uid", "ISO"), `{"system":"https://north/mrn","value":"7"}`, true},
		{"North", entity("x", "X400"), `{"system":"https://north/mrn","value":"7"}`, true},
	} {
		values := map[dcm.Tag]string{dcm.TagPatientID: "7"}
		if tt.issuer != "" {
			values[tagIssuerOfPatientID] = tt.issuer
		}
		if tt.qualifiers != "" {
			values[tagIssuerOfPatientIDQualifiers] = tt.qualifiers
		}
		id := c.patientIdentifier(&Study{Attrs: attrs(values)})
		compare(t, tt.issuer, marshal(id), tt.want)
		if id.findable() != tt.findable {
			t.Errorf("%q: findable %v", tt.issuer, !tt.findable)
		}
	}
	if id := c.patientIdentifier(&Study{Attrs: attrs(map[dcm.Tag]string{dcm.TagPatientID: " "})}); id != nil {
		t.Errorf("%+v", id)
	}
	s := &Study{Attrs: attrs(map[dcm.Tag]string{
		dcm.TagPatientID: "7", dcm.TagPatientName: `[{"Alphabetic":"Yamada^Tarou^J^Dr^Jr","Ideographic":"山田^太郎"}]`, dcm.TagPatientBirthDate: "19700101", dcm.TagPatientSex: "o",
	})}
	p := c.newPatient(s, c.patientIdentifier(s))
	compare(t, "patient", marshal(p), `{"resourceType":"Patient","id":"`+p.ID+`","identifier":[{"system":"https://h/mrn","value":"7"}],
		"name":[{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation","valueCode":"ABC"}],"family":"Yamada","given":["Tarou","J"],"prefix":["Dr"],"suffix":["Jr"]},
		{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation","valueCode":"IDE"}],"family":"山田","given":["太郎"]}],"gender":"other","birthDate":"1970-01-01"}`)
	for _, tt := range [][3]string{{`[{"Alphabetic":"^^^"}]`, "", ""}, {"Plain", "X", "19701301"}} {
		p := c.newPatient(&Study{Attrs: attrs(map[dcm.Tag]string{dcm.TagPatientName: tt[0], dcm.TagPatientSex: tt[1], dcm.TagPatientBirthDate: tt[2]})}, &identifier{Value: "7"})
		if len(p.Name) > 0 || p.BirthDate != "" || (p.Gender == "unknown") != (tt[1] != "") {
			t.Errorf("%+v", p)
		}
	}
}

// TestMerge pins what stays of a resource that others have written.
func TestMerge(t *testing.T) {
	old := `{"resourceType":"ImagingStudy","id":"x","meta":{"versionId":"3","lastUpdated":"2024-01-01T00:00:00Z","tag":[{"code":"t"}]},
		"identifier":[{"system":"urn:dicom:uid","value":"urn:oid:9"},{"system":"https://ris","value":"5"},{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"ACSN"}]},"value":"old"}],
		"status":"registered","subject":{"display":"gone"},"_started":{"id":"a"},"note":[{"text":"kept"}],"procedureCode":[{"text":"theirs"}],"endpoint":[{"reference":"Endpoint/mine"},{"reference":"Endpoint/other"}],"series":[{"uid":"1"}]}`
	var doc resource.Doc
	if err := doc.Parse([]byte(old), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	r := (&Study{Instances: 1}).resource()
	r.Subject = marshal(noSubject)
	r.Identifier = foreign(&doc, "identifier", oursIdentifier)
	r.Endpoint = foreign(&doc, "endpoint", func(n resource.Node) bool { return points(n, "Endpoint", "mine") })
	text, err := r.merge("x", &doc)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "merged", text, `{"resourceType":"ImagingStudy","id":"x","meta":{"tag":[{"code":"t"}]},"identifier":[{"system":"https://ris","value":"5"}],"status":"available",
		"subject":{"type":"Patient","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]},
		"note":[{"text":"kept"}],"procedureCode":[{"text":"theirs"}],"endpoint":[{"reference":"Endpoint/other"}],"numberOfSeries":0,"numberOfInstances":1}`)
	if !same(text, text) || same(text, []byte(old)) {
		t.Error("same")
	}
}
