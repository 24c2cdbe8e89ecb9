package mapping

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// TestEveryErrorAtOnce pins that all problems come together, each at its place.
func TestEveryErrorAtOnce(t *testing.T) {
	const device = `{
  "templateType": "CollectionContentTemplate",
  "template": [
    {"templateType": "JsonPathContent", "template": {
      "typename": "hr",
      "typeMatchExpression": "$..[?(@hr",
      "deviceIdExpresion": "$.d",
      "timestampExpression": {"value": "a.b", "language": "JmesPath"},
      "values": [
        {"valueName": "hr", "valueExpression": "", "required": "yes"},
        {"valueName": "", "valueExpression": "$.x."}
      ]
    }},
    {"templateType": "CalculatedContent", "template": {
      "typeName": "x", "deviceIdExpression": 5, "typeMatchExpression": "a[", "defaultExpressionLanguage": "jmespath",
      "timestampExpression": "frob(t)"}},
    {"templateType": "CsvContent", "template": {}},
    7
  ]
}`
	_, got := ParseDevice([]byte(device), Options{})
	want := []string{
		`line 6, column 40: template[0].template.typeMatchExpression: the JSONPath expression cannot be read: the path ends with an open filter`,
	}
	var lines []string
	for _, p := range got {
		lines = append(lines, p.String())
	}
	for _, part := range append(want,
		`line 7, column 28: template[0].template.deviceIdExpresion: the template of a JsonPathContent has no member "deviceIdExpresion"; did you mean "deviceIdExpression"?`,
		`template[0].template: the required member "deviceIdExpression" is missing`,
		`JmesPath is only for CalculatedContent`,
		`template[0].template.values[0].valueExpression: the expression is empty`,
		`template[0].template.values[0].required: true or false belongs here`,
		`template[0].template.values[1].valueName: the text must not be empty`,
		`template[0].template.values[1].valueExpression: the JSONPath expression cannot be read: the path ends with a dot`,
		`template[1].template.deviceIdExpression: an expression is a string or an object with value and language, not number`,
		`template[1].template.typeMatchExpression: the JMESPath expression cannot be read: the expression ends too early`,
		`there is no function "frob"`,
		`line 17, column 22: template[2].templateType: "CsvContent" is no type of device template`,
		`line 18, column 5: template[3]: a template must be an object, not number`,
	) {
		if !strings.Contains(strings.Join(lines, "\n"), part) {
			t.Errorf("missing: %s", part)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

func TestFHIRErrors(t *testing.T) {
	const fhir = `{"templateType": "CollectionFhir", "template": [
 {"templateType": "CodeValueFhir", "template": {"typeName": "HR", "codes": [{"code": "1", "oid": "2"}], "periodInterval": 15,
  "value": {"valueName": "hr", "valueType": "Integer"}}},
 {"templateType": "CodeValueFhir", "template": {"typeName": "hr", "codes": [], "value": {"valueName": "hr", "valueType": "SampledData"}}},
 {"templateType": "CodeValueFhir", "template": {"typeName": "s", "codes": [], "periodInterval": 1440, "value": {"valueName": "s", "valueType": "SampledData", "defaultPeriod": 100}}},
 {"templateType": "CodeValueFhir", "template": {"typeName": "c", "components": [{"codes": []}, {"codes": [], "value": {"valueType": "String"}}]}},
 {"templateType": "JsonPathContent", "template": {}}
]}`
	_, got := ParseFHIR([]byte(fhir), Options{})
	text := got.Error()
	for _, part := range []string{
		`a code has no member "oid"`, `periodInterval is 0 (single)`, `the valueType is Quantity`, `Duplicate template defined for type name: "hr", first on line 2`,
		`the required member "defaultPeriod" is missing`, `has 864000 samples of 100 ms`, `template[3].template: the required member "codes" is missing`,
		`template[3].template.components[0]: the required member "value" is missing`, `the required member "valueName" is missing`, `there is CodeValueFhir`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("missing: %s\n%s", part, text)
		}
	}
	for _, tt := range []struct{ text, want string }{
		{`{"templateType": "CollectionFhir", "template": [`, "line 1, column 49: the mapping is no JSON"},
		{``, "the mapping is no JSON"},
		{`[]`, "the mapping must be an object"},
		{`{"templateType": "CollectionContent", "template": []}`, "the templateType must be CollectionFhir"},
		{`{"templateType": "CollectionFhir", "template": {}}`, "must be an array"},
		{`{"template": []}`, `the required member "templateType" is missing`},
	} {
		if _, got := ParseFHIR([]byte(tt.text), Options{}); len(got) == 0 || !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.text, got, tt.want)
		}
	}
}

