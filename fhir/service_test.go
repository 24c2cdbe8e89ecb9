package fhir_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func TestCreate(t *testing.T) {
	r := newRig(t, fhir.Config{})
	resp := r.do(201, "POST", "Patient", `{"resourceType":"Patient","id":"mine","meta":{"versionId":"9","lastUpdated":"2001-01-01T00:00:00Z","tag":[{"code":"x"}]},"active":true}`)
	rec := resp.Record
	if rec.ID == "mine" || !fhir.ValidID(rec.ID) || rec.Version != 1 || resp.Outcome != fhir.Created {
		t.Fatalf("record %+v", rec)
	}
	got := r.body(rec)
	meta := got["meta"].(map[string]any)
	if meta["versionId"] != "1" || meta["lastUpdated"] != "2026-05-01T12:00:00.000Z" || meta["tag"] == nil || got["active"] != true {
		t.Fatalf("body %v", got)
	}
	if other := r.do(201, "POST", "Patient", patient("", "X")).Record; other.ID <= rec.ID[:8] {
		t.Errorf("ids are not ordered by time: %s, %s", rec.ID, other.ID)
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		name, target, body string
		kind               fault.Kind
		expression         string
	}{
		{"unknown type", "Foo", `{"resourceType":"Foo"}`, fault.NotFound, ""},
		{"wrong case", "patient", `{"resourceType":"Patient"}`, fault.NotFound, ""},
		{"other type", "Patient", `{"resourceType":"Observation"}`, fault.Invalid, "Observation.resourceType"},
		{"no type", "Patient", `{"id":"x"}`, fault.Invalid, ""},
		{"no body", "Patient", ``, fault.Invalid, ""},
		{"not an object", "Patient", `[]`, fault.Invalid, ""},
		{"bad date", "Patient", `{"resourceType":"Patient","birthDate":"2020-13-45"}`, fault.Invalid, "Patient.birthDate"},
		{"unknown element", "Patient", `{"resourceType":"Patient","nme":[]}`, fault.Invalid, "Patient.nme"},
		{"missing status", "Observation", `{"resourceType":"Observation","code":{"text":"x"}}`, fault.Invalid, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, fhir.Config{})
			e := r.fail(c.kind, "POST", c.target, c.body)
			if len(e.Issues) == 0 || c.expression != "" && e.Issues[0].Expression != c.expression {
				t.Errorf("issues %+v, want one at %q", e.Issues, c.expression)
			}
		})
	}
}

func TestDecimalsStayAsWritten(t *testing.T) {
	r := newRig(t, fhir.Config{})
	for _, n := range []string{"0.10", "1.23456789012345678901234567890", "-0", "1e3"} {
		rec := r.do(201, "POST", "Observation", `{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":`+n+`}}`).Record
		if got := r.text("Observation/" + rec.ID); !strings.Contains(got, `"value":`+n+`}`) {
			t.Errorf("%s came back as %s", n, got)
		}
	}
}

func TestRead(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	r.do(200, "PUT", "Patient/a", patient("a", "Two"))
	if rec := r.do(200, "GET", "Patient/a", "").Record; rec.Version != 2 {
		t.Errorf("version %d", rec.Version)
	}
	r.fail(fault.NotFound, "GET", "Patient/b", "")
	r.fail(fault.NotFound, "GET", "patient/a", "")
	r.fail(fault.NotFound, "GET", "Patient/"+strings.Repeat("x", 65), "")
	r.fail(fault.NotFound, "GET", "Patient/a\x00b", "")
	if rec := r.do(200, "GET", "Patient/a/_history/1", "").Record; rec.Version != 1 {
		t.Errorf("version %d", rec.Version)
	}
	for _, target := range []string{"Patient/a/_history/3", "Patient/a/_history/x", "Patient/a/_history/01", "Patient/b/_history/1", "Patient/a/_history/0"} {
		r.fail(fault.NotFound, "GET", target, "")
	}
	r.do(204, "DELETE", "Patient/a", "")
	if e := r.fail(fault.Gone, "GET", "Patient/a", ""); e.Version != 3 {
		t.Errorf("gone with version %d, want 3", e.Version)
	}
	r.fail(fault.Gone, "GET", "Patient/a/_history/3", "")
	r.do(200, "GET", "Patient/a/_history/2", "")
}

