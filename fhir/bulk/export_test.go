package bulk

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// fill stores a small clinic: three patients, what belongs to them, and what does not.
func fill(k *kit) {
	k.put(
		`{"resourceType":"Patient","id":"a","gender":"female"}`,
		`{"resourceType":"Patient","id":"b","gender":"male"}`,
		`{"resourceType":"Patient","id":"c","gender":"male"}`,
		`{"resourceType":"Observation","id":"oa","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/a"}}`,
		`{"resourceType":"Observation","id":"ob","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/b"}}`,
		`{"resourceType":"Observation","id":"oc","status":"amended","code":{"text":"x"},"performer":[{"reference":"Patient/c"}]}`,
		`{"resourceType":"Observation","id":"none","status":"final","code":{"text":"x"}}`,
		`{"resourceType":"Organization","id":"org","name":"Clinic"}`,
		`{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[
		  {"entity":{"reference":"Patient/a"}},{"entity":{"reference":"Patient/b"},"inactive":true},
		  {"entity":{"reference":"Patient/b"},"period":{"end":"2020"}},{"entity":{"reference":"Group/inner"}},{"entity":{"reference":"Group/missing"}}]}`,
		`{"resourceType":"Group","id":"inner","type":"person","actual":true,"member":[{"entity":{"reference":"`+base+`/Patient/c"}},{"entity":{"reference":"Group/g"}}]}`,
		`{"resourceType":"Group","id":"empty","type":"person","actual":true}`,
		`{"resourceType":"Patient","id":"b","gender":"male","active":true}`,
		`{"resourceType":"Observation","id":"gone","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/a"}}`,
		`{"resourceType":"Patient","id":"back","gender":"other"}`,
	)
	k.delete("Observation", "gone")
	k.delete("Patient", "back")
	k.put(`{"resourceType":"Patient","id":"back","gender":"other"}`)
}