func mustFHIR(t *testing.T, text string, opt Options) *FHIR {
	t.Helper()
	m, ps := ParseFHIR([]byte(text), opt)
	if m == nil {
		t.Fatal(ps)
	}
	return m
}

func at(s string) time.Time {
	v, _, ok := parseTime(s)
	if !ok {
		panic(s)
	}
	return v
}

func measurement(when, value string) Measurement {
	return Measurement{Type: "hr", Time: at(when), DeviceID: "d", PatientID: "p", Properties: []Property{{"hr", value}}}
}

const hourly = `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {"typeName": "hr", "codes": [], "periodInterval": 60,
 "category": [{"text": "new"}],
 "value": {"valueName": "hr", "valueType": "SampledData", "defaultPeriod": 600000, "unit": "/min"},
 "components": [{"codes": [], "value": {"valueName": "o2", "valueType": "Quantity"}}]}}]}`

// TestMerge pins that later data is added to the Observation that is there, in
// any order, and that the same data again changes nothing.
func TestMerge(t *testing.T) {
	m := mustFHIR(t, hourly, Options{})
	id := Identity{Patient: "p", Device: "d"}
	issued := at("2026-01-01T00:00:00Z")
	groups, _ := m.Group([]Measurement{measurement("2020-01-01T10:10:00Z", "61"), measurement("2020-01-01T10:30:00Z", "63")})
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	text, err := groups[0].Observation(id, issued)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		list    []Measurement
		data    string
		changed bool
	}{
		{[]Measurement{measurement("2020-01-01T10:30:00Z", "63")}, "E 61 E 63 E E", false},
		{[]Measurement{measurement("2020-01-01T10:20:00Z", "62"), measurement("2020-01-01T10:55:00Z", "65")}, "E 61 62 63 E 65", true},
		{[]Measurement{measurement("2020-01-01T10:39:59Z", "+64")}, "E 61 62 64 E 65", true},
		{[]Measurement{measurement("2020-01-01T10:59:59.9Z", "E"), measurement("2020-01-01T10:00:00Z", "60")}, "60 61 62 64 E E", true},
	} {
		groups, _ := m.Group(step.list)
		var doc resource.Doc
		if err := doc.Parse(text, resource.Options{}); err != nil {
			t.Fatal(err)
		}
		next, changed, err := groups[0].Merge(doc.Root(), issued)
		if err != nil || changed != step.changed {
			t.Fatalf("%s: changed %v, error %v", step.data, changed, err)
		}
		if changed {
			text = next
		}
		if !strings.Contains(string(text), `"data":"`+step.data+`"`) {
			t.Fatalf("%s\nwant %s", text, step.data)
		}
		if got := strings.Contains(string(text), `"status":"amended"`); got != (step.data != "E 61 E 63 E E") {
			t.Errorf("status of %s", text)
		}
	}
}