func TestConditionalRead(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.now = r.now.Add(300 * time.Millisecond)
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	at := r.now.Truncate(time.Second)
	for _, c := range []struct {
		tag     string
		since   time.Time
		changed bool
	}{
		{`W/"1"`, time.Time{}, false},
		{`"1"`, time.Time{}, false},
		{`W/"7", W/"1"`, time.Time{}, false},
		{`*`, time.Time{}, false},
		{`W/"2"`, time.Time{}, true},
		{`nonsense`, time.Time{}, true},
		{`W/"2"`, at, true}, // the tag wins
		{``, at, false},
		{``, at.Add(time.Hour), false},
		{``, at.Add(-time.Second), true},
	} {
		cond := func(in *fhir.Interaction) { in.IfNoneMatch, in.IfModifiedSince = c.tag, c.since }
		if c.changed {
			r.do(200, "GET", "Patient/a", "", cond)
		} else if e := r.fail(fault.NotModified, "GET", "Patient/a", "", cond); e.Version != 1 {
			t.Errorf("%+v: version %d", c, e.Version)
		}
	}
}

func TestUpdate(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	if resp := r.do(200, "PUT", "Patient/a", patient("a", "Two")); resp.Record.Version != 2 || resp.Outcome != fhir.Updated {
		t.Errorf("%+v", resp)
	}
	same := r.do(200, "PUT", "Patient/a", `{"resourceType":"Patient", "id":"a","meta":{"versionId":"77"},"name":[{"family":"Two"}]}`)
	if same.Outcome != fhir.Unchanged || same.Record.Version != 2 {
		t.Errorf("no change: %+v", same)
	}
	if n := r.count("Patient/a/_history"); n != 2 {
		t.Errorf("history has %d versions", n)
	}
	for _, c := range []struct{ name, target, body, at string }{
		{"no id", "Patient/a", patient("", "X"), "Patient.id"},
		{"other id", "Patient/a", patient("b", "X"), "Patient.id"},
		{"id is no string", "Patient/a", `{"resourceType":"Patient","id":5}`, "Patient.id"},
		{"bad id", "Patient/a_b", patient("a_b", "X"), "Patient.id"},
	} {
		if e := r.fail(fault.Invalid, "PUT", c.target, c.body); len(e.Issues) != 1 || e.Issues[0].Expression != c.at {
			t.Errorf("%s: %+v", c.name, e.Issues)
		}
	}
	r.do(201, "PUT", "Practitioner/a", `{"resourceType":"Practitioner","id":"a"}`)
	r.do(204, "DELETE", "Patient/a", "")
	if rec := r.do(201, "PUT", "Patient/a", patient("a", "Two")).Record; rec.Version != 4 {
		t.Errorf("revived with version %d, want 4", rec.Version)
	}
}

func TestIfMatch(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.fail(fault.NotFound, "PUT", "Patient/a", patient("a", "One"), ifMatch(`W/"1"`))
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	r.do(200, "PUT", "Patient/a", patient("a", "Two"), ifMatch(`W/"1"`))
	r.fail(fault.Precondition, "PUT", "Patient/a", patient("a", "Three"), ifMatch(`W/"1"`))
	for _, bad := range []string{"1", `W/1`, `"x"`, `W/""`, `"0"`, `"-1"`, `W/"a"b"`, `"`, `*`} {
		r.fail(fault.Invalid, "PUT", "Patient/a", patient("a", "Three"), ifMatch(bad))
		r.fail(fault.Invalid, "DELETE", "Patient/a", "", ifMatch(bad))
	}
	for _, other := range []string{`W/"x"`, `W/"3a"`, `W/"0"`, `W/"-1"`} {
		r.fail(fault.Precondition, "PUT", "Patient/a", patient("a", "Three"), ifMatch(other))
		r.fail(fault.Precondition, "DELETE", "Patient/a", "", ifMatch(other))
	}
	r.fail(fault.Precondition, "DELETE", "Patient/a", "", ifMatch(`W/"1"`))
	r.do(204, "DELETE", "Patient/a", "", ifMatch(`W/"2"`))
}