func TestExport(t *testing.T) {
	k := open(t, nil)
	fill(k)
	all := "Group/empty@1 Group/g@1 Group/inner@1 Observation/none@1 Observation/oa@1 Observation/ob@1 Observation/oc@1 Organization/org@1 Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1"
	for name, c := range map[string]struct {
		where, query string
		want         string // joined by blanks, sorted
		deleted      string
		issues       int
	}{
		"everything":        {query: "", want: all},
		"formats":           {query: "_outputFormat=ndjson", want: all},
		"types":             {query: "_type=Patient,Organization", want: "Organization/org@1 Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1"},
		"types repeated":    {query: "_type=Organization&_type=Group", want: "Group/empty@1 Group/g@1 Group/inner@1 Organization/org@1"},
		"filter":            {query: "_type=Observation,Patient&_typeFilter=Observation?status=amended,Patient?gender=female,male%26active=true", want: "Observation/oc@1 Patient/b@2"},
		"filters are or":    {query: "_type=Patient&_typeFilter=Patient?gender=female&_typeFilter=Patient?_id=c", want: "Patient/a@1 Patient/c@1"},
		"filter leaves":     {query: "_type=Patient,Organization&_typeFilter=Patient?gender=female", want: "Organization/org@1 Patient/a@1"},
		"elements":          {query: "_type=Patient,Organization&_elements=gender,Organization.name", want: "Organization/org gender name Patient/a gender Patient/b gender Patient/back gender Patient/c gender"},
		"elements of one":   {query: "_type=Patient,Organization&_elements=Organization.name", want: "Organization/org name Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1"},
		"history":           {query: "_type=Patient&includeAssociatedData=_history", want: "Patient/a@1 Patient/b@1 Patient/b@2 Patient/back@1 Patient/back@3 Patient/c@1"},
		"deleted":           {query: "_type=Patient,Observation&includeAssociatedData=_deleted", want: "Observation/gone@2 soft-deleted Observation/none@1 Observation/oa@1 Observation/ob@1 Observation/oc@1 Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1"},
		"history, deleted":  {query: "_type=Patient,Observation&_typeFilter=Observation?_id=gone&includeAssociatedData=_history,_deleted", want: "Observation/gone@1 Observation/gone@2 soft-deleted Patient/a@1 Patient/b@1 Patient/b@2 Patient/back@1 Patient/back@2 soft-deleted Patient/back@3 Patient/c@1"},
		"since":             {query: "_type=Patient,Observation&_since=2020-01-01", want: "Observation/none@1 Observation/oa@1 Observation/ob@1 Observation/oc@1 Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1", deleted: "DELETE Observation/gone"},
		"since, far":        {query: "_since=2999-01-01T00:00:00Z", want: ""},
		"till, long ago":    {query: "_till=2020-01-01T00:00:00%2B01:00", want: ""},
		"patients":          {where: "Patient", query: "", want: "Group/g@1 Group/inner@1 Observation/oa@1 Observation/ob@1 Observation/oc@1 Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1"},
		"patients, deleted": {where: "Patient", query: "_since=2020-01-01&_type=Observation", want: "Observation/oa@1 Observation/ob@1 Observation/oc@1", deleted: "DELETE Observation/gone"},
		"patients, outside": {where: "Patient", query: "_type=Patient,Organization", want: "Patient/a@1 Patient/b@2 Patient/back@3 Patient/c@1", issues: 1},
		"group":             {where: "Group/g", query: "_type=Patient,Observation", want: "Observation/oa@1 Observation/oc@1 Patient/a@1 Patient/c@1"},
		"group, inner":      {where: "Group/inner", query: "_type=Patient", want: "Patient/a@1 Patient/c@1"},
		"group, empty":      {where: "Group/empty", query: "", want: ""},
		"serial":            {query: "_isParallel=false", want: all},
		"small files":       {query: "_maxCount=1", want: all},
		"names":             {query: "_container=my-exports&_format=<timestamp>-<id>/<resourcename>", want: all},
		"names without id":  {query: "_container=my-exports&_format=all/<resourcename>", want: all},
	} {
		t.Run(name, func(t *testing.T) {
			k := *k
			k.T = t
			id, err := k.start(c.where, c.query)
			if err != nil {
				t.Fatal(err)
			}
			m := k.wait(id)
			if got := strings.Join(k.lines(id, m.Output), " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := strings.Join(k.lines(id, m.Deleted), " "); got != c.deleted {
				t.Errorf("deleted: got %s, want %s", got, c.deleted)
			}
			if len(m.Issues) != c.issues || m.Error == nil || m.TransactionTime.IsZero() {
				t.Errorf("manifest %+v", m)
			}
			if strings.Contains(c.query, "_maxCount") && slices.ContainsFunc(m.Output, func(o Output) bool { return o.Count > 1 }) {
				t.Errorf("files are too large: %+v", m.Output)
			}
		})
	}
}

