package fhir_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// ward is a service with two patients and what belongs to them and to nobody.
type ward struct {
	*testing.T
	s *fhir.Service
}

var wardResources = []string{
	`{"resourceType":"Organization","id":"org","name":"Clinic"}`,
	`{"resourceType":"Practitioner","id":"doc","name":[{"family":"Who"}]}`,
	`{"resourceType":"Patient","id":"p1","name":[{"family":"Ada"}],"generalPractitioner":[{"reference":"Practitioner/doc"}],"managingOrganization":{"reference":"Organization/org"}}`,
	`{"resourceType":"Patient","id":"p2","name":[{"family":"Bob"}],"link":[{"other":{"reference":"Patient/p1"},"type":"seealso"}],"managingOrganization":{"reference":"Organization/org"}}`,
	`{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"}}`,
	`{"resourceType":"Encounter","id":"e2","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p2"}}`,
	`{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"code":"hr"}]},"category":[{"coding":[{"system":"urn:c","code":"vital-signs"}]}],"subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"hasMember":[{"reference":"Observation/o2"}],"valueQuantity":{"value":70}}`,
	`{"resourceType":"Observation","id":"o1b","status":"final","code":{"coding":[{"code":"hb"}]},"category":[{"coding":[{"system":"urn:c","code":"laboratory"}]}],"subject":{"reference":"Patient/p1"},"valueQuantity":{"value":12}}`,
	`{"resourceType":"Observation","id":"o2","status":"final","code":{"coding":[{"code":"hr"}]},"category":[{"coding":[{"system":"urn:c","code":"vital-signs"}]}],"subject":{"reference":"Patient/p2"},"encounter":{"reference":"Encounter/e2"},"derivedFrom":[{"reference":"Observation/o1"}],"valueQuantity":{"value":80}}`,
	`{"resourceType":"Device","id":"d1","patient":{"reference":"Patient/p1"}}`,
	`{"resourceType":"Device","id":"d2","patient":{"reference":"Patient/p2"}}`,
	`{"resourceType":"Binary","id":"b2","contentType":"text/plain","data":"c2VjcmV0"}`,
	`{"resourceType":"Binary","id":"b1","contentType":"text/plain","securityContext":{"reference":"Observation/o1"},"data":"bWluZQ=="}`,
	`{"resourceType":"Binary","id":"b12","contentType":"text/plain","securityContext":{"reference":"Observation/o2"},"data":"c2VjcmV0"}`,
	`{"resourceType":"Binary","id":"borg","contentType":"text/plain","securityContext":{"reference":"Organization/org"},"data":"c2VjcmV0"}`,
	`{"resourceType":"DocumentReference","id":"doc1","status":"current","subject":{"reference":"Patient/p1"},"content":[{"attachment":{"url":"Binary/b2"}}]}`,
	`{"resourceType":"List","id":"l1","status":"current","mode":"working","subject":{"reference":"Patient/p1"},"entry":[{"item":{"reference":"Observation/o2"}},{"item":{"reference":"Observation/o1"}}]}`,
	`{"resourceType":"Group","id":"g12","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}},{"entity":{"reference":"Patient/p2","display":"Bob"}}]}`,
	`{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p2"}}]}`,
}

func wards(t *testing.T, f func(w ward)) {
	for _, name := range []string{"memory", "sqlite"} {
		t.Run(name, func(t *testing.T) {
			var store fhir.Store = fhirtest.NewMemory(nil)
			if name == "sqlite" {
				db, err := fhirsql.Open(context.Background(), t.TempDir()+"/fhir.db", search.Default(), fhirsql.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = db.Close() })
				store = db
			}
			s, err := fhir.New(fhir.Deps{Store: store, Guard: auth.NewGuard("/clinic/records")})
			if err != nil {
				t.Fatal(err)
			}
			w := ward{t, s}
			owner := auth.WithPrincipal(context.Background(), auth.Internal("test"))
			for _, text := range wardResources {
				w.must(owner, put(t, text))
			}
			f(w)
		})
	}
}

