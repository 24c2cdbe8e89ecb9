package bulk

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// kit is a service with all that it needs, and a node that runs its jobs.
type kit struct {
	*testing.T
	s     *Service
	store *analyzing
	jobs  *jobs.Store
	blobs blob.Store
}

// analyzing is a store that counts the calls of Analyze, and the bytes that are
// being imported.
type analyzing struct {
	*fhirtest.Memory
	calls      atomic.Int32
	bytes, top atomic.Int64
	late       bool // nothing is there before it is waited for
}

func (a *analyzing) Import(ctx context.Context, ops []fhir.ImportOp) func() ([]fhir.Imported, error) {
	n := int64(0)
	for i := range ops {
		n += int64(len(ops[i].Stored))
	}
	a.top.Store(max(a.top.Load(), a.bytes.Add(n)))
	wait := func() ([]fhir.Imported, error) { return a.Memory.Import(ctx, ops)() }
	if !a.late {
		wait = a.Memory.Import(ctx, ops)
	}
	return func() ([]fhir.Imported, error) {
		a.bytes.Add(-n)
		return wait()
	}
}

func (a *analyzing) Analyze(context.Context) { a.calls.Add(1) }

const base = "http://server/w/s"

func open(t *testing.T, change func(*Deps)) *kit {
	t.Helper()
	d, err := db.Open(filepath.Join(t.TempDir(), "jobs.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{T: t, store: &analyzing{Memory: fhirtest.NewMemory(search.Default())}}
	if k.jobs, err = jobs.New(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	folder, err := blob.OpenFolder(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	k.blobs = folder
	room, err := fhir.New(fhir.Deps{Store: k.store})
	if err != nil {
		t.Fatal(err)
	}
	deps := Deps{FHIR: room, Store: k.store, Jobs: k.jobs, Blobs: folder, Scope: "w/s", Subset: names}
	if change != nil {
		change(&deps)
	}
	k.s = New(deps)
	ctx, cancel := context.WithCancel(t.Context())
	r := jobs.NewRunner(k.jobs, Handlers(func(_ context.Context, scope string) (*Service, func(), error) {
		if scope != "w/s" {
			return nil, nil, fault.New(fault.NotFound, "no service %s", scope)
		}
		return k.s, func() {}, nil
	}), jobs.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Poll: 10 * time.Millisecond})
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; _ = d.Close(); _ = folder.Close() })
	return k
}

// names stands in for the edge's subset: it shows which elements were asked for.
func names(dst []byte, n resource.Node, elements []string) []byte {
	dst = append(dst, `{"resourceType":`...)
	dst = resource.AppendString(dst, n.Get("resourceType").Text())
	dst = append(dst, `,"id":`...)
	dst = resource.AppendString(dst, n.Get("id").Text())
	dst = append(dst, `,"only":`...)
	dst = resource.AppendString(dst, strings.Join(elements, " "))
	return append(dst, '}')
}

// put stores resources written as JSON.
func (k *kit) put(list ...string) {
	k.Helper()
	for _, text := range list {
		var d resource.Doc
		if err := d.Parse([]byte(text), resource.Options{}); err != nil {
			k.Fatal(err)
		}
		in := &fhir.Interaction{Verb: fhir.VerbUpdate, Method: "PUT", Type: d.Root().Get("resourceType").Text(), ID: d.Root().Get("id").Text(), Body: d.Root(), Base: base}
		if _, err := k.s.d.FHIR.Do(k.Context(), in); err != nil {
			k.Fatalf("%s: %v", text, err)
		}
	}
}

func (k *kit) delete(typ, id string) {
	k.Helper()
	if _, err := k.s.d.FHIR.Do(k.Context(), &fhir.Interaction{Verb: fhir.VerbDelete, Method: "DELETE", Type: typ, ID: id}); err != nil {
		k.Fatal(err)
	}
}

// start kicks an export off: where is "", "Patient" or "Group/id".
func (k *kit) start(where, query string) (string, error) {
	k.Helper()
	params, err := url.ParseQuery(query)
	if err != nil {
		k.Fatal(err)
	}
	typ, id, _ := strings.Cut(where, "/")
	return k.s.StartExport(k.Context(), &ExportRequest{Type: typ, ID: id, Params: params, Base: base, URL: base + "/$export?" + query})
}

// wait polls until the export has ended.
func (k *kit) wait(id string) *Manifest {
	k.Helper()
	return k.waitAs(k.Context(), id)
}

// waitAs is wait as the principal of ctx.
func (k *kit) waitAs(ctx context.Context, id string) *Manifest {
	k.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		st, err := k.s.Export(ctx, id, base)
		if err != nil {
			k.Fatalf("status: %v", err)
		}
		if !st.Running {
			return st.Manifest.(*Manifest)
		}
	}
	k.Fatal("the export does not end")
	return nil
}

// lines reads the files of a manifest, sorted, and checks the counts.
func (k *kit) lines(id string, list []Output) []string {
	k.Helper()
	var out []string
	for _, o := range list {
		r, _, err := k.s.File(k.Context(), id, o.URL[strings.LastIndexByte(o.URL, '/')+1:], 0)
		if err != nil {
			k.Fatalf("%s: %v", o.URL, err)
		}
		text, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil {
			k.Fatal(err)
		}
		got := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		if int64(len(got)) != o.Count {
			k.Errorf("%s has %d lines, the manifest says %d", o.URL, len(got), o.Count)
		}
		for _, l := range got {
			out = append(out, brief(k, l, o.Type))
		}
	}
	slices.Sort(out)
	return out
}

// brief shows a line as Type/id@version, with what is special about it.
func brief(k *kit, line []byte, typ string) string {
	k.Helper()
	var r struct {
		ResourceType, ID, Only string
		Meta                   struct {
			VersionID string
			Extension []struct{ ValueString string }
		}
		Entry []struct{ Request struct{ Method, URL string } }
	}
	if err := json.Unmarshal(line, &r); err != nil {
		k.Fatalf("%s: %v", line, err)
	}
	if r.ResourceType != typ {
		k.Errorf("a %s in a file of %s", r.ResourceType, typ)
	}
	switch {
	case len(r.Entry) > 0:
		return r.Entry[0].Request.Method + " " + r.Entry[0].Request.URL
	case r.Only != "":
		return r.ResourceType + "/" + r.ID + " " + r.Only
	case len(r.Meta.Extension) > 0:
		return r.ResourceType + "/" + r.ID + "@" + r.Meta.VersionID + " " + r.Meta.Extension[0].ValueString
	}
	return r.ResourceType + "/" + r.ID + "@" + r.Meta.VersionID
}