func TestExportRefused(t *testing.T) {
	k := open(t, nil)
	fill(k)
	for _, c := range []struct {
		where, query string
		kind         fault.Kind
		says         string
	}{
		{"", "_outputFormat=application/xml", fault.Invalid, "_outputFormat"},
		{"", "_type=Nonsense", fault.Invalid, "Nonsense"},
		{"", "_typeFilter=Patient?gender=male", fault.Invalid, "needs _type"},
		{"", "_type=Patient&_typeFilter=Patient?nonsense=male", fault.Invalid, "nonsense"},
		{"", "_type=Patient&_typeFilter=Observation?code=1", fault.Invalid, "_type does not name"},
		{"", "_type=Patient&_typeFilter=gender=male", fault.Invalid, "Type?criteria"},
		{"", "_type=Patient&_typeFilter=Patient?organization.name=x", fault.Invalid, "follows references"},
		{"", "_type=Patient&_typeFilter=Patient?_filter=organization.name eq x or gender eq male", fault.Invalid, "follows references"},
		{"", "_type=Patient&_typeFilter=Patient?_sort=name", fault.Invalid, "_sort"},
		{"", "_type=Patient&_typeFilter=Patient?_format=json", fault.Invalid, "_format has no meaning"},
		{"", "_type=Patient&_typeFilter=Patient?_include:iterate=Patient:organization", fault.Invalid, "no meaning"},
		{"", "_since=yesterday", fault.Invalid, "_since"},
		{"", "_since=2020&_since=2021", fault.Invalid, "once"},
		{"", "_since=2021&_till=2020", fault.Invalid, "later"},
		{"", "_till=2999", fault.Invalid, "future"},
		{"", "_container=../../etc", fault.Invalid, "_container"},
		{"", "_container=ab", fault.Invalid, "_container"},
		{"", "_format=../<resourcename>", fault.Invalid, "_format"},
		{"", "_format=<unknown>/x", fault.Invalid, "<unknown>"},
		{"", "_maxCount=0", fault.Invalid, "_maxCount"},
		{"", "_isParallel=perhaps", fault.Invalid, "_isParallel"},
		{"", "_elements=nonsense", fault.Invalid, "nonsense"},
		{"", "includeAssociatedData=everything", fault.Invalid, "includeAssociatedData"},
		{"", "_anonymizationConfig=x.json", fault.Invalid, "_anonymizationConfig"},
		{"Group/none", "", fault.NotFound, "Group/none"},
		{"Patient", "_type=Organization", fault.Invalid, "compartment"},
	} {
		_, err := k.start(c.where, c.query)
		if !fault.Is(err, c.kind) || !strings.Contains(fault.From(err).Msg, c.says) {
			t.Errorf("%s $export?%s: %v", c.where, c.query, err)
		}
	}
}

// A lenient client gets what can be done, and is told what was left out.
func TestExportLenient(t *testing.T) {
	k := open(t, nil)
	fill(k)
	id, err := k.s.StartExport(t.Context(), &ExportRequest{Base: base, URL: base, Lenient: true, Params: map[string][]string{
		"_type": {"Patient,Nonsense"}, "unknown": {"x"}, "_elements": {"nonsense"}, "_typeFilter": {"Patient?nonsense=1,Observation?code=1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := k.wait(id)
	if len(m.Issues) != 5 || len(k.lines(id, m.Output)) != 4 {
		t.Errorf("%+v", m)
	}
}

// While an export runs the store changes; the export shows what was there when it began.
func TestExportSnapshot(t *testing.T) {
	k := open(t, func(d *Deps) { d.FileSize = 2000 })
	var want []string
	for i := range 300 {
		k.put(fmt.Sprintf(`{"resourceType":"Patient","id":"p%03d","active":true}`, i))
		want = append(want, fmt.Sprintf("Patient/p%03d@1", i))
	}
	id, err := k.start("", "")
	if err != nil {
		t.Fatal(err)
	}
	for j, err := k.jobs.Get(t.Context(), id); j.Checkpoint == nil; j, err = k.jobs.Get(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for i := range 300 {
		switch i % 3 {
		case 0:
			k.delete("Patient", fmt.Sprintf("p%03d", i))
		case 1:
			k.put(fmt.Sprintf(`{"resourceType":"Patient","id":"p%03d","active":false}`, i))
		}
		k.put(fmt.Sprintf(`{"resourceType":"Patient","id":"new%03d","active":false}`, i))
	}
	m := k.wait(id)
	if got := k.lines(id, m.Output); !slices.Equal(got, want) {
		t.Errorf("%d resources, want %d: %q", len(got), len(want), got)
	}
	if len(m.Output) < 5 {
		t.Errorf("%d files of 2000 bytes", len(m.Output))
	}
}

func TestExportEnd(t *testing.T) {
	k := open(t, nil)
	fill(k)
	id, err := k.start("", "_container=shared")
	if err != nil {
		t.Fatal(err)
	}
	other, err := k.start("", "_container=shared")
	if err != nil || other == id {
		t.Fatalf("the second export: %s, %v", other, err)
	}
	m := k.wait(id)
	k.wait(other)
	if _, _, err := k.s.File(t.Context(), id, "nothing.ndjson", 0); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown file: %v", err)
	}
	if err := k.s.EndExport(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Export(t.Context(), id, base); !fault.Is(err, fault.NotFound) {
		t.Errorf("status after the end: %v", err)
	}
	if err := k.s.EndExport(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("second end: %v", err)
	}
	if _, err := k.s.Export(t.Context(), "unknown", base); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown: %v", err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var left int
		for i, err := range k.blobs.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(i.Key, id) {
				left++
			}
		}
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d files are left", left)
		}
	}
	if got := k.lines(other, k.wait(other).Output); len(got) != 12 {
		t.Errorf("the other export has %d resources left", len(got))
	}
	_ = m
}

// flaky is a blob store that gives up now and then, in the middle of a file.
type flaky struct {
	blob.Store
	puts atomic.Int64
}

func (f *flaky) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) (blob.Info, error) {
	if f.puts.Add(1)%3 == 0 {
		_, _ = r.Read(make([]byte, 100))
		return blob.Info{}, fault.New(fault.Transient, "the bucket does not answer")
	}
	return f.Store.Put(ctx, key, r, opt)
}

// A part whose file could not be written is tried again, behind the last file
// that it finished, and nothing is written twice.
func TestExportRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := &flaky{}
		k := open(t, func(d *Deps) {
			d.FileSize = 4000
			bucket.Store = d.Blobs
			d.Blobs = bucket
		})
		var want []string
		for i := range 400 {
			k.put(fmt.Sprintf(`{"resourceType":"Patient","id":"p%03d","active":true}`, i))
			want = append(want, fmt.Sprintf("Patient/p%03d@1", i))
		}
		id, err := k.start("", "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		m := k.wait(id)
		if got := k.lines(id, m.Output); !slices.Equal(got, want) {
			t.Errorf("%d resources, want %d", len(got), len(want))
		}
		if n := bucket.puts.Load(); len(m.Output) < 8 || n < int64(len(m.Output))*4/3 {
			t.Errorf("%d files by %d puts", len(m.Output), n)
		}
	})
}