func put(t *testing.T, text string) *fhir.Interaction {
	t.Helper()
	var d resource.Doc
	if err := d.Parse([]byte(text), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	root := d.Root()
	return &fhir.Interaction{Verb: fhir.VerbUpdate, Method: "PUT", Type: root.Get("resourceType").Text(), ID: root.Get("id").Text(), Body: root, Base: "http://h/fhir"}
}

func post(t *testing.T, text string) *fhir.Interaction {
	in := put(t, text)
	in.Verb, in.Method, in.ID = fhir.VerbCreate, "POST", ""
	return in
}

func (w ward) must(ctx context.Context, in *fhir.Interaction) *fhir.Response {
	w.Helper()
	r, err := w.s.Do(ctx, in)
	if err != nil {
		w.Fatalf("%s %s/%s?%s: %v", in.Verb, in.Type, in.ID, in.RawQuery, err)
	}
	return r
}

// smart returns the context of a SMART user.
func smart(patient, user, scopes string, roles ...string) context.Context {
	p := &auth.Principal{ID: "u", Patient: patient, FHIRUser: user, Limited: true}
	for _, r := range append(roles, auth.RoleSMARTUser) {
		a, _ := auth.BuiltinRole(r)
		p.Grants = append(p.Grants, auth.Grant{Scope: "/clinic/records", Actions: a})
	}
	for _, text := range strings.Fields(scopes) {
		s, err := auth.ParseScope(text)
		if err != nil {
			panic(err)
		}
		p.Scopes = append(p.Scopes, s)
	}
	return auth.WithPrincipal(context.Background(), p)
}

func get(typ, id string) *fhir.Interaction {
	return &fhir.Interaction{Verb: fhir.VerbRead, Method: "GET", Type: typ, ID: id}
}

func find(typ, query string) *fhir.Interaction {
	params, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	return &fhir.Interaction{Verb: fhir.VerbSearch, Method: "GET", Type: typ, Params: params, RawQuery: query, Base: "http://h/fhir", Strict: true}
}

// found lists what a search answers, included resources behind a plus.
func (w ward) found(ctx context.Context, in *fhir.Interaction) string {
	w.Helper()
	r, err := w.s.Do(ctx, in)
	if err != nil {
		return fault.From(err).Issues[0].Code
	}
	var ids []string
	for _, rec := range r.Page.Records {
		ids = append(ids, rec.ID)
	}
	slices.Sort(ids)
	var more []string
	for _, rec := range r.Page.Included {
		more = append(more, "+"+rec.ID)
	}
	slices.Sort(more)
	return strings.Join(append(ids, more...), " ")
}

// TestPatientReads tries every way to see something of another patient.
func TestPatientReads(t *testing.T) {
	wards(t, func(w ward) {
		ctx := smart("p1", "", "patient/*.rs")
		for _, k := range []string{"Patient/p1", "Observation/o1", "Binary/b1", "DocumentReference/doc1", "List/l1", "Encounter/e1", "Device/d1", "Practitioner/doc", "Organization/org"} {
			typ, id, _ := strings.Cut(k, "/")
			w.must(ctx, get(typ, id))
			vread := get(typ, id)
			vread.Verb, vread.VersionID = fhir.VerbVRead, "1"
			w.must(ctx, vread)
			hist := get(typ, id)
			hist.Verb = fhir.VerbHistory
			w.must(ctx, hist)
		}
		for _, k := range []string{"Patient/p2", "Observation/o2", "Encounter/e2", "Device/d2", "Binary/b2", "Binary/b12", "Binary/borg"} {
			typ, id, _ := strings.Cut(k, "/")
			for _, verb := range []fhir.Verb{fhir.VerbRead, fhir.VerbVRead, fhir.VerbHistory} {
				in := get(typ, id)
				in.Verb, in.VersionID = verb, "1"
				other := get(typ, "nobody")
				other.Verb, other.VersionID = verb, "1"
				_, err := w.s.Do(ctx, in)
				_, none := w.s.Do(ctx, other)
				if !fault.Is(err, fault.NotFound) || strings.ReplaceAll(err.Error(), id, "nobody") != none.Error() {
					w.Errorf("%s %s: %v, but of nothing: %v", verb, k, err, none)
				}
			}
		}
		for _, id := range []string{"g", "g12", "none"} {
			if _, err := w.s.Do(ctx, get("Group", id)); !fault.Is(err, fault.Forbidden) {
				w.Errorf("Group/%s: %v", id, err)
			}
		}
		// A Binary is as visible as its securityContext, so far as the scopes name both.
		for scopes, want := range map[string]bool{
			"patient/Binary.r patient/Observation.r": true, "patient/Binary.rs patient/Observation.r?code=hr": true, "patient/Binary.r?_id=b1 patient/Observation.r": true,
			"patient/Binary.r": false, "patient/Binary.r patient/Observation.r?code=hb": false, "patient/Binary.r?_id=b2 patient/Observation.r": false, "patient/Binary.s patient/Observation.r": false,
		} {
			if _, err := w.s.Do(smart("p1", "", scopes), get("Binary", "b1")); (err == nil) != want {
				w.Errorf("Binary/b1 with %s: %v", scopes, err)
			}
		}
	})
}

func TestPatientSearches(t *testing.T) {
	wards(t, func(w ward) {
		ctx := smart("p1", "", "patient/*.rs")
		for _, c := range []struct{ typ, query, want string }{
			{"Patient", "", "p1"},
			{"Patient", "_id=p2", ""},
			{"Patient", "name=Bob", ""},
			{"Patient", "link=Patient/p1", ""},
			{"Observation", "", "o1 o1b"},
			{"Observation", "subject=Patient/p2", ""},
			{"Observation", "patient=p2,p1", "o1 o1b"},
			{"Observation", "code=hr&_sort=-date", "o1"},
			{"Observation", "code:not=zz", "o1 o1b"},
			{"Observation", "subject:missing=false", "o1 o1b"},
			{"Observation", "value-quantity=gt1&_sort=_lastUpdated", "o1 o1b"},
			{"Observation", "_count=1&_total=accurate&code=hr", "o1"},
			{"Device", "", "d1"},
			{"Practitioner", "", "doc"},
			// Includes lead out of the compartment.
			{"Observation", "code=hr&_include=Observation:has-member", "o1"},
			{"Observation", "code=hr&_include=*", "o1 +e1 +p1"},
			{"Observation", "code=hr&_revinclude=Observation:derived-from", "o1"},
			{"Observation", "code=hr&_include=Observation:subject&_include:iterate=Patient:organization&_revinclude:iterate=Patient:organization", "o1 +org +p1"},
			{"Organization", "_revinclude=Patient:organization", "org +p1"},
			{"Patient", "_revinclude=Patient:link", "p1"},
			{"Patient", "_revinclude=*", "p1 +d1 +doc1 +e1 +l1 +o1 +o1b"},
			{"List", "_include=List:item", "l1 +o1"},
			{"DocumentReference", "_include=*", "doc1 +p1"},
			{"Binary", "", "forbidden"},
			{"Group", "member=Patient/p1", "forbidden"},
			{"Patient", "_revinclude=Group:member", "p1"},
			{"Observation", "_list=l1", "forbidden"},
			{"Patient", "_has:Group:member:_id=g12", "forbidden"},
			// Chains tell by what they find.
			{"Observation", "subject:Patient.name=Bob", "forbidden"},
			{"Observation", "derived-from.subject:Patient.name=Ada", "forbidden"},
			{"Patient", "general-practitioner:Practitioner.name=Who", "p1"},
			{"Patient", "organization.name=Clinic", "p1"},
			{"Patient", "_has:Observation:patient:code=hr", "p1"},
			{"Organization", "_has:Patient:organization:name=Bob", "forbidden"},
			{"Observation", "_has:Observation:derived-from:code=hr", "forbidden"},
			{"Patient", "_has:Observation:patient:_has:Observation:derived-from:code=hr", "forbidden"},
		} {
			if got := w.found(ctx, find(c.typ, c.query)); got != c.want {
				w.Errorf("%s?%s: got %q, want %q", c.typ, c.query, got, c.want)
			}
		}
		if r := w.must(ctx, find("Observation", "_total=accurate")); r.Page.Total != 2 {
			w.Errorf("the total is %d, want that of the patient", r.Page.Total)
		}
		if got := w.found(ctx, find("", "_type=Patient,Observation,Encounter,Binary")); got != "e1 o1 o1b p1" {
			w.Errorf("system search: %q", got)
		}
		if got := w.found(ctx, find("", "_id=p2,o2,o1,b2")); got != "o1" {
			w.Errorf("system search by id: %q", got)
		}
		for id, want := range map[string]string{"p1": "o1 o1b", "p2": ""} {
			in := find("Patient", "")
			in.ID, in.Compartment = id, "Observation"
			if got := w.found(ctx, in); got != want {
				w.Errorf("compartment of %s: %q, want %q", id, got, want)
			}
		}
	})
}

// TestPagingToken gives the token of a page to another patient.
func TestPagingToken(t *testing.T) {
	wards(t, func(w ward) {
		one, two := smart("p1", "", "patient/*.rs"), smart("p2", "", "patient/*.rs")
		first := w.must(one, find("Observation", "_count=1"))
		if first.Page.Next == "" {
			w.Fatal("there is no second page")
		}
		next := find("Observation", "_count=1&ct="+url.QueryEscape(first.Page.Next))
		if got := w.found(one, next); got == "" || got == first.Page.Records[0].ID || strings.Contains(got, "o2") {
			w.Errorf("own second page: %q", got)
		}
		if got := w.found(two, next); got != "" && got != "o2" && got != "invalid" {
			w.Errorf("page of another: %q", got)
		}
	})
}

func TestPatientHistory(t *testing.T) {
	wards(t, func(w ward) {
		owner := auth.WithPrincipal(context.Background(), auth.Internal("test"))
		for _, id := range []string{"o1b", "o2"} {
			w.must(owner, &fhir.Interaction{Verb: fhir.VerbDelete, Method: "DELETE", Type: "Observation", ID: id})
		}
		ctx := smart("p1", "", "patient/*.rs")
		if got := w.found(ctx, &fhir.Interaction{Verb: fhir.VerbHistory, Type: "Observation"}); got != "o1 o1b o1b" {
			w.Errorf("history of a type: %q", got)
		}
		all := &fhir.Interaction{Verb: fhir.VerbHistory, Params: url.Values{"_count": {"100"}, "_total": {"accurate"}}}
		r := w.must(ctx, all)
		for _, rec := range r.Page.Records {
			if strings.HasSuffix(rec.ID, "2") || rec.ID == "g" {
				w.Errorf("the history of all shows %s", rec.Key)
			}
		}
		if r.Page.Total > 0 {
			w.Errorf("the history of all has a total of %d", r.Page.Total)
		}
		if _, err := w.s.Do(ctx, &fhir.Interaction{Verb: fhir.VerbHistory, Params: url.Values{"_summary": {"count"}}}); !fault.Is(err, fault.Forbidden) {
			w.Errorf("the history of all is counted: %v", err)
		}
		if _, err := w.s.Do(ctx, get("Observation", "o2")); !fault.Is(err, fault.NotFound) {
			w.Errorf("a deleted resource of another: %v", err)
		}
		if _, err := w.s.Do(ctx, get("Observation", "o1b")); !fault.Is(err, fault.Gone) {
			w.Errorf("an own deleted resource: %v", err)
		}
	})
}

// TestPatientWrites tries to write into the record of another patient.
func TestPatientWrites(t *testing.T) {
	const about = `{"resourceType":"Observation","id":"ID","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/PAT"}}`
	obs := func(id, pat string) string { return strings.NewReplacer("ID", id, "PAT", pat).Replace(about) }
	wards(t, func(w ward) {
		ctx := smart("p1", "", "patient/Observation.cruds patient/Patient.cruds patient/Organization.cruds")
		conditional := put(w.T, strings.Replace(obs("x", "p1"), `"id":"x",`, "", 1))
		conditional.Conditional, conditional.ID, conditional.Params, conditional.RawQuery = true, "", url.Values{"subject": {"Patient/p2"}}, "subject=Patient/p2"
		exists := post(w.T, obs("x", "p1"))
		exists.IfNoneExist, exists.HasIfNoneExist = "code=hr&subject=Patient/p2", true
		refers := post(w.T, `{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},"performer":[{"reference":"Patient?name=Bob"}]}`)
		remove := func(id string) *fhir.Interaction {
			return &fhir.Interaction{Verb: fhir.VerbDelete, Method: "DELETE", Type: "Observation", ID: id}
		}
		removeWhere := &fhir.Interaction{Verb: fhir.VerbDelete, Method: "DELETE", Type: "Observation", Conditional: true, Params: url.Values{"code": {"hr"}, "_count": {"10"}}, RawQuery: "code=hr&_count=10"}
		for _, c := range []struct {
			name string
			in   *fhir.Interaction
			want string // "" = done
		}{
			{"create", post(w.T, obs("x", "p1")), ""},
			{"create about another", post(w.T, obs("x", "p2")), "forbidden"},
			{"create as performer about another", post(w.T, strings.Replace(obs("x", "p2"), `"code"`, `"performer":[{"reference":"Patient/p1"}],"code"`, 1)), "forbidden"},
			{"create about nobody", post(w.T, `{"resourceType":"Observation","status":"final","code":{"text":"x"}}`), "forbidden"},
			{"create a patient", post(w.T, `{"resourceType":"Patient"}`), "forbidden"},
			{"create an organization", post(w.T, `{"resourceType":"Organization","name":"x"}`), "forbidden"},
			{"create of a type without scope", post(w.T, `{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"}}`), "forbidden"},
			{"update", put(w.T, obs("o1", "p1")), ""},
			{"update of another", put(w.T, obs("o2", "p2")), "forbidden"},
			{"steal", put(w.T, obs("o2", "p1")), "forbidden"},
			{"give away", put(w.T, obs("o1", "p2")), "forbidden"},
			{"update as create", put(w.T, obs("new", "p1")), ""},
			{"own patient", put(w.T, `{"resourceType":"Patient","id":"p1","birthDate":"1980"}`), ""},
			{"other patient", put(w.T, `{"resourceType":"Patient","id":"p2","birthDate":"1980"}`), "forbidden"},
			{"new patient", put(w.T, `{"resourceType":"Patient","id":"p3","birthDate":"1980"}`), "forbidden"},
			{"conditional update", conditional, ""}, // finds nothing, so it creates
			{"conditional create", exists, ""},
			{"conditional reference", refers, "not-found"},
			{"delete of another", remove("o2"), "forbidden"},
			{"delete of what never was", remove("nothing"), "forbidden"},
			{"delete", remove("o1"), ""},
			{"delete again", remove("o1"), ""},
			{"delete where", removeWhere, ""},
			{"hard delete", &fhir.Interaction{Verb: fhir.VerbDelete, Type: "Observation", ID: "o1b", HardDelete: true}, "forbidden"},
			{"purge", &fhir.Interaction{Verb: fhir.VerbPurgeHistory, Type: "Observation", ID: "o1b"}, "forbidden"},
		} {
			single, batch := *c.in, *c.in
			_, err := w.s.Do(ctx, &single)
			if got := codeOf(err); got != c.want {
				w.Errorf("%s: got %q (%v), want %q", c.name, got, err, c.want)
			}
			if c.want == "" || c.in.Verb == fhir.VerbPurgeHistory {
				continue
			}
			if _, err := w.s.Transaction(ctx, []*fhir.Interaction{&batch}); codeOf(err) != c.want {
				w.Errorf("%s in a transaction: got %v, want %s", c.name, err, c.want)
			}
		}
		owner := auth.WithPrincipal(context.Background(), auth.Internal("test"))
		if r := w.must(owner, get("Observation", "o2")); r.Record.Version != 1 {
			w.Error("the observation of the other patient was changed")
		}
		if got := w.found(owner, find("Observation", "subject=Patient/p2")); got != "o2" {
			w.Errorf("about the other patient there is %q", got)
		}
	})
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	e := fault.From(err)
	if len(e.Issues) == 0 {
		return e.Msg
	}
	return e.Issues[0].Code
}

// TestScopePermissions has tokens with single letters, with criteria, and of users and systems.
func TestScopePermissions(t *testing.T) {
	wards(t, func(w ward) {
		reader := auth.RoleFHIRReader
		for _, c := range []struct {
			name string
			ctx  context.Context
			in   *fhir.Interaction
			want string
		}{
			{"v1 read", smart("p1", "", "patient/Observation.read"), find("Observation", ""), "o1 o1b"},
			{"v1 write does not read", smart("p1", "", "patient/Observation.write"), find("Observation", ""), "forbidden"},
			{"r alone does not search", smart("p1", "", "patient/Observation.r"), find("Observation", ""), "forbidden"},
			{"another type", smart("p1", "", "patient/Observation.rs"), find("Encounter", ""), "forbidden"},
			{"include of a type without scope", smart("p1", "", "patient/Observation.rs"), find("Observation", "_include=Observation:encounter&code=hr"), "o1"},
			{"chain into a type without scope", smart("", "", "user/Patient.rs", reader), find("Patient", "organization.name=Clinic"), "forbidden"},
			{"criteria", smart("p1", "", "patient/Observation.rs?category=urn:c|laboratory"), find("Observation", ""), "o1b"},
			{"criteria or", smart("p1", "", "patient/Observation.rs?category=urn:c|laboratory patient/Observation.rs?code=hr"), find("Observation", ""), "o1 o1b"},
			{"criteria with prefix", smart("p1", "", "patient/Observation.rs?value-quantity=gt50"), find("Observation", ""), "o1"},
			{"criteria with sort", smart("", "", "user/Observation.rs?value-quantity=gt50", reader), find("Observation", "_sort=-_lastUpdated&_total=accurate"), "o1 o2"},
			{"criteria that are not understood", smart("p1", "", "patient/Observation.rs?nonsense=1"), find("Observation", ""), "forbidden"},
			{"criteria with a chain", smart("p1", "", "patient/Observation.rs?subject.name=Ada"), find("Observation", ""), "forbidden"},
			{"no patient in context", smart("", "", "patient/*.rs"), find("Observation", ""), "forbidden"},
			{"patient by fhirUser", smart("", "Patient/p1", "patient/*.rs"), find("Observation", ""), "o1 o1b"},
			{"practitioner by fhirUser", smart("", "Practitioner/doc", "patient/*.rs"), find("Observation", ""), "forbidden"},
			{"user with a role", smart("", "Practitioner/doc", "user/*.rs", reader), find("Observation", ""), "o1 o1b o2"},
			{"user without a role", smart("", "Practitioner/doc", "user/*.rs"), find("Patient", ""), "p1"},
			{"user who is a patient", smart("", "Patient/p1", "user/*.rs", reader), find("Observation", ""), "o1 o1b"},
			{"user who is nobody", smart("", "", "user/*.rs"), find("Observation", ""), "forbidden"},
			{"system with a role", smart("", "", "system/Observation.rs", reader), find("Observation", ""), "o1 o1b o2"},
			{"system without a role", smart("", "", "system/Observation.rs"), find("Observation", ""), "forbidden"},
			{"patient and user", smart("p2", "", "patient/Patient.rs user/Observation.rs?code=hb", reader), find("Observation", ""), "o1b"},
		} {
			if got := w.found(c.ctx, c.in); got != c.want {
				w.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
		lab := smart("p1", "", "patient/Observation.rs?category=urn:c|laboratory")
		w.must(lab, get("Observation", "o1b"))
		if _, err := w.s.Do(lab, get("Observation", "o1")); !fault.Is(err, fault.NotFound) {
			w.Errorf("what the criteria leave out is read: %v", err)
		}
		// A token cannot do more than the roles: a reader with a scope that writes.
		p := &auth.Principal{ID: "u", Limited: true, Grants: []auth.Grant{{Scope: "/clinic/records", Actions: auth.FHIRRead}}, Scopes: []auth.Scope{{For: auth.ForUser, Type: "*", Perms: 31}}}
		if _, err := w.s.Do(auth.WithPrincipal(context.Background(), p), post(w.T, `{"resourceType":"Organization","name":"x"}`)); !fault.Is(err, fault.Forbidden) {
			w.Errorf("a reader writes through a scope: %v", err)
		}
	})
}

// TestCreateOnly has roles that may only create or only update.
func TestCreateOnly(t *testing.T) {
	wards(t, func(w ward) {
		as := func(a auth.Actions) context.Context {
			return auth.WithPrincipal(context.Background(), &auth.Principal{ID: "u", Grants: []auth.Grant{{Scope: "/", Actions: a}}})
		}
		body := `{"resourceType":"Organization","id":"ID","name":"Other"}`
		for _, c := range []struct {
			actions auth.Actions
			id      string
			want    bool
		}{{auth.FHIRCreate, "new1", true}, {auth.FHIRCreate, "org", false}, {auth.FHIRUpdate, "org", true}, {auth.FHIRUpdate, "new2", false}, {auth.FHIRRead, "org", false}} {
			if _, err := w.s.Do(as(c.actions), put(w.T, strings.Replace(body, "ID", c.id, 1))); (err == nil) != c.want {
				w.Errorf("PUT of %s with %s: %v", c.id, c.actions, err)
			}
		}
	})
}

// TestUnlinkNeedsUpdate deletes a patient with the references to it: who may
// not update what refers to it deletes nothing, whatever else is allowed.
func TestUnlinkNeedsUpdate(t *testing.T) {
	wards(t, func(w ward) {
		for _, c := range []struct {
			without auth.Actions
			want    bool
		}{{auth.FHIRUpdate, false}, {auth.FHIRWrite, false}, {auth.FHIRCreate, true}} {
			ctx := auth.WithPrincipal(context.Background(), &auth.Principal{ID: "u", Grants: []auth.Grant{{Scope: "/", Actions: auth.All &^ c.without}}})
			in := &fhir.Interaction{Verb: fhir.VerbDelete, Method: "DELETE", Type: "Patient", ID: "p1", HardDelete: true, Unlink: true, Base: "http://h/fhir"}
			if _, err := w.s.Do(ctx, in); (err == nil) != c.want || err != nil && !fault.Is(err, fault.Forbidden) {
				w.Errorf("without %s: %v", c.without, err)
			}
		}
	})
}

// TestPatientPatches: a patch must not tell what it cannot show. Its tests, and
// its errors, would.
func TestPatientPatches(t *testing.T) {
	patch := func(id, ops string) *fhir.Interaction {
		return &fhir.Interaction{Verb: fhir.VerbPatch, Method: "PATCH", Type: "Observation", ID: id, Body: node(t, ops)}
	}
	where := func(query, ops string) *fhir.Interaction {
		in := patch("", ops)
		in.Conditional, in.RawQuery = true, query
		in.Params, _ = url.ParseQuery(query)
		return in
	}
	const holds, fails = `[{"op":"test","path":"/status","value":"final"}]`, `[{"op":"test","path":"/status","value":"amended"}]`
	const amend = `[{"op":"replace","path":"/status","value":"amended"}]`
	const give = `[{"op":"replace","path":"/subject/reference","value":"Patient/p2"}]`
	wards(t, func(w ward) {
		ctx := smart("p1", "", "patient/Observation.rus")
		for _, c := range []struct {
			name string
			ctx  context.Context
			in   *fhir.Interaction
			want string // "" = done
		}{
			{"own", ctx, patch("o1", amend), ""},
			{"own by criteria", ctx, where("code=hb", amend), ""},
			{"test that holds on another's", ctx, patch("o2", holds), "not-found"},
			{"test that fails on another's", ctx, patch("o2", fails), "not-found"},
			{"no such", ctx, patch("o9", fails), "not-found"},
			{"another's by criteria", ctx, where("subject=Patient/p2", fails), "not-found"},
			{"give away", ctx, patch("o1", give), "forbidden"},
			{"no update", smart("p1", "", "patient/Observation.rs"), patch("o1", holds), "forbidden"},
			{"no read", smart("p1", "", "patient/Observation.u"), patch("o1", holds), "forbidden"},
		} {
			_, err := w.s.Do(c.ctx, c.in)
			_, tx := w.s.Transaction(c.ctx, []*fhir.Interaction{c.in})
			if codeOf(err) != c.want || codeOf(tx) != c.want {
				w.Errorf("%s: %v, in a transaction %v; want %q", c.name, err, tx, c.want)
			}
		}
	})
}
