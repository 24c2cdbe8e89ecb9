package fhir_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// sqlRig is a rig on the tables, with a registry of its own.
func sqlRig(t *testing.T, path string) (*rig, *fhirsql.Store) {
	t.Helper()
	reg := search.NewRegistry()
	st, err := fhirsql.Open(t.Context(), path, reg, fhirsql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	svc, err := fhir.New(fhir.Deps{Store: st, Search: reg})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.LoadParams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &rig{T: t, svc: svc, now: time.Now()}, st
}

const eyes = `{"resourceType":"SearchParameter","id":"eyes","url":"http://example.org/sp/eyes","name":"eyes","status":"active","description":"x",
	"code":"eye-colour","base":["Patient"],"type":"token","expression":"Patient.extension.where(url='http://example.org/eyes').value.ofType(CodeableConcept)"}`

func eyed(id, code string) string {
	return `{"resourceType":"Patient","id":"` + id + `","extension":[{"url":"http://example.org/eyes","valueCodeableConcept":{"coding":[{"system":"urn:c","code":"` + code + `"}]}}]}`
}

func (r *rig) reindex(st *fhirsql.Store) {
	r.Helper()
	keys, types, err := r.svc.Partials(nil, nil)
	if err != nil {
		r.Fatal(err)
	}
	for from := (fhir.ReindexFrom{Types: types, More: true}); from.More; {
		var err error
		if from, err = st.Reindex(context.Background(), from); err != nil {
			r.Fatal(err)
		}
	}
	if err := r.svc.Reindexed(context.Background(), keys); err != nil {
		r.Fatal(err)
	}
}

func TestCustomParameter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fhir.db")
	r, st := sqlRig(t, path)
	r.do(201, "PUT", "Patient/old", eyed("old", "blue"))
	r.do(201, "PUT", "Patient/changed", eyed("changed", "blue"))
	if resp := r.do(200, "GET", "Patient?eye-colour=blue", ""); len(resp.Dropped) != 1 {
		t.Errorf("unknown parameter: %+v", resp.Dropped)
	}
	r.do(201, "PUT", "SearchParameter/eyes", eyes)
	r.do(201, "PUT", "Patient/new", eyed("new", "blue"))
	r.do(200, "PUT", "Patient/changed", strings.Replace(eyed("changed", "blue"), `"id"`, `"active":true,"id"`, 1))
	resp := r.do(200, "GET", "Patient?eye-colour=urn:c%7Cblue", "")
	if len(resp.Page.Records) != 2 || len(resp.Dropped) != 1 || resp.Dropped[0].Code != "incomplete" {
		t.Errorf("before the reindex: %d, %+v", len(resp.Page.Records), resp.Dropped)
	}
	r.reindex(st)
	resp = r.do(200, "GET", "Patient?eye-colour=blue", "")
	if len(resp.Page.Records) != 3 || len(resp.Dropped) != 0 {
		t.Errorf("after the reindex: %d, %+v", len(resp.Page.Records), resp.Dropped)
	}
	if n := r.count("Patient?eye-colour:missing=true"); n != 0 {
		t.Errorf(":missing finds %d", n)
	}
	// A change of the text keeps the index, one of the meaning does not.
	r.do(200, "PUT", "SearchParameter/eyes", strings.Replace(eyes, `"description":"x"`, `"description":"y"`, 1))
	if n := r.count("Patient?eye-colour=blue"); n != 3 {
		t.Errorf("after a new description: %d", n)
	}
	r.do(200, "PUT", "SearchParameter/eyes", strings.Replace(eyes, `"eye-colour"`, `"eyes"`, 1))
	if n := r.count("Patient?eyes=blue"); n != 0 {
		t.Errorf("after a new code: %d before a reindex", n)
	}
	// What is defined is known to the next process.
	_ = st.Close()
	r, st = sqlRig(t, path)
	r.reindex(st)
	if n := r.count("Patient?eyes=blue"); n != 3 {
		t.Errorf("after a restart: %d", n)
	}
	r.do(204, "DELETE", "SearchParameter/eyes", "")
	if resp := r.do(200, "GET", "Patient?eyes=blue", ""); len(resp.Dropped) != 1 {
		t.Errorf("after the deletion: %+v", resp.Dropped)
	}
	states, _, err := st.ParamStates(t.Context())
	if err != nil || len(states) != 0 {
		t.Errorf("states are left: %v, %v", states, err)
	}
}

