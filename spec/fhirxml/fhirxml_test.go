package fhirxml_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/fhirxml"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
)

func parse(t testing.TB, s []byte) resource.Node {
	t.Helper()
	d := new(resource.Doc)
	if err := d.Parse(s, resource.Options{}); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d.Root()
}

func toXML(t testing.TB, s []byte, pretty bool) []byte {
	t.Helper()
	out, err := fhirxml.Append([]byte("x"), parse(t, s), pretty)
	if err != nil {
		t.Fatalf("%.2000s: %v", s, err)
	}
	return out[1:]
}

func toJSON(t testing.TB, s []byte) []byte {
	t.Helper()
	out, err := fhirxml.AppendJSON([]byte("x"), s, resource.Options{})
	if err != nil {
		t.Fatalf("%.2000s: %v", s, err)
	}
	parse(t, out[1:])
	return out[1:]
}

// values decodes JSON so that numbers keep their digits.
func values(t testing.TB, s []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

// TestExamples takes resources to XML and back. With R4_EXAMPLES the folder of
// the official examples is read, too.
func TestExamples(t *testing.T) {
	names, _ := filepath.Glob("../resource/testdata/*.json")
	if dir := os.Getenv("R4_EXAMPLES"); dir != "" {
		more, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		names = append(names, more...)
	}
	if len(names) < 5 {
		t.Fatalf("%d files", len(names))
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, pretty := range []bool{false, true} {
			text := toXML(t, src, pretty)
			back := toJSON(t, text)
			if d := cmp.Diff(values(t, src), values(t, back), cmp.Transformer("narrative", narrative)); d != "" {
				t.Errorf("%s: %s", name, d)
			}
			if again := toXML(t, back, pretty); !bytes.Equal(again, text) {
				t.Errorf("%s: the second XML is another one", name)
			}
		}
	}
}

// narrative makes the texts equal that are the same narrative: XML has one way
// to end a line.
func narrative(s string) string {
	if !strings.HasPrefix(strings.TrimSpace(s), "<div") {
		return s
	}
	return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
}

func TestBothWays(t *testing.T) {
	const head = `<?xml version="1.0" encoding="UTF-8"?>`
	tests := []struct{ name, json, xml string }{
		{"Primitives", `{"resourceType":"Patient","id":"p","active":true,"gender":"male","multipleBirthInteger":-2}`,
			`<Patient xmlns="http://hl7.org/fhir"><id value="p"/><active value="true"/><gender value="male"/><multipleBirthInteger value="-2"/></Patient>`},
		{"Decimal", `{"resourceType":"Observation","valueQuantity":{"value":0.10}}`,
			`<Observation xmlns="http://hl7.org/fhir"><valueQuantity><value value="0.10"/></valueQuantity></Observation>`},
		{"Escapes", `{"resourceType":"Basic","language":"a\n\t\"<&>'é𝄞"}`,
			`<Basic xmlns="http://hl7.org/fhir"><language value="a&#xA;&#x9;&quot;&lt;&amp;&gt;'é𝄞"/></Basic>`},
		{"Lists", `{"resourceType":"Patient","name":[{"given":["a","b"]},{"given":["c"]}]}`,
			`<Patient xmlns="http://hl7.org/fhir"><name><given value="a"/><given value="b"/></name><name><given value="c"/></name></Patient>`},
		{"PrimitiveExtensions", `{"resourceType":"Patient","name":[{"given":["a",null,"c"],"_given":[null,{"id":"x","extension":[{"url":"u","valueCode":"v"}]},{"id":"y"}]}],"_birthDate":{"extension":[{"url":"u","valueDate":"2000"}]}}`,
			`<Patient xmlns="http://hl7.org/fhir"><name><given value="a"/><given id="x"><extension url="u"><valueCode value="v"/></extension></given><given value="c" id="y"/></name><birthDate><extension url="u"><valueDate value="2000"/></extension></birthDate></Patient>`},
		{"Ids", `{"resourceType":"Patient","contact":[{"id":"c","name":{"id":"n","family":"F"}}]}`,
			`<Patient xmlns="http://hl7.org/fhir"><contact id="c"><name id="n"><family value="F"/></name></contact></Patient>`},
		{"ExtensionID", `{"resourceType":"Basic","extension":[{"id":"e","url":"u","valueString":"s"}]}`,
			`<Basic xmlns="http://hl7.org/fhir"><extension id="e" url="u"><valueString value="s"/></extension></Basic>`},
		{"Narrative", `{"resourceType":"Basic","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"> a&amp;<b class=\"x\">b</b><br/>\n&#160;<!-- &c; --></div>"}}`,
			`<Basic xmlns="http://hl7.org/fhir"><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"> a&amp;<b class="x">b</b><br/>` + "\n" + `&#160;<!-- &c; --></div></text></Basic>`},
		{"Contained", `{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"O"},{"resourceType":"Basic","id":"b"}]}`,
			`<Patient xmlns="http://hl7.org/fhir"><contained><Organization><id value="o"/><name value="O"/></Organization></contained><contained><Basic><id value="b"/></Basic></contained></Patient>`},
		{"Bundle", `{"resourceType":"Bundle","type":"searchset","total":1,"entry":[{"fullUrl":"urn:x","resource":{"resourceType":"Basic","id":"b"},"search":{"mode":"match"}}]}`,
			`<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/><total value="1"/><entry><fullUrl value="urn:x"/><resource><Basic><id value="b"/></Basic></resource><search><mode value="match"/></search></entry></Bundle>`},
		{"ElementNamedResourceType", `{"resourceType":"ExampleScenario","instance":[{"resourceId":"r","resourceType":"Patient"}]}`,
			`<ExampleScenario xmlns="http://hl7.org/fhir"><instance><resourceId value="r"/><resourceType value="Patient"/></instance></ExampleScenario>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(toXML(t, []byte(tt.json), false)); got != head+tt.xml {
				t.Errorf("XML\ngot  %s\nwant %s", got, head+tt.xml)
			}
			if got := string(toJSON(t, []byte(tt.xml))); got != tt.json {
				t.Errorf("JSON\ngot  %s\nwant %s", got, tt.json)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"DefinitionOrder", `{"birthDate":"2000","_birthDate":{"id":"x"},"name":[{"given":["a"],"family":"F","use":"usual"}],"id":"p","resourceType":"Patient","meta":{"versionId":"1"}}`,
			`<Patient xmlns="http://hl7.org/fhir"><id value="p"/><meta><versionId value="1"/></meta><name><use value="usual"/><family value="F"/><given value="a"/></name><birthDate value="2000" id="x"/></Patient>`},
		{"NarrativeWithoutNamespace", `{"resourceType":"Basic","text":{"status":"empty","div":" <div class=\"c\">a&nbsp;&eacute;&lt;</div> "}}`,
			`<Basic xmlns="http://hl7.org/fhir"><text><status value="empty"/><div xmlns="http://www.w3.org/1999/xhtml" class="c">a&#160;&#233;&lt;</div></text></Basic>`},
		{"NarrativeAttributes", `{"resourceType":"Basic","text":{"div":"<div title='a>xmlns=' lang=\"x\">a</div>"}}`,
			`<Basic xmlns="http://hl7.org/fhir"><text><div xmlns="http://www.w3.org/1999/xhtml" title='a>xmlns=' lang="x">a</div></text></Basic>`},
		{"NarrativeNamespaceLast", `{"resourceType":"Basic","text":{"div":"<div title='a>'\n xmlns = \"http://www.w3.org/1999/xhtml\" >a</div>"}}`,
			`<Basic xmlns="http://hl7.org/fhir"><text><div title='a>'` + "\n" + ` xmlns = "http://www.w3.org/1999/xhtml" >a</div></text></Basic>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(toXML(t, []byte(tt.json), false)); !strings.HasSuffix(got, "?>"+tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	pretty := `<?xml version="1.0" encoding="UTF-8"?>
<Patient xmlns="http://hl7.org/fhir">
  <contained>
    <Basic>
      <id value="b"/>
    </Basic>
  </contained>
  <name>
    <family value="F"/>
  </name>
</Patient>
`
	if got := string(toXML(t, []byte(`{"resourceType":"Patient","name":[{"family":"F"}],"contained":[{"resourceType":"Basic","id":"b"}]}`), true)); got != pretty {
		t.Errorf("got %s", got)
	}
}

func TestWriteErrors(t *testing.T) {
	tests := []struct{ json, want string }{
		{`{}`, "only a resource of FHIR R4 has an XML form"},
		{`[1]`, "only a resource"},
		{`{"resourceType":"Foo"}`, "only a resource"},
		{`{"resourceType":"Patient","nick":"x"}`, "Patient.nick: Patient has no such element"},
		{`{"resourceType":"Patient","active":{}}`, "Patient.active: expected a primitive value"},
		{`{"resourceType":"Patient","name":["x"]}`, "Patient.name[0]: expected an object"},
		{`{"resourceType":"Patient","name":[{"given":["x"],"_given":{}}]}`, "must both be arrays"},
		{`{"resourceType":"Patient","contained":[{"resourceType":"Foo"}]}`, "Patient.contained[0]: only a resource"},
		{`{"resourceType":"Patient","language":"\u0001"}`, "Patient.language: the value has a character that XML cannot hold"},
		{`{"resourceType":"Patient","language":"\uffff"}`, "a character that XML cannot hold"},
		{`{"resourceType":"Patient","text":{"div":"<p/>"}}`, "must be one <div> element"},
		{`{"resourceType":"Patient","text":{"div":"<div>&foo;</div>"}}`, "an entity or a character"},
		{`{"resourceType":"Patient","text":{"div":"<div>\u0001</div>"}}`, "an entity or a character"},
	}
	for _, tt := range tests {
		out, err := fhirxml.Append([]byte("x"), parse(t, []byte(tt.json)), false)
		we, ok := errors.AsType[*fhirxml.WriteError](err)
		if !ok || !strings.Contains(we.Error(), tt.want) || string(out) != "x" {
			t.Errorf("%s: got %q %v, want %s", tt.json, out, err, tt.want)
		}
	}
}

func TestReadLenient(t *testing.T) {
	const want = `{"resourceType":"Patient","active":true,"name":[{"family":"F"},{"family":"G"}],"birthDate":"2000"}`
	for _, src := range []string{
		"\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- c --><Patient xmlns=\"http://hl7.org/fhir\">\n <!-- c -->\n <?pi x?><active value=\"true\"/><name><family value=\"F\"/></name><name><family value=\"G\"></family></name><birthDate value='2000'/></Patient>\n",
		`<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://hl7.org/fhir x.xsd"><f:active value="true"/><f:name><f:family value="F"/></f:name><f:name><f:family value="G"/></f:name><f:birthDate value="2000"/></f:Patient>`,
		// Another order of different elements has no other meaning.
		`<Patient xmlns="http://hl7.org/fhir"><active value="true"/><name><family value="F"/></name><birthDate value="2000"/><name><family value="G"/></name></Patient>`,
	} {
		if got := string(toJSON(t, []byte(src))); got != want && got != strings.Replace(want, "x", "x", 1) {
			t.Errorf("got %s", got)
		}
	}
}

func TestReadErrors(t *testing.T) {
	in := func(s string) string { return `<Patient xmlns="http://hl7.org/fhir">` + s + `</Patient>` }
	deep := strings.Repeat(`<extension url="u">`, 101)
	tests := []struct{ name, xml, path, want string }{
		{"Empty", ` `, "", "the text is empty"},
		{"JSON", `{"resourceType":"Patient"}`, "", "the text is not XML"},
		{"NotClosed", `<Patient xmlns="http://hl7.org/fhir"><active value="true"/>`, "Patient", "not well-formed XML"},
		{"WrongEnd", in(`<name></nam>`), "Patient.name[0]", "not well-formed XML"},
		{"Two", in("") + in(""), "Patient", "something follows the resource"},
		{"NoNamespace", `<Patient><active value="true"/></Patient>`, "", "not in the namespace http://hl7.org/fhir"},
		{"UnknownType", `<Foo xmlns="http://hl7.org/fhir"/>`, "", `"Foo" is not a resource type`},
		{"DataType", `<HumanName xmlns="http://hl7.org/fhir"/>`, "", "is not a resource type"},
		{"Abstract", `<DomainResource xmlns="http://hl7.org/fhir"/>`, "", "is not a resource type"},
		{"Attribute", `<Patient xmlns="http://hl7.org/fhir" id="x"/>`, "Patient", `cannot have the attribute "id"`},
		{"UnknownElement", in(`<name><nick value="x"/></name>`), "Patient.name[0]", `HumanName has no element "nick"`},
		{"SecondItem", in(`<name><family value="a"/></name><name><given value="a"/><given valu="x"/></name>`), "Patient.name[1].given[1]", `has no attribute "valu"`},
		{"OtherNamespace", in(`<active xmlns="urn:x" value="true"/>`), "Patient.active", "is not in the namespace"},
		{"Text", in(`<active>true</active>`), "Patient.active", "text between elements"},
		{"Boolean", in(`<active value="1"/>`), "Patient.active", `"1" is no boolean`},
		{"Number", in(`<multipleBirthInteger value="+1"/>`), "Patient.multipleBirthInteger", `"+1" is no integer`},
		{"NoValue", in(`<active/>`), "Patient.active", "needs a value or an extension"},
		{"ValueTwice", in(`<active value="true" value="false"/>`), "Patient", "there twice"},
		{"IDTwice", in(`<name id="a" id="b"/>`), "Patient", "there twice"},
		{"IDAsElement", in(`<name><id value="a"/></name>`), "Patient.name[0]", "is an attribute, not an element"},
		{"URLAsElement", in(`<extension><url value="a"/></extension>`), "Patient.extension[0]", "is an attribute"},
		{"ValueOfObject", in(`<name value="a"/>`), "Patient.name[0]", `HumanName has no attribute "value"`},
		{"ChildOfPrimitive", in(`<active value="true"><x/></active>`), "Patient.active", `Element has no element "x"`},
		{"DivNamespace", in(`<text><status value="empty"/><div>x</div></text>`), "Patient.text.div", "not in the namespace http://www.w3.org/1999/xhtml"},
		{"DivPrefix", in(`<text><h:div xmlns:h="http://www.w3.org/1999/xhtml">x</h:div></text>`), "Patient.text.div", "without a prefix"},
		{"DivOther", in(`<text><div xmlns="http://www.w3.org/1999/xhtml"><x xmlns="urn:x"/></div></text>`), "Patient.text.div", "of a narrative is not in the namespace"},
		{"DivEntity", in(`<text><div xmlns="http://www.w3.org/1999/xhtml">&nbsp;</div></text>`), "Patient.text.div", "not well-formed XML"},
		{"NoResource", in(`<contained/>`), "Patient.contained[0]", "a resource is missing"},
		{"TwoResources", in(`<contained><Basic/><Basic/></contained>`), "Patient.contained[0]", "only one resource"},
		{"ResourceAttribute", in(`<contained id="x"><Basic/></contained>`), "Patient.contained[0]", "has no attribute"},
		{"Doctype", `<!DOCTYPE x [<!ENTITY a "b">]>` + in(""), "", "a document type declaration is not allowed"},
		{"Entity", in(`<active value="&a;"/>`), "Patient", "not well-formed XML"},
		{"Charset", `<?xml version="1.0" encoding="ISO-8859-1"?>` + in(""), "", "must be UTF-8"},
		{"NotUTF8", in("<language value=\"\xff\"/>"), "", "the text is not UTF-8"},
		{"Deep", in(deep), "Patient" + strings.Repeat(".extension[0]", 100), "nested too deeply"},
		{"DeepNarrative", in(`<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">` + strings.Repeat("<b>", 1000)), "Patient.text.div", "nested too deeply"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := fhirxml.AppendJSON([]byte("x"), []byte(tt.xml), resource.Options{})
			se, ok := errors.AsType[*resource.SyntaxError](err)
			if !ok {
				t.Fatalf("got %s %v, want %s", out, err, tt.want)
			}
			if !strings.Contains(se.Msg, tt.want) || se.Path != tt.path || se.Code == "" || string(out) != "x" {
				t.Errorf("got %q at %q, want %q at %q (%s)", se.Msg, se.Path, tt.want, tt.path, out)
			}
		})
	}
	_, err := fhirxml.AppendJSON(nil, []byte(in(`<name/><name/>`)), resource.Options{MaxNodes: 2})
	if se, _ := errors.AsType[*resource.SyntaxError](err); se == nil || se.Code != "too-costly" {
		t.Error(err)
	}
}

// TestWellFormed covers what the scanner must refuse, and what it must not.
func TestWellFormed(t *testing.T) {
	in := func(s string) string { return `<Basic xmlns="http://hl7.org/fhir">` + s + `</Basic>` }
	div := func(s string) string {
		return in(`<text><status value="empty"/><div xmlns="http://www.w3.org/1999/xhtml">` + s + `</div></text>`)
	}
	for _, src := range []string{
		in(`<language value="&#x41;&#65;&lt;&gt;&amp;&quot;&apos;"/>`),
		in("<language\tvalue\n=\r'a\"b'  />"),
		in(`<!----><!-- - -><a --><?php echo 1 > 2 ?>`),
		"<?xml version='1.0' encoding='utf-8' standalone = \"yes\" ?>\n" + in(""),
		div(`<é:b xmlns:é="http://www.w3.org/1999/xhtml" xml:lang="de">&#xe9;<![CDATA[<&]] >]]></é:b>]]&gt;`),
		div(`<a b="1" c="2"/><a b='&lt;"'/>`),
	} {
		if _, err := fhirxml.AppendJSON(nil, []byte(src), resource.Options{}); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
	for _, src := range []string{
		in(`<language value="&nbsp;"/>`), in(`<language value="&#0;"/>`), in(`<language value="&#xD800;"/>`), in(`<language value="&#x110000;"/>`),
		in(`<language value="&#;"/>`), in(`<language value="& "/>`), in(`<language value="<"/>`), in(`<language value=a/>`),
		in(`<language value/>`), in(`<language value="a"id="b"/>`), in(`<language value="a/>`), in(`< language value="a"/>`),
		in(`<language value="a" value="b"/>`), in(`<language p:value="a"/>`), in(`<p:language value="a"/>`), in(`<a:b:c/>`),
		in(`<-x/>`), in(`<!-- -- -->`), in(`<!-- --->`), in(`<!-- `), in(`<?xml version="1.0"?>`), in(`<?x`), in(`<??>`), in(`<!ELEMENT x>`),
		in("<language value=\"\x01\"/>"), in("<language value=\"\uffff\"/>"),
		div(`&`), div(`&x`), div(`]]>`), div(`<![CDATA[`), div(`<b></i>`), div(`<b>`), div(`</b>`), div(`<a x="1" x="2"/>`), div(`<a xmlns:x="u" xmlns:y="u" x:b="" y:b=""/>`),
		div(`<a xmlns:x=""/>`), div(`<a xmlns:xml="u"/>`), div(`<a xmlns:x="u" xmlns:x="v"/>`),
		`<?xml version="1.1"?>` + in(""), `<?xml encoding="utf-8"?>` + in(""), `<?xml version="1.0" encoding="utf-16"?>` + in(""), ` <?xml version="1.0"?>` + in(""), `<?xml?>` + in(""), `<?xml version="1.0?>` + in(""),
		in("") + "x", in("") + "</Basic>", "<![CDATA[x]]>" + in(""), `<Basic xmlns="http://hl7.org/fhir"`, `<`, `<Basic xmlns="http://hl7.org/fhir">` + strings.Repeat(" ", 5),
		`<Basic xmlns="http://hl7.org/fhir"` + strings.Repeat(` a="1"`, 100) + `/>`,
	} {
		if out, err := fhirxml.AppendJSON(nil, []byte(src), resource.Options{}); err == nil {
			t.Errorf("%s became %s", src, out)
		}
	}
}

// TestBlanks: a line end inside an attribute is a blank unless it is written by number.
func TestBlanks(t *testing.T) {
	got := toJSON(t, []byte("<Basic xmlns='http://hl7.org/fhir'><language value='a\r\nb\tc&#10;d\re'/></Basic>"))
	if want := `{"resourceType":"Basic","language":"a b c\nd e"}`; string(got) != want {
		t.Errorf("got %s", got)
	}
}

// FuzzRead looks for XML that is read but cannot be written and read again to
// the same JSON.
func FuzzRead(f *testing.F) {
	f.Add(`<Patient xmlns="http://hl7.org/fhir"><name id="n"><given value="a"/><given id="x"><extension url="u"><valueCode value="v"/></extension></given></name></Patient>`)
	f.Add(`<Basic xmlns="http://hl7.org/fhir"><text><status value="empty"/><div xmlns="http://www.w3.org/1999/xhtml">a<br/><![CDATA[&]]>&#65;</div></text></Basic>`)
	f.Add(`<f:Bundle xmlns:f="http://hl7.org/fhir"><f:entry><f:resource><f:Basic/></f:resource></f:entry></f:Bundle>`)
	f.Fuzz(func(t *testing.T, src string) {
		js, err := fhirxml.AppendJSON(nil, []byte(src), resource.Options{})
		if err != nil {
			return
		}
		var d resource.Doc
		if err := d.Parse(js, resource.Options{MaxDepth: 1000}); err != nil {
			t.Fatalf("%s became %s: %v", src, js, err)
		}
		text, err := fhirxml.Append(nil, d.Root(), false)
		if err != nil {
			return // what appears twice is an array where none can be
		}
		again, err := fhirxml.AppendJSON(nil, text, resource.Options{})
		if err != nil {
			t.Fatalf("%s became %s: %v", src, text, err)
		}
		if diff := cmp.Diff(values(t, js), values(t, again)); diff != "" {
			t.Fatalf("%s: %s", src, diff)
		}
	})
}

// TestOfficial reads official XML files. Where somebody else's JSON form of one
// is there, too, both must be the same resource.
func TestOfficial(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.xml")
	if len(names) != 7 {
		t.Fatalf("%d files", len(names))
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := toJSON(t, src)
		if issues := profile.Check(parse(t, got), ""); issues != nil {
			t.Errorf("%s: %v", name, issues)
		}
		if d := cmp.Diff(values(t, got), values(t, toJSON(t, toXML(t, got, true)))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		twin := strings.TrimSuffix(filepath.Base(name), ".xml") + ".json"
		want, err := os.ReadFile(filepath.Join("../fhirpath/testdata/input", twin))
		if err != nil {
			t.Fatal(err)
		}
		a, b := values(t, want).(map[string]any), values(t, got).(map[string]any)
		// The other converter writes narratives anew; we keep their text.
		delete(a, "text")
		delete(b, "text")
		if twin == "parameters-example-types.json" {
			continue // that JSON form has an object as valueUuid
		}
		// Nor does it make a blank of a line end in an attribute, as XML demands.
		blank := cmp.Transformer("blank", func(s string) string { return strings.ReplaceAll(s, "\n", " ") })
		if d := cmp.Diff(a, b, blank); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