func TestMetaHistory(t *testing.T) {
	tagged := func(tag, family string) string {
		return `{"resourceType":"Patient","id":"a","meta":{"tag":[{"code":"` + tag + `"}]},"name":[{"family":"` + family + `"}]}`
	}
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/a", tagged("1", "A"))
	r.do(200, "PUT", "Patient/a", tagged("2", "A")) // flag absent: the old version stays
	if resp := r.do(200, "PUT", "Patient/a", tagged("3", "A"), noOldVersion); resp.Record.Version != 3 {
		t.Errorf("version %d, want 3", resp.Record.Version)
	}
	r.fail(fault.NotFound, "GET", "Patient/a/_history/2", "")
	r.do(200, "PUT", "Patient/a", tagged("4", "B"), noOldVersion) // content changed
	r.do(200, "GET", "Patient/a/_history/3", "")
	if n := r.count("Patient/a/_history"); n != 3 {
		t.Errorf("history has %d versions, want 3", n)
	}
}

func TestVersioningPolicies(t *testing.T) {
	r := newRig(t, fhir.Config{Versioning: map[string]fhir.Versioning{"Patient": fhir.NoVersion, "Group": fhir.VersionedUpdate}})
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	r.do(200, "PUT", "Patient/a", patient("a", "Two"))
	if n := r.count("Patient/a/_history"); n != 1 {
		t.Errorf("no-version: %d versions", n)
	}
	r.do(204, "DELETE", "Patient/a", "")
	if n := r.count("Patient/a/_history"); n != 1 {
		t.Errorf("no-version: %d versions after the delete", n)
	}
	group := func(name string) string {
		return `{"resourceType":"Group","id":"g","type":"person","actual":true,"name":"` + name + `"}`
	}
	r.fail(fault.NotFound, "PUT", "Group/g", group("x"), ifMatch(`W/"1"`))
	r.do(201, "PUT", "Group/g", group("x"))
	r.fail(fault.Invalid, "PUT", "Group/g", group("y"))
	r.do(200, "PUT", "Group/g", group("y"), ifMatch(`W/"1"`))
	if _, err := fhir.New(fhir.Deps{Store: r.store, Config: fhir.Config{Versioning: map[string]fhir.Versioning{"Foo": fhir.NoVersion}}}); err == nil {
		t.Error("a policy for an unknown type is accepted")
	}
}

func TestDelete(t *testing.T) {
	r := newRig(t, fhir.Config{})
	if resp := r.do(204, "DELETE", "Patient/a", ""); resp.Outcome != fhir.Absent {
		t.Errorf("never existed: %+v", resp)
	}
	r.fail(fault.NotFound, "GET", "Patient/a", "")
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	if resp := r.do(204, "DELETE", "Patient/a", ""); resp.Outcome != fhir.Deleted || resp.Version != 2 {
		t.Errorf("deleted: %+v", resp)
	}
	if resp := r.do(204, "DELETE", "Patient/a", ""); resp.Outcome != fhir.Absent || resp.Version != 2 {
		t.Errorf("again: %+v", resp)
	}
	if n := r.count("Patient?gender:not=male"); n != 0 {
		t.Errorf("a deleted resource is found by :not")
	}
	r.do(204, "DELETE", "Patient/a", "", hardDelete)
	for _, target := range []string{"Patient/a", "Patient/a/_history/1", "Patient/a/_history"} {
		r.fail(fault.NotFound, "GET", target, "")
	}
}

func TestPurgeHistory(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.fail(fault.NotFound, "DELETE", "Patient/a/$purge-history", "")
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	r.do(200, "PUT", "Patient/a", patient("a", "Two"))
	r.do(204, "DELETE", "Patient/a/$purge-history", "")
	if n := r.count("Patient/a/_history"); n != 1 {
		t.Errorf("%d versions are left", n)
	}
	r.do(200, "GET", "Patient/a", "")
}