// TestLimitsOfParameters: what a definition does not allow is refused, from the
// moment when it says so.
func TestLimitsOfParameters(t *testing.T) {
	r, _ := sqlRig(t, filepath.Join(t.TempDir(), "fhir.db"))
	define := func(status int, id, code, typ, expression, more string) {
		t.Helper()
		r.do(status, "PUT", "SearchParameter/"+id, `{"resourceType":"SearchParameter","id":"`+id+`","url":"http://x.test/`+id+`","name":"x","description":"x","status":"active",
			"code":"`+code+`","base":["Patient"],"type":"`+typ+`","expression":"`+expression+`"`+more+`}`)
	}
	searches := map[string]string{ // to what must be said, "" = it is answered
		"Patient?born=1950": "", "Patient?born=gt1950,lt1940": "", "Patient?born=gt1950&born=lt1960": "", "Patient?born:missing=true": "",
		"Patient?colour=a": "", "Patient?colour=a,b": "", "Patient?colour:not=a": "", "Patient?colour:text=a": "", "Patient?doctor.name=a": "", "Patient?doctor:Practitioner.family=a": "",
	}
	check := func() {
		t.Helper()
		for search, want := range searches {
			if want == "" {
				r.do(200, "GET", search, "")
			} else if e := r.fail(fault.Invalid, "GET", search, ""); !strings.Contains(e.Error(), want) {
				t.Errorf("%s: %v, want %q", search, e, want)
			}
		}
	}
	define(201, "born", "born", "date", "Patient.birthDate", "")
	define(201, "colour", "colour", "token", "Patient.extension.where(url='http://x.test/c').value", `,"multipleOr":true,"multipleAnd":true`)
	define(201, "doctor", "doctor", "reference", "Patient.generalPractitioner", `,"target":["Practitioner"]`)
	check()
	define(200, "born", "born", "date", "Patient.birthDate", `,"multipleOr":false,"multipleAnd":false,"comparator":["eq","gt"],"modifier":["exact"]`)
	define(200, "colour", "colour", "token", "Patient.extension.where(url='http://x.test/c').value", `,"multipleOr":false,"modifier":["not"]`)
	define(200, "doctor", "doctor", "reference", "Patient.generalPractitioner", `,"target":["Practitioner"],"chain":["name","active"]`)
	define(201, "died", "died", "date", "Patient.deceased.ofType(dateTime)", `,"multipleAnd":false`)
	for search, want := range map[string]string{
		"Patient?born=gt1950,lt1940": "one value only", "Patient?born=lt1940": "the prefix lt, only eq, gt", "Patient?born=gt1950&born=gt1960": "only once",
		"Patient?born=1950&born=gt1940": "only once", "Patient?born=gt1950&born=lt1960": "the prefix lt", "Patient?born:missing=true": "modifier :missing, only :exact",
		"Patient?born=gt1950": "", "Patient?born=eq1950": "", "Patient?_has:Patient:link:born=lt1950": "the prefix lt", "Patient?link:Patient.born=gt1950&link:Patient.born=gt1960": "only once",
		"Patient?_filter=born+lt+1950":                                            "the prefix lt",
		"Patient?_filter=born+gt+1950+and+died+gt+1960":                           "",
		"Patient?_filter=born+gt+1950+and+link.born+gt+1960":                      "",
		"Patient?_filter=born+gt+1950+and+born+gt+1960":                           "only once",
		"Patient?_filter=link.born+gt+1950+and+link.born+gt+1960":                 "only once",
		"Patient?_filter=doctor[active+eq+true].family+eq+a":                      "a chain to name, active only",
		"Patient?_filter=doctor[family+eq+a].name+eq+a":                           "a chain to name, active only",
		"Patient?_filter=link[doctor[active+eq+true].family+eq+a].gender+eq+male": "a chain to name, active only",
		"Patient?_filter=doctor[active+eq+true].name+eq+a":                        "",
		"Patient?colour=a,b":                                                      "one value only",
		"Patient?colour:text=a":                                                   "modifier :text, only :not",
		"Patient?doctor:Practitioner.family=a":                                    "a chain to name, active only",
		"Patient?doctor.name:exact=a&doctor.active=true":                          "",
		"Observation?subject:Patient.colour=a,b":                                  "one value only",
		"Observation?subject:Patient.born=gt1950":                                 "",
		"Observation?subject:Patient.doctor:Practitioner.family=a":                "a chain to",
	} {
		searches[search] = want
	}
	check()
}

