package dicomhttp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// places are containers in memory: out takes exports, in gives imports.
type places struct {
	mu   sync.Mutex
	out  map[string][]byte
	in   map[string][]byte
	full bool // nothing can be written
}

func (p *places) ForExport(place string) (dicom.Destination, error) {
	if place != "out" && place != "mem://out" {
		return nil, fault.New(fault.Invalid, "There is no container.")
	}
	return p, nil
}

func (p *places) ForImport(place string) (dicom.Source, error) {
	if place != "in" {
		return nil, fault.New(fault.Invalid, "There is no container.")
	}
	return source{p}, nil
}

func (p *places) Name() string          { return "out" }
func (p *places) URL(key string) string { return "mem://out/" + key }

func (p *places) Put(_ context.Context, key string, r io.Reader) error {
	b, err := io.ReadAll(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return fault.New(fault.TooLarge, "There is no room.")
	}
	p.out[key] = b
	return err
}

type source struct{ p *places }

func (s source) Name() string { return "in" }

func (s source) List(_ context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.p.in)) {
			if strings.HasPrefix(name, prefix) && name > after && !yield(name, nil) {
				return
			}
		}
	}
}

func (s source) Open(_ context.Context, name string) (io.ReadCloser, error) {
	b := s.p.in[name]
	if b == nil {
		return nil, fault.New(fault.NotFound, "The file is not there any more.")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

const toOut = `{"type":"azureblob","settings":{"blobContainerName":"out"}}`

func exportBody(to string, ids ...string) string {
	return `{"source":{"type":"identifiers","settings":{"values":["` + strings.Join(ids, `","`) + `"]}},"destination":` + to + `}`
}

func withPlaces(t *testing.T, cfg dicom.Config) (*world, *places) {
	w := &world{t: t, dir: t.TempDir(), places: &places{out: map[string][]byte{}, in: map[string][]byte{}}}
	w.open(cfg, nil)
	t.Cleanup(w.close)
	return w, w.places
}

func TestExport(t *testing.T) {
	w, p := withPlaces(t, dicom.Config{SmallFile: 2000})
	var big [][]byte
	for i := range 120 { // more than a batch
		big = append(big, made(t, "1.2", "1.2.1", fmt.Sprintf("1.2.1.%d", i+1)))
	}
	w.stow(200, "/v2/studies", big...)
	a, b := made(t, "1.3", "1.3.1", "1.3.1.1"), made(t, "1.3", "1.3.2", "1.3.2.1")
	w.stow(200, "/v2/studies", a, b)
	mr := file(t, "MR_small_RLE.dcm")
	w.do("PUT", "/v2/studies", mr, "Content-Type", "application/dicom")
	mrPath := strings.Split(pathOf(t, "MR_small_RLE.dcm"), "/")
	mrID := mrPath[3] + "/" + mrPath[5] + "/" + mrPath[7]

	body := w.post(202, "/v2/export", exportBody(toOut, "1.2", "1.3/1.3.2", mrID, "9.9", "1.3/9.9"))
	status, results := w.operation(body)
	if status != "succeeded" || results["exported"] != 122.0 || results["skipped"] != 2.0 {
		t.Fatal(status, results)
	}
	id := body[strings.Index(body, `"id":"`)+6:][:32]
	if results["errorHref"] != "mem://out/"+id+"/errors.log" {
		t.Error(results)
	}
	if got := p.out[id+"/results/"+mrID+".dcm"]; !bytes.Equal(got[128:], mr[128:]) {
		t.Error("another file was exported")
	}
	if !bytes.Equal(p.out[id+"/results/1.3/1.3.2/1.3.2.1.dcm"], b) || p.out[id+"/results/1.3/1.3.1/1.3.1.1.dcm"] != nil || len(p.out) != 123 {
		t.Error(len(p.out))
	}
	errs := string(p.out[id+"/errors.log"])
	if strings.Count(errs, "\n") != 2 || !strings.Contains(errs, `"Identifier":"9.9","Error":"The specified study cannot be found."`) || !strings.Contains(errs, `"Identifier":"1.3/9.9"`) {
		t.Error(errs)
	}
	if got := w.want(200, "GET", "/v2/operations/"+id+"/errors"); got != errs {
		t.Error(got)
	}
	if got := w.want(200, "GET", "/v2/operations/"+id); !strings.Contains(got, `"type":"export"`) {
		t.Error(got)
	}
	// What cannot be written is an error of the file; when nothing can, one of the operation.
	p.full = true
	status, results = w.operation(w.post(202, "/v2/export", exportBody(`{"type":"container","settings":{"name":"out"}}`, "1.3")))
	if status != "failed" || fmt.Sprint(results["errors"]) != "[There is no room.]" {
		t.Error(status, results)
	}
}

func TestExportRefused(t *testing.T) {
	w, _ := withPlaces(t, dicom.Config{})
	for _, body := range []string{
		`{}`, `[]`, `{"source":{"type":"query"}}`, exportBody(toOut), exportBody(toOut, "x"), exportBody(toOut, "1/2/3/4"), exportBody(toOut, "1//2"),
		exportBody(`{"type":"ftp","settings":{"name":"out"}}`, "1.2"),
		exportBody(`{"type":"azureblob","settings":{"blobContainerName":"other"}}`, "1.2"),
		exportBody(`{"type":"azureblob","settings":{"blobContainerName":"out","connectionString":"AccountKey=abc"}}`, "1.2"),
		exportBody(`{"type":"azureblob","settings":{"blobContainerName":"out","blobContainerUri":"mem://out"}}`, "1.2"),
		exportBody(`{"type":"azureblob","settings":{}}`, "1.2"),
		exportBody(`{"type":"container","settings":{"name":"out","prefix":"x"}}`, "1.2"),
		exportBody(`{"type":"container","settings":{"name":"out"},"foo":1}`, "1.2"),
	} {
		if got := w.post(400, "/v2/export", body); strings.Contains(got, "abc") {
			t.Error(got)
		}
	}
	w.post(202, "/v1/export", exportBody(`{"type":"azureblob","settings":{"blobContainerUri":"mem://out","useManagedIdentity":true}}`, "1.2"))
	none := newWorld(t, dicom.Config{})
	none.post(400, "/v2/export", exportBody(toOut, "1.2"))
	none.post(400, "/v2/import", `{"source":{"type":"container","settings":{"name":"in"}}}`)
	w.post(400, "/v2/import", `{"source":{"type":"container","settings":{"name":"out"}}}`)
	w.want(404, "GET", "/v2/operations/0123/errors")
}

func TestImport(t *testing.T) {
	w, p := withPlaces(t, dicom.Config{SmallFile: 2000})
	for i := range 250 {
		p.in[fmt.Sprintf("a/%03d.dcm", i)] = made(t, "1.2", "1.2.1", fmt.Sprintf("1.2.1.%d", i+1))
	}
	p.in["a/again.dcm"] = p.in["a/001.dcm"]
	p.in["a/readme.txt"] = []byte("no image")
	p.in["a/gone.dcm"] = nil
	p.in["b/mr.dcm"] = file(t, "MR_small_RLE.dcm") // large here
	p.in["c/1.dcm"] = made(t, "1.9", "1.9.1", "1.9.1.1")

	status, results := w.operation(w.post(202, "/v2/import", `{"source":{"type":"container","settings":{"name":"in","prefix":"a/"}}}`))
	if status != "succeeded" || results["imported"] != 250.0 || results["skipped"] != 1.0 || results["failed"] != 2.0 {
		t.Fatal(status, results)
	}
	href := results["errorHref"].(string)
	errs := w.want(200, "GET", href[strings.Index(href, "/v2/"):])
	if strings.Count(errs, "\n") != 2 || !strings.Contains(errs, `"Identifier":"a/readme.txt","Error":"The file cannot be stored: reason 272.`) || !strings.Contains(errs, `"Identifier":"a/gone.dcm","Error":"The file is not there any more."`) {
		t.Error(errs)
	}
	if got := len(w.find("/v2/studies/1.2/instances?limit=200", "00080018")); got != 200 {
		t.Error(got)
	}
	// Once more, and the rest.
	_, results = w.operation(w.post(202, "/v2/import", `{"source":{"type":"container","settings":{"name":"in"}}}`))
	if results["imported"] != 2.0 || results["skipped"] != 251.0 || results["failed"] != 2.0 {
		t.Error(results)
	}
}

func TestExportOfPartition(t *testing.T) {
	w, p := withPlaces(t, dicom.Config{Partitions: true})
	w.stow(200, "/v2/partitions/a/studies", made(t, "1.2", "1.2.1", "1.2.1.1"))
	w.stow(200, "/v2/partitions/b/studies", made(t, "1.2", "1.2.1", "1.2.1.2"))
	_, results := w.operation(w.post(202, "/v2/partitions/b/export", exportBody(toOut, "1.2")))
	if results["exported"] != 1.0 || !slices.ContainsFunc(slices.Collect(maps.Keys(p.out)), func(k string) bool { return strings.HasSuffix(k, "1.2.1.2.dcm") }) {
		t.Error(results)
	}
	p.in["x"] = made(t, "1.4", "1.4.1", "1.4.1.1")
	w.operation(w.post(202, "/v2/partitions/new/import", `{"source":{"type":"container","settings":{"name":"in"}}}`))
	w.want(200, "GET", "/v2/partitions/new/studies/1.4/metadata")
	w.post(400, "/v2/export", exportBody(toOut, "1.2"))
}
