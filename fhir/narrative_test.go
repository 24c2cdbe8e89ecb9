package fhir

import (
	"errors"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

func TestActiveContent(t *testing.T) {
	for _, tt := range []struct{ div, want string }{
		{`<div xmlns="http://www.w3.org/1999/xhtml">plain &amp; &nbsp; <b>bold</b></div>`, ""},
		{`<div><a href="http://example.org/?a:b">x</a><a href="#here">y</a><a href="Patient/1">z</a><a href="mailto:a@b">m</a></div>`, ""},
		{`<div><img src="data:image/png;base64,AAAA"/></div>`, ""},
		{`<div><a href="javascript:alert(1)">x</a></div>`, "scheme javascript"},
		{`<div><a href=" java&#x09;script:alert(1)">x</a></div>`, "scheme javascript"},
		{`<div><a HREF="JavaScript:alert(1)">x</a></div>`, "scheme javascript"},
		{`<div><a href="vbscript:x">x</a></div>`, "scheme vbscript"},
		{`<div><a href="data:text/html,x">x</a></div>`, "scheme data"},
		{`<div><img src="data:image/svg+xml,x"/></div>`, "scheme data"},
		{`<div><a xlink:href="javascript:x" xmlns:xlink="http://www.w3.org/1999/xlink">x</a></div>`, "scheme javascript"},
		{`<div onclick="x()">x</div>`, "event handler"},
		{`<div><img src="x" ONERROR="x()"/></div>`, "event handler"},
		{`<div><script>x()</script></div>`, "element script"},
		{`<div><h:SCRIPT xmlns:h="http://www.w3.org/1999/xhtml">x()</h:SCRIPT></div>`, "element script"},
		{`<div><iframe src="http://example.org"/></div>`, "element iframe"},
		{`<div><svg/></div>`, "element svg"},
		{`<div><style>x</style></div>`, "element style"},
		{`<!DOCTYPE x [<!ENTITY a "b">]><div>&a;</div>`, "document type"},
		{`<div><b>x</div>`, "well-formed"},
		{`<div>a < b</div>`, "well-formed"},
	} {
		if got := activeContent(tt.div); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.div, got, tt.want)
		}
	}
}

func TestCheckNarratives(t *testing.T) {
	var d resource.Doc
	src := `{"resourceType":"Patient","contained":[{"resourceType":"Group","text":{"div":"<div onload='x'/>"}}],"text":{"div":"<div/>"}}`
	if err := d.Parse([]byte(src), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	e, ok := errors.AsType[*fault.Error](checkNarratives(d.Root()))
	if !ok || e.Kind != fault.Invalid || e.Issues[0].Expression != "Patient.contained[0].text.div" {
		t.Errorf("%+v", e)
	}
}

func FuzzActiveContent(f *testing.F) {
	f.Add(`<div><a href="javascript:x">&#x6a;</a></div>`)
	f.Fuzz(func(t *testing.T, div string) {
		// The obvious never passes, whatever stands around it.
		if activeContent(div) == "" && activeContent("<div><script/>"+div+"</div>") == "" {
			t.Errorf("%q hides a script", div)
		}
	})
}