// TestMergeKeepsWhatOthersAdded pins notes, foreign components and the header.
func TestMergeKeepsWhatOthersAdded(t *testing.T) {
	m := mustFHIR(t, hourly, Options{})
	x := measurement("2020-01-01T10:10:00Z", "61")
	x.Properties = append(x.Properties, Property{"o2", "98.0"})
	groups, _ := m.Group([]Measurement{x})
	var doc resource.Doc
	if err := doc.Parse([]byte(`{"resourceType":"Observation","id":"x","meta":{"versionId":"3"},"status":"final","category":[{"text":"old"}],
	 "effectivePeriod":{"start":"2020-01-01T10:00:00Z","end":"2020-01-01T10:59:59.9999999Z"},"note":[{"text":"mine"}],
	 "valueSampledData":{"origin":{"value":0},"period":600000,"dimensions":1,"data":"50 E E E E E"},
	 "component":[{"code":{"text":"theirs"},"valueString":"s"}]}`), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	text, changed, err := groups[0].Merge(doc.Root(), time.Time{})
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	for _, part := range []string{`"note":[{"text":"mine"}]`, `"versionId":"3"`, `"category":[{"text":"new"}]`, `"data":"50 61 E E E E"`,
		`"component":[{"code":{"text":"theirs"},"valueString":"s"},{"code":`, `"valueQuantity":{"value":98.0}`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s\nlacks %s", text, part)
		}
	}
	if strings.Count(string(text), "valueSampledData") != 1 || strings.Count(string(text), "effective") != 1 {
		t.Errorf("%s", text)
	}
}