// TestDisabledParameters: what is disabled is unknown to searches, also after a
// restart and on other nodes, and complete when it is enabled again.
func TestDisabledParameters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) {
		r, st := sqlRig(t, path)
		gender := r.svc.Registry().Param("Patient", "gender").URL
		r.do(201, "PUT", "Patient/a", `{"resourceType":"Patient","id":"a","gender":"male"}`)
		r.do(201, "PUT", "Patient/b", `{"resourceType":"Patient","id":"b","gender":"female"}`)
		found := func(r *rig, want, dropped int) {
			t.Helper()
			resp := r.do(200, "GET", "Patient?gender=male", "")
			if len(resp.Page.Records) != want || len(resp.Dropped) != dropped {
				t.Errorf("%d, %+v; want %d, %d", len(resp.Page.Records), resp.Dropped, want, dropped)
			}
		}
		off := func(off bool) {
			t.Helper()
			if err := r.svc.SwitchParams(t.Context(), []fhir.ParamSwitch{{URL: gender, Off: off}}); err != nil {
				t.Fatal(err)
			}
		}
		found(r, 1, 0)
		off(true)
		off(true)
		if found(r, 2, 1); !r.svc.Disabled(gender) {
			t.Error("not disabled")
		}
		r.do(201, "PUT", "Patient/c", `{"resourceType":"Patient","id":"c","gender":"male"}`)
		other, _ := sqlRig(t, path) // a restart, or another node
		found(other, 3, 1)
		if states, _, err := st.ParamStates(t.Context()); err != nil || len(states) > 0 {
			t.Errorf("states of custom parameters: %v, %v", states, err)
		}
		off(false)
		found(r, 2, 0)
		if err := other.svc.FollowParams(t.Context()); err != nil {
			t.Fatal(err)
		}
		found(other, 2, 0)
		// A definition that is made again is not disabled.
		const url = "http://example.org/sp/eyes"
		r.do(201, "PUT", "SearchParameter/eyes", eyes)
		if err := r.svc.SwitchParams(t.Context(), []fhir.ParamSwitch{{URL: url, Off: true}, {URL: gender, Off: true}}); err != nil {
			t.Fatal(err)
		}
		r.do(200, "PUT", "SearchParameter/eyes", strings.Replace(eyes, `"x"`, `"y"`, 1))
		if !r.svc.Disabled(url) {
			t.Error("a change of the definition enables it")
		}
		r.do(204, "DELETE", "SearchParameter/eyes", "")
		if resp := r.do(200, "GET", "Patient?eye-colour=blue", ""); len(resp.Dropped) != 1 {
			t.Errorf("after the deletion: %+v", resp.Dropped)
		}
		r.do(201, "PUT", "SearchParameter/eyes", eyes)
		if r.svc.Disabled(url) || !r.svc.Disabled(gender) {
			t.Error("made again it is disabled, or another one is not any more")
		}
		if err := other.svc.FollowParams(t.Context()); err != nil || other.svc.Disabled(url) || !other.svc.Disabled(gender) {
			t.Errorf("another node: %v, %v; %v", other.svc.Disabled(url), other.svc.Disabled(gender), err)
		}
	})
}

// lateSwitches is a store on which something happens between reading the
// definitions and reading which of them are disabled.
type lateSwitches struct {
	*fhirsql.Store
	between func()
}

func (l *lateSwitches) DisabledParams(ctx context.Context) ([]string, error) {
	if f := l.between; f != nil {
		l.between = nil
		f()
	}
	return l.Store.DisabledParams(ctx)
}