func TestHistory(t *testing.T) {
	r := newRig(t, fhir.Config{})
	var at []string
	step := func() {
		at = append(at, r.now.Format(time.RFC3339))
		r.now = r.now.Add(time.Minute)
	}
	r.do(201, "PUT", "Patient/a", patient("a", "One"))
	step()
	r.do(200, "PUT", "Patient/a", patient("a", "Two"))
	step()
	r.do(201, "PUT", "Practitioner/p", `{"resourceType":"Practitioner","id":"p"}`)
	step()
	r.do(204, "DELETE", "Patient/a", "")
	step()
	for _, c := range []struct {
		target string
		want   int
	}{
		{"Patient/a/_history", 3}, {"Patient/_history", 3}, {"_history", 4}, {"_history?_count=2", 2},
		{"_history?_since=" + at[1], 3}, {"_history?_before=" + at[1], 1},
		{"Patient/a/_history?_since=" + at[1] + "&_before=" + at[3], 1},
		{"_history?_since=2099", 0}, {"_history?_sort=_lastUpdated", 4}, {"_history?_sort=-_lastUpdated", 4},
		{"Group/_history", 0}, {"_history?_format=json&_pretty=true", 4},
	} {
		if n := r.count(c.target); n != c.want {
			t.Errorf("%s: %d versions, want %d", c.target, n, c.want)
		}
	}
	page := r.do(200, "GET", "Patient/a/_history?_summary=count", "").Page
	if page.Total != 3 || len(page.Records) != 0 {
		t.Errorf("count: %+v", page)
	}
	if rec := r.do(200, "GET", "_history?_sort=_lastUpdated", "").Page.Records[0]; rec.ID != "a" || rec.Version != 1 {
		t.Errorf("the oldest is %+v", rec)
	}
	first := r.do(200, "GET", "_history?_count=3", "")
	if rest := r.do(200, "GET", "_history?_count=3&ct="+first.Page.Next, ""); len(rest.Page.Records) != 1 || rest.Page.Next != "" {
		t.Errorf("second page: %+v", rest.Page)
	}
	for _, target := range []string{
		"_history?_before=2999", "_history?_since=yesterday", "_history?_sort=name", "_history?_count=x",
		"_history?_count=-1", "_history?_summary=x", "_history?_count=1&_count=2", "_history?ct=!",
	} {
		r.fail(fault.Invalid, "GET", target, "")
	}
	r.fail(fault.NotFound, "GET", "Patient/nobody/_history", "")
	r.fail(fault.NotFound, "GET", "Foo/_history", "")
	resp := r.do(200, "GET", "_history?_at=2020&_count=5000", "")
	if len(resp.Dropped) != 2 || resp.Used.Has("_at") || !resp.Used.Has("_count") || resp.History.Count != 1000 {
		t.Errorf("dropped %+v, used %v, query %+v", resp.Dropped, resp.Used, resp.History)
	}
	r.fail(fault.Invalid, "GET", "_history?_at=2020", "", strict)
}

func TestSearch(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.do(201, "PUT", "Patient/a", patient("a", "Smith"))
	r.do(201, "PUT", "Patient/b", patient("b", "Jones"))
	r.do(201, "PUT", "Observation/o", `{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[{"code":"x"}]},"subject":{"reference":"`+base+`/Patient/a"}}`)
	for _, c := range []struct {
		target string
		want   int
	}{
		{"Patient", 2}, {"Patient?name=smith", 1}, {"Patient?_count=1", 1}, {"?_type=Patient,Observation", 3},
		{"Observation?subject=Patient/a", 1}, {"Observation?subject=" + base + "/Patient/a", 1}, {"Observation?subject=Patient/b", 0},
		{"Patient/a/Observation", 1}, {"Patient/b/Observation", 0}, {"Patient/a/Observation?code=y", 0},
		{"Patient/a/*", 2}, {"Patient/a/*?_type=Observation", 1},
	} {
		if n := r.count(c.target); n != c.want {
			t.Errorf("%s: %d found, want %d", c.target, n, c.want)
		}
	}
	resp := r.do(200, "GET", "Patient?foo=1&name=smith", "")
	if len(resp.Dropped) != 1 || resp.Used.Has("foo") || len(resp.Page.Records) != 1 || resp.Query == nil {
		t.Errorf("lenient: %+v", resp)
	}
	r.fail(fault.Invalid, "GET", "Patient?foo=1&name=smith", "", strict)
	r.fail(fault.Invalid, "GET", "Patient?birthdate=***", "")
	r.fail(fault.NotFound, "GET", "Foo?x=1", "")
	r.fail(fault.NotFound, "GET", "Patient/a/Foo", "")
	r.fail(fault.Invalid, "GET", "Medication/a/Observation", "")
}

func TestNotOffered(t *testing.T) {
	r := newRig(t, fhir.Config{})
	r.fail(fault.NotImplemented, "GET", "Patient/a", "", func(in *fhir.Interaction) { in.Verb = fhir.VerbCapabilities })
}
