package bench

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// resources returns the text of every resource of the sample.
func resources(b *testing.B) [][]byte {
	b.Helper()
	d, err := readData("")
	if err != nil {
		b.Fatal(err)
	}
	var out [][]byte
	for _, t := range d.templates {
		var doc resource.Doc
		if err := doc.Parse(t.raw, resource.Options{}); err != nil {
			b.Fatal(err)
		}
		for e := range doc.Root().Get("entry").Children() {
			out = append(out, e.Get("resource").AppendCompact(nil))
		}
	}
	return out
}

// parsed returns the same resources, parsed.
func parsed(b *testing.B) []*resource.Doc {
	b.Helper()
	var out []*resource.Doc
	for _, src := range resources(b) {
		d := new(resource.Doc)
		if err := d.Parse(src, resource.Options{}); err != nil {
			b.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// BenchmarkParse parses one resource.
func BenchmarkParse(b *testing.B) {
	all := resources(b)
	var n int64
	for _, src := range all {
		n += int64(len(src))
	}
	b.SetBytes(n / int64(len(all)))
	var d resource.Doc
	i := 0
	for b.Loop() {
		if err := d.Parse(all[i%len(all)], resource.Options{}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkValidate checks one resource against its base definition.
func BenchmarkValidate(b *testing.B) {
	docs := parsed(b)
	i := 0
	for b.Loop() {
		if issues := profile.Check(docs[i%len(docs)].Root(), ""); len(issues) > 0 {
			b.Fatal(issues[0])
		}
		i++
	}
}

// BenchmarkExtract makes the index values of one resource.
func BenchmarkExtract(b *testing.B) {
	docs, reg := parsed(b), search.Default()
	var v search.Values
	i := 0
	for b.Loop() {
		v.Reset()
		if err := reg.Extract(docs[i%len(docs)].Root(), nil, &v); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkStored makes the stored form of one resource.
func BenchmarkStored(b *testing.B) {
	docs := parsed(b)
	var buf []byte
	i := 0
	for b.Loop() {
		buf = docs[i%len(docs)].Root().AppendStored(buf[:0], nil)
		i++
	}
}

// BenchmarkParseQuery reads the parameters of a common search.
func BenchmarkParseQuery(b *testing.B) {
	const raw = "patient=123&code=http://loinc.org|8302-2&_sort=-date&_count=10"
	params, err := url.ParseQuery(raw)
	if err != nil {
		b.Fatal(err)
	}
	reg := search.Default()
	for b.Loop() {
		if _, _, err := reg.Parse([]string{"Observation"}, nil, params, raw, search.ParseOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// service opens a service on a new database.
func service(b *testing.B) *fhir.Service {
	b.Helper()
	reg := search.Default()
	store, err := fhirsql.Open(b.Context(), filepath.Join(b.TempDir(), "fhir.db"), reg, fhirsql.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	svc, err := fhir.New(fhir.Deps{Store: store, Search: reg})
	if err != nil {
		b.Fatal(err)
	}
	return svc
}

// create makes an Observation of a patient and returns its id.
func create(ctx context.Context, svc *fhir.Service, patient string, n int64) (string, error) {
	var d resource.Doc
	if err := d.Parse(appendObservation(nil, "", patient, n), resource.Options{}); err != nil {
		return "", err
	}
	r, err := svc.Do(ctx, &fhir.Interaction{Verb: fhir.VerbCreate, Method: "POST", Type: "Observation", Body: d.Root()})
	if err != nil {
		return "", err
	}
	return r.Record.ID, nil
}

// BenchmarkWrite creates Observations, each in a durable commit that it shares
// only with those that wait at the same time.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			svc := service(b)
			b.SetParallelism(writers) // per CPU
			b.RunParallel(func(pb *testing.PB) {
				for n := int64(0); pb.Next(); n++ {
					if _, err := create(b.Context(), svc, fmt.Sprint(n%100), n); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// filled returns a service with Observations of a hundred patients, and their ids.
func filled(b *testing.B) (*fhir.Service, []string) {
	b.Helper()
	svc := service(b)
	var ids []string
	for n := range int64(3000) {
		id, err := create(b.Context(), svc, fmt.Sprint(n%100), n)
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	return svc, ids
}

// BenchmarkRead reads one resource by its id.
func BenchmarkRead(b *testing.B) {
	svc, ids := filled(b)
	i := 0
	for b.Loop() {
		in := fhir.Interaction{Verb: fhir.VerbRead, Method: "GET", Type: "Observation", ID: ids[i%len(ids)]}
		if _, err := svc.Do(b.Context(), &in); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkSearch asks for one code of one patient, newest first.
func BenchmarkSearch(b *testing.B) {
	svc, _ := filled(b)
	i := 0
	for b.Loop() {
		raw := fmt.Sprintf("patient=%d&code=%s|c%d&_sort=-date", i%50, benchSystem, i%50)
		params, err := url.ParseQuery(raw)
		if err != nil {
			b.Fatal(err)
		}
		r, err := svc.Do(b.Context(), &fhir.Interaction{Verb: fhir.VerbSearch, Method: "GET", Type: "Observation", Params: params, RawQuery: raw})
		if err != nil {
			b.Fatal(err)
		}
		if len(r.Page.Records) == 0 {
			b.Fatalf("%s finds nothing", raw)
		}
		i++
	}
}