// TestDisabledMeanwhile: a node that reads the definitions while another one makes
// and disables one does not enable it again.
func TestDisabledMeanwhile(t *testing.T) {
	path := dbtest.Postgres(t)
	a, _ := sqlRig(t, path)
	b, st := sqlRig(t, path)
	const url = "http://example.org/sp/eyes"
	late := &lateSwitches{Store: st}
	svc, err := fhir.New(fhir.Deps{Store: late, Search: b.svc.Registry()})
	if err != nil {
		t.Fatal(err)
	}
	late.between = func() {
		a.do(201, "PUT", "SearchParameter/eyes", eyes)
		if err := a.svc.SwitchParams(t.Context(), []fhir.ParamSwitch{{URL: url, Off: true}}); err != nil {
			t.Error(err)
		}
	}
	if err := svc.LoadParams(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.svc.FollowParams(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !a.svc.Disabled(url) || !svc.Disabled(url) {
		t.Errorf("disabled on the one that did it: %v, on the other: %v", a.svc.Disabled(url), svc.Disabled(url))
	}
}

// TestParametersOfOtherNodes: a node that does not know yet that a parameter was
// defined, changed or deleted writes and indexes by it all the same.
func TestParametersOfOtherNodes(t *testing.T) {
	path := dbtest.Postgres(t)
	a, _ := sqlRig(t, path)
	b, _ := sqlRig(t, path)
	b.do(201, "PUT", "Observation/x", `{"resourceType":"Observation","id":"x","status":"final","code":{"text":"t"}}`)
	a.do(201, "PUT", "SearchParameter/eyes", eyes)
	b.do(201, "PUT", "Patient/p1", eyed("p1", "blue")) // complete on a, unknown to b
	found := func(r *rig, query string, want, dropped int) {
		t.Helper()
		resp := r.do(200, "GET", query, "")
		if len(resp.Page.Records) != want || len(resp.Dropped) != dropped {
			t.Errorf("%s: %d, %+v; want %d, %d", query, len(resp.Page.Records), resp.Dropped, want, dropped)
		}
	}
	for _, r := range []*rig{a, b} {
		found(r, "Patient?eye-colour=blue", 1, 0)
	}
	a.do(200, "PUT", "SearchParameter/eyes", strings.Replace(eyes, `"eye-colour"`, `"eyes"`, 1))
	b.reindexAs(a) // the job of a runs on b
	b.do(201, "PUT", "Patient/p2", eyed("p2", "blue"))
	for _, r := range []*rig{a, b} {
		if err := r.svc.FollowParams(t.Context()); err != nil {
			t.Fatal(err)
		}
		found(r, "Patient?eyes=blue", 2, 0)
	}
	// The same resource on both: one of them has to be told.
	text := strings.Replace(eyes, `"eye-colour"`, `"gaze"`, 1)
	b.do(200, "PUT", "SearchParameter/eyes", text)
	a.fail(fault.Invalid, "PUT", "SearchParameter/other", strings.Replace(eyes, `"id":"eyes"`, `"id":"other"`, 1)) // it has the url
	a.do(204, "DELETE", "SearchParameter/eyes", "")
	b.do(201, "PUT", "Patient/p3", eyed("p3", "blue"))
	found(b, "Patient?gaze=blue", 3, 1) // not a parameter any more
}

// TestParameterUnderLoad: what is written while a parameter is defined is found
// by it, on whichever node.
func TestParameterUnderLoad(t *testing.T) {
	path := dbtest.Postgres(t)
	a, _ := sqlRig(t, path)
	b, _ := sqlRig(t, path)
	var wg sync.WaitGroup
	var n atomic.Int64
	stop := make(chan struct{})
	for i, r := range []*rig{a, b, a, b} {
		wg.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("p%d-%d", i, j)
				r.do(201, "PUT", "Patient/"+id, eyed(id, "blue"))
				n.Add(1)
			}
		})
	}
	wait := func(k int64) {
		for end := n.Load() + k; n.Load() < end && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	wait(10)
	b.do(201, "PUT", "SearchParameter/eyes", eyes)
	wait(10)
	a.reindexAs(b)
	wait(10)
	close(stop)
	wg.Wait()
	if resp := b.do(200, "GET", "Patient?eye-colour=blue&_total=accurate", ""); resp.Page.Total != n.Load() || len(resp.Dropped) != 0 {
		t.Errorf("%d found of %d, %+v", resp.Page.Total, n.Load(), resp.Dropped)
	}
}