// An export that cannot be written at all fails, with the reason.
func TestExportFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := open(t, func(d *Deps) { d.Blobs = full{d.Blobs} })
		k.put(`{"resourceType":"Patient","id":"a"}`)
		id, err := k.start("", "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		_, err = k.s.Export(t.Context(), id, base)
		if !fault.Is(err, fault.Internal) || !strings.Contains(fault.From(err).Msg, "the disk is full") {
			t.Errorf("status: %v", err)
		}
	})
}

// An export goes on when its blob store comes back after minutes.
func TestExportOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(3 * time.Minute)
		k := open(t, func(d *Deps) { d.Blobs = away{d.Blobs, back} })
		k.put(`{"resourceType":"Patient","id":"a"}`)
		id, err := k.start("", "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if st, err := k.s.Export(t.Context(), id, base); err != nil || st.Progress != "waits to be tried again" && st.Progress != "0% (0 of 1)" {
			t.Errorf("during the outage: %+v, %v", st, err)
		}
		time.Sleep(3 * time.Minute)
		if m := k.wait(id); len(m.Output) != 1 || m.Output[0].Count != 1 {
			t.Errorf("%+v", m)
		}
	})
}

// away is a blob store that cannot be reached until a time.
type away struct {
	blob.Store
	until time.Time
}

func (a away) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) (blob.Info, error) {
	if time.Now().Before(a.until) {
		return blob.Info{}, fault.New(fault.Transient, "the blob store is not available now")
	}
	return a.Store.Put(ctx, key, r, opt)
}

// full is a blob store without room.
type full struct{ blob.Store }

func (full) Put(context.Context, string, io.Reader, blob.PutOptions) (blob.Info, error) {
	return blob.Info{}, fault.New(fault.Transient, "the disk is full; nothing was stored")
}
