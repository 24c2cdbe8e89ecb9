package oracle

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// The truth tables of spec/search hold for the language; here the same rows are
// asked of the stores.

const tables = "../../spec/search/testdata"

var tableOptions = map[string][]search.ParseOptions{
	"spec":    {{}},
	"overlap": {{DateOverlap: true}},
	"exact":   {{NumberExact: true}},
	"both":    {{}, {DateOverlap: true, NumberExact: true}},
	"ahds":    {{DateOverlap: true, NumberExact: true, AHDS: true}},
}

func TestTables(t *testing.T) {
	names, _ := filepath.Glob(filepath.Join(tables, "*.txt"))
	if len(names) < 8 {
		t.Fatalf("%d tables in %s", len(names), tables)
	}
	own, _ := filepath.Glob("testdata/*.txt") // those that need several resources
	names = append(names, own...)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sql, err := fhirsql.Open(t.Context(), filepath.Join(t.TempDir(), "fhir.db"), search.Default(), fhirsql.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer sql.Close()
			stores := map[string]fhir.Store{"sql": sql, "memory": fhirtest.NewMemory(search.Default())}
			lines := bufio.NewScanner(strings.NewReader(string(text)))
			lines.Buffer(nil, 1<<20)
			for n := 1; lines.Scan(); n++ {
				mode, rest, _ := strings.Cut(lines.Text(), " ")
				switch {
				case mode == "resource":
					for _, s := range stores {
						put(t, s, rest)
					}
				case tableOptions[mode] != nil:
					query, want, _ := strings.Cut(strings.TrimSpace(rest)+" ", " -> ")
					query = strings.TrimSuffix(strings.TrimSpace(query), " ->")
					for kind, s := range stores {
						tableRow(t, n, kind, s, mode, query, strings.Fields(want))
					}
				}
			}
		})
	}
}

func put(t *testing.T, s fhir.Store, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, tableBase+"/", "") // as the service would have stored them
	var d resource.Doc
	if err := d.Parse([]byte(text), resource.Options{}); err != nil {
		t.Fatal(err)
	}
	n, v := d.Root(), &search.Values{}
	if err := search.Default().Extract(n, nil, v); err != nil {
		t.Fatal(err)
	}
	k := fhir.Key{Type: n.Get("resourceType").Text(), ID: n.Get("id").Text()}
	op := fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: k, Stored: n.AppendStored(nil, nil), Values: v}
	if _, err := s.Apply(t.Context(), &fhir.Change{Ops: []fhir.Op{op}}); err != nil {
		t.Fatal(err)
	}
}

const tableBase = "http://example.org/base"

func tableRow(t *testing.T, n int, kind string, s fhir.Store, mode, query string, want []string) {
	t.Helper()
	typ, raw, _ := strings.Cut(query, "?")
	raw = strings.NewReplacer(" ", "%20", "{", "%7B", "}", "%7D").Replace(raw)
	params, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range tableOptions[mode] {
		opt.Base, opt.Terms, opt.DefaultCount, opt.Contained = tableBase, tableTerms{}, 1000, true
		opt.Now = time.Date(2020, 5, 11, 0, 0, 0, 0, time.UTC)
		q, _, err := search.Default().Parse([]string{typ}, nil, params, raw, opt)
		if err != nil {
			t.Errorf("line %d: %v", n, err)
			continue
		}
		q.Total = search.TotalAccurate
		page, err := s.Search(t.Context(), q)
		if err != nil {
			t.Errorf("line %d: %s: %s: %v", n, kind, query, err)
			continue
		}
		got := []string{}
		for i := range page.Records {
			got = append(got, page.Records[i].ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(append([]string{}, want...), got); d != "" || page.Total != int64(len(want)) {
			t.Errorf("line %d: %s: %s, total %d (-want +got):\n%s", n, kind, query, page.Total, d)
		}
	}
}

// tableTerms is the terminology of the tables.
type tableTerms struct{}

func (tableTerms) Codes(url string) ([]search.Coding, error) {
	switch url {
	case "http://example.org/empty":
		return nil, nil
	case "http://example.org/vs":
		return []search.Coding{{System: "s1", Code: "code1"}, {System: "s2", Code: "code2"}}, nil
	}
	return nil, errors.New("the value set is not known")
}

func (tableTerms) Related(c search.Coding, below bool) ([]search.Coding, error) {
	if below {
		return []search.Coding{c, {System: c.System, Code: c.Code + "1"}, {System: c.System, Code: c.Code + "2"}}, nil
	}
	return []search.Coding{c, {System: c.System, Code: c.Code[:len(c.Code)-1]}}, nil
}