func TestGroups(t *testing.T) {
	quantity := func(period string, opt Options) *FHIR {
		return mustFHIR(t, `{"templateType": "CollectionFhir", "template": [{"templateType": "CodeValueFhir", "template": {"typeName": "hr", "codes": [], "periodInterval": `+
			period+`, "value": {"valueName": "hr", "valueType": "Quantity"}}}]}`, opt)
	}
	list := []Measurement{
		measurement("2020-01-01T10:10:00.5Z", "1"), measurement("2020-01-01T10:10:00Z", "2"), measurement("2020-01-01T10:10:00.500Z", "3"), measurement("2020-01-01T23:00:00Z", "4"),
	}
	for _, tt := range []struct {
		name string
		m    *FHIR
		want []string // identifier and value of each Observation
	}{
		{"single", quantity("0", Options{}), []string{
			"p.d.hr.20200101101000.5Z.20200101101000.5Z 3", "p.d.hr.20200101101000Z.20200101101000Z 2", "p.d.hr.20200101230000Z.20200101230000Z 4"}},
		{"hourly", quantity("60", Options{}), []string{"p.d.hr.20200101100000Z.20200101105959Z 3", "p.d.hr.20200101230000Z.20200101235959Z 4"}},
		{"daily", quantity("1440", Options{}), []string{"p.d.hr.20200101000000Z.20200101235959Z 4"}},
		{"documented", quantity("1440", Options{IgnorePeriod: true}), []string{
			"p.d.hr.20200101101000.5Z.20200101101000.5Z 3", "p.d.hr.20200101101000Z.20200101101000Z 2", "p.d.hr.20200101230000Z.20200101230000Z 4"}},
		{"ms", quantity("60", Options{MS: true}), []string{"InvalidQuantityFhirValue", "p.d.hr.20200101230000Z.20200101235959Z 4"}},
	} {
		groups, errs := tt.m.Group(list)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		var got []string
		for _, g := range groups {
			text, err := g.Observation(Identity{Patient: "p", Device: "d"}, time.Time{})
			if err != nil {
				got = append(got, string(err.Class))
				continue
			}
			v, _ := jsonvalue.Parse(text)
			got = append(got, v.Get("identifier").At(0).Get("value").Text()+" "+v.Get("valueQuantity").Get("value").Text())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	_, errs := quantity("-1", Options{}).Group([]Measurement{list[0], {Type: "zz"}})
	if len(errs) != 2 || errs[0].Err.Class != CorrelationIDNotDefined || errs[1].Err.Class != TemplateNotFound {
		t.Errorf("%v", errs)
	}
}

func TestDecimal(t *testing.T) {
	for in, want := range map[string]string{
		"72": "72", "0.10": "0.10", "-5.50": "-5.50", "1e3": "1e3", "+5": "5", ".5": "0.5", "5.": "5", "007": "7", "1,234.5": "1234.5", " 8 ": "8", "-.5": "-0.5",
		"": "", "-": "", ".": "", "1,23": "", "0x10": "", "NaN": "", "Infinity": "", "1 2": "", "true": "", "1e": "", "--1": "",
	} {
		got, ok := decimal(in)
		if got != want && ok || ok != (want != "") {
			t.Errorf("%q: %q, %v", in, got, ok)
		}
	}
}

func TestParseTime(t *testing.T) {
	for in, want := range map[string]string{
		"2024-01-15T14:30:00.000Z":     "2024-01-15T14:30:00.000Z",
		"2024-01-15T14:30:00Z":         "2024-01-15T14:30:00Z",
		"2024-01-15T14:30:00.25+02:00": "2024-01-15T12:30:00.25Z",
		"2024-01-15T14:30:00+0200":     "2024-01-15T12:30:00Z",
		"2019-02-01T22:46:01.8750000Z": "2019-02-01T22:46:01.8750000Z",
		"2024-01-15T14:30:00":          "2024-01-15T14:30:00Z",
		"2024-01-15 14:30:00":          "2024-01-15T14:30:00Z",
		"2024-01-15":                   "2024-01-15T00:00:00Z",
		"01/15/2024 14:30:00":          "2024-01-15T14:30:00Z",
		"20240115T143000Z":             "2024-01-15T14:30:00Z",
		"1705329000":                   "", "yesterday": "", "2024-13-01": "", "2024-02-30T00:00:00Z": "",
	} {
		got := ""
		if v, digits, ok := parseTime(in); ok {
			got = formatTime(v, digits)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestPlaces pins the order in which expressions look for values.
func TestPlaces(t *testing.T) {
	const device = `{"templateType": "CollectionContent", "template": [{"templateType": "KIND", "template": {"typeName": "hr", "typeMatchExpression": "$..[?(@v)]",
	 "deviceIdExpression": "$.d", "timestampExpression": "$.t", "patientIdExpression": "$.p", "values": [{"valueName": "v", "valueExpression": "$.v", "required": true}]}}]}`
	const message = `{"d": "outer", "t": "2020-01-01T00:00:00Z", "p": " ", "list": [{"v": 1, "d": "inner"}, {"v": 2}, {"v": "", "d": null}]}`
	for _, tt := range []struct {
		kind string
		ms   bool
		want []string
	}{
		{"JsonPathContent", false, []string{"inner 1", "outer 2", "IncompatibleData"}},
		{"CalculatedContent", false, []string{"inner 1", "outer 2", "IncompatibleData"}},
		{"jsonpathcontenttemplate", true, []string{"IncompatibleData", "IncompatibleData", "IncompatibleData"}},
	} {
		m, ps := ParseDevice([]byte(strings.Replace(device, "KIND", tt.kind, 1)), Options{MS: tt.ms})
		if m == nil {
			t.Fatal(ps)
		}
		msg, err := ParseMessage([]byte(message), Source{})
		if err != nil {
			t.Fatal(err)
		}
		ms, errs := m.Normalize(msg, nil)
		var got []string
		for _, x := range ms {
			got = append(got, x.DeviceID+" "+x.Properties[0].Value)
		}
		for _, e := range errs {
			got = append(got, string(e.Class))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.kind, diff)
		}
	}
}

func TestTrace(t *testing.T) {
	device, ps := ParseDevice([]byte(`{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {"typeName": "hr",
	 "typeMatchExpression": "$..[?(@heartRate)]", "deviceIdExpression": "$.deviceid", "timestampExpression": "$.time", "values": [{"valueName": "v", "valueExpression": "$.heartRate"}]}}]}`), Options{})
	if device == nil {
		t.Fatal(ps)
	}
	msg, err := ParseMessage([]byte(`{"heartRate": 5, "deviceId": "d", "time": "2020-01-01T00:00:00Z", "battery": {"level": 3}}`), Source{})
	if err != nil {
		t.Fatal(err)
	}
	tr := &Trace{}
	device.Normalize(msg, tr)
	unused := tr.Finish(msg)
	if diff := cmp.Diff([]string{"$.deviceId", "$.battery.level"}, unused); diff != "" {
		t.Error(diff)
	}
	x := tr.Templates[0].Expressions
	if len(x) != 4 || x[0].Path != "$" || x[1].Suggestion != "the message has $.deviceId" || x[2].Path != "$.time" || x[3].Value != "5" {
		t.Errorf("%+v", x)
	}
}

func FuzzMappings(f *testing.F) {
	f.Add([]byte(hourly), []byte(`{"v": 1}`))
	f.Add([]byte(`{"templateType": "CollectionContent", "template": [{"templateType": "CalculatedContent", "template": {"typeName": "hr", "typeMatchExpression": "$..[?(@v)]",
	 "deviceIdExpression": "$.v", "timestampExpression": {"value": "fromUnixTimestamp(matchedToken.v)", "language": "JmesPath"}}}]}`), []byte(`{"Body": {"v": 1}, "Properties": {}}`))
	f.Fuzz(func(t *testing.T, mapping, message []byte) {
		fhir, ps := ParseFHIR(mapping, Options{})
		if fhir == nil && len(ps.Fatal()) == 0 {
			t.Fatal("no mapping and no problem")
		}
		device, ps := ParseDevice(mapping, Options{})
		if device == nil {
			if len(ps.Fatal()) == 0 {
				t.Fatal("no mapping and no problem")
			}
			return
		}
		msg, err := ParseMessage(message, Source{Arrived: at("2020-01-01T00:00:00Z")})
		if err != nil {
			return
		}
		tr := &Trace{}
		device.Normalize(msg, tr)
		tr.Finish(msg)
	})
}

func BenchmarkNormalize(b *testing.B) {
	device, ps := ParseDevice([]byte(`{"templateType": "CollectionContent", "template": [{"templateType": "JsonPathContent", "template": {"typeName": "heartrate",
	 "typeMatchExpression": "$..[?(@.heartRate)]", "deviceIdExpression": "$.deviceId", "timestampExpression": "$.timestamp", "values": [{"valueName": "hr", "valueExpression": "$.heartRate"}]}}]}`), Options{})
	if device == nil {
		b.Fatal(ps)
	}
	text := []byte(`{"heartRate": 72, "deviceId": "device123", "patientId": "p1", "timestamp": "2024-01-15T14:30:00Z"}`)
	b.ReportAllocs()
	for b.Loop() {
		msg, err := ParseMessage(text, Source{})
		if err != nil {
			b.Fatal(err)
		}
		if ms, _ := device.Normalize(msg, nil); len(ms) != 1 {
			b.Fatal(len(ms))
		}
	}
}

// TestMergeInAnyOrder compares the SampledData of measurements that come in
// batches of any size and order with the one of all together.
func TestMergeInAnyOrder(t *testing.T) {
	m := mustFHIR(t, hourly, Options{})
	id := Identity{Patient: "p", Device: "d"}
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(t, "slots")
		list := make([]Measurement, rapid.IntRange(1, len(slots)).Draw(t, "n"))
		for i := range list {
			at := time.Date(2020, 1, 1, 10, 10*slots[i], rapid.IntRange(0, 599).Draw(t, "second")%60, 0, time.UTC)
			list[i] = Measurement{Type: "hr", Time: at, DeviceID: "d", PatientID: "p", Properties: []Property{{"hr", strconv.Itoa(slots[i] + 60)}}}
		}
		var text []byte
		for rest := list; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			groups, _ := m.Group(rest[:n])
			rest = rest[n:]
			if text == nil {
				text, _ = groups[0].Observation(id, time.Time{})
				continue
			}
			var doc resource.Doc
			if err := doc.Parse(text, resource.Options{}); err != nil {
				t.Fatal(err)
			}
			next, changed, err := groups[0].Merge(doc.Root(), time.Time{})
			if err != nil || !changed {
				t.Fatal(changed, err)
			}
			text = next
		}
		together, _ := m.Group(list)
		want, err := together[0].Observation(id, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := sampledText(t, text), sampledText(t, want); a != b {
			t.Fatalf("%s\nwant %s", a, b)
		}
	})
}

func sampledText(t *rapid.T, text []byte) string {
	v, err := jsonvalue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v.Get("valueSampledData").Get("data").Text()
}