// reindexAs is a reindex that was asked for at the node from and runs on r.
func (r *rig) reindexAs(from *rig) {
	r.Helper()
	keys, types, err := from.svc.Partials(nil, nil)
	if err != nil {
		r.Fatal(err)
	}
	for at := (fhir.ReindexFrom{Types: types, More: true}); at.More; {
		if at, err = r.svc.Reindex(context.Background(), at); err != nil {
			r.Fatal(err)
		}
	}
	if err := r.svc.Reindexed(context.Background(), keys); err != nil {
		r.Fatal(err)
	}
}

// TestUnlinkedParameter takes the definition away with its resource.
func TestUnlinkedParameter(t *testing.T) {
	r, _ := sqlRig(t, filepath.Join(t.TempDir(), "fhir.db"))
	r.do(201, "PUT", "SearchParameter/eyes", eyes)
	r.do(204, "DELETE", "SearchParameter/eyes", "", func(in *fhir.Interaction) { in.HardDelete, in.Unlink = true, true })
	if list, err := r.svc.Params(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("still defined: %+v, %v", list, err)
	}
	if resp := r.do(200, "GET", "Patient?eye-colour=blue", ""); len(resp.Dropped) != 1 || resp.Used.Has("eye-colour") {
		t.Errorf("still searched by: %+v", resp.Dropped)
	}
}

// TestNewParameterOfNothing needs no reindex.
func TestNewParameterOfNothing(t *testing.T) {
	r, _ := sqlRig(t, filepath.Join(t.TempDir(), "fhir.db"))
	r.do(201, "PUT", "SearchParameter/eyes", eyes)
	r.do(201, "PUT", "Patient/a", eyed("a", "blue"))
	if resp := r.do(200, "GET", "Patient?eye-colour=blue", ""); len(resp.Page.Records) != 1 || len(resp.Dropped) != 0 {
		t.Errorf("%d, %+v", len(resp.Page.Records), resp.Dropped)
	}
}

func TestRefusedParameters(t *testing.T) {
	r, _ := sqlRig(t, filepath.Join(t.TempDir(), "fhir.db"))
	r.do(201, "PUT", "SearchParameter/eyes", eyes)
	for name, change := range map[string][2]string{
		"code of R4":       {`"eye-colour"`, `"gender"`},
		"code of all":      {`"eye-colour"`, `"_tag"`},
		"control":          {`"eye-colour"`, `"_count"`},
		"bad code":         {`"eye-colour"`, `"a b"`},
		"syntax":           {`ofType(CodeableConcept)`, `ofType(`},
		"no such element":  {`Patient.extension.where(url='http://example.org/eyes').value.ofType(CodeableConcept)`, `Patient.eyes`},
		"no meaning":       {`"token"`, `"special"`},
		"no expression":    {`"expression"`, `"purpose"`},
		"url taken":        {`"id":"eyes"`, `"id":"other"`},
		"long url":         {`sp/eyes`, `sp/` + strings.Repeat("x", 128)},
		"collides by code": {`"id":"eyes","url":"http://example.org/sp/eyes"`, `"id":"other","url":"http://example.org/sp/2"`},
	} {
		body := strings.Replace(eyes, change[0], change[1], 1)
		id := "eyes"
		if strings.Contains(body, `"id":"other"`) {
			id = "other"
		}
		t.Log(name)
		r.fail(fault.Invalid, "PUT", "SearchParameter/"+id, body)
	}
	draft := strings.NewReplacer(`"active"`, `"draft"`, `"eye-colour"`, `"gender"`, `"id":"eyes"`, `"id":"draft"`).Replace(eyes)
	r.do(201, "PUT", "SearchParameter/draft", draft)
}
