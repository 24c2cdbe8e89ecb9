package fhir

import (
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

func linked() *references {
	r := &references{}
	r.add("urn:uuid:a", Key{"Patient", "1"}, resource.Node{})
	r.add("http://x.test/Binary/b?c=d&e", Key{"Binary", "2"}, resource.Node{})
	return r
}

func TestLinks(t *testing.T) {
	r := linked()
	for _, tt := range []struct{ div, want string }{
		{`<div><a href="urn:uuid:a">urn:uuid:a</a></div>`, `<div><a href="Patient/1">urn:uuid:a</a></div>`},
		{`<a class="x" href = 'urn:uuid:a#p'/>`, `<a class="x" href = 'Patient/1#p'/>`},
		{"<img\n alt='>' src='http://x.test/Binary/b?c=d&amp;e'/>", "<img\n alt='>' src='Binary/2'/>"},
		{`<a href="urn:uuid:a"></a><a href="urn:uuid:b"></a><img src="urn:uuid:a">`, `<a href="Patient/1"></a><a href="urn:uuid:b"></a><img src="Patient/1">`},
		{`<a title="href='urn:uuid:a'" href="urn:uuid:a"/>`, `<a title="href='urn:uuid:a'" href="Patient/1"/>`},
		{`<a src="urn:uuid:a"/><img href="urn:uuid:a"/><b href="urn:uuid:a"/><abbr href="urn:uuid:a"/><a hreflang="urn:uuid:a"/>`, ""},
		{`<a href="#urn:uuid:a"/><a href="urn:uuid:a2"/><a href=urn:uuid:a/><a href="urn:uuid:a`, ""},
		{`<a`, ""}, {`<`, ""}, {``, ""}, {`<a href=`, ""}, {`<a href`, ""}, {`<a href="`, ""}, {`<a name="n"<a href="urn:uuid:b"`, ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.div
		}
		if got, ok := r.links(tt.div); got != want || ok != (tt.want != "") {
			t.Errorf("%s\nbecame %s, %v", tt.div, got, ok)
		}
	}
}

// TestLinksLong: the time that a narrative takes does not grow with its square.
func TestLinksLong(t *testing.T) {
	r := linked()
	for _, part := range []string{"<p>x</p>", "<a ", "<a x", `x='<a '`, `<a x='" y="'`, "<a href='"} {
		long := strings.Repeat(part, 4<<20/len(part))
		begin := time.Now()
		if _, ok := r.links("<a " + long); ok {
			t.Errorf("%s: something was replaced", part)
		}
		if d := time.Since(begin); d > time.Minute {
			t.Errorf("%s: %v", part, d)
		}
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(`<div><a class="x" href='urn:uuid:a#p'>x</a><img src="urn:uuid:a"/></div>`)
	r := linked()
	f.Fuzz(func(t *testing.T, div string) {
		got, ok := r.links(div)
		if ok == (got == div) {
			t.Errorf("%q: ok is %v", div, ok)
		}
		// What was replaced is the only thing that changed.
		if strings.ReplaceAll(got, "Patient/1", "urn:uuid:a") != strings.ReplaceAll(div, "Patient/1", "urn:uuid:a") && !strings.Contains(div, "Binary/b") {
			t.Errorf("%q became %q", div, got)
		}
	})
}

// TestReferencesAreNotComparedForEver: what no index knows has an end.
func TestReferencesAreNotComparedForEver(t *testing.T) {
	list := []search.Subject{{Type: "Patient", ID: "a", Values: new(search.Values)}}
	all := &changes{written: list, index: search.NewIndex(list)}
	r := &references{}
	if keys, err := r.among(t.Context(), all, &search.Query{}, nil); err != nil || len(keys) != 1 {
		t.Fatalf("%v %v, want Patient/a", keys, err)
	}
	r.compared.Store(maxCompared)
	if _, err := r.among(t.Context(), all, &search.Query{}, nil); !fault.Is(err, fault.TooCostly) {
		t.Errorf("%v, want TooCostly", err)
	}
}
