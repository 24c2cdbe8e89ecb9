package search_test

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

	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// fixture is a resource with its index entries.
type fixture struct {
	typ, id string
	values  search.Values
	root    resource.Node
}

const base = "http://example.org/base"

// resolve makes absolute references to the service local.
func resolve(ref string) (typ, id string, ok bool) {
	rest, ok := strings.CutPrefix(ref, base+"/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

func extract(t testing.TB, src string) fixture {
	t.Helper()
	doc := &resource.Doc{}
	if err := doc.Parse([]byte(src), resource.Options{}); err != nil {
		t.Fatalf("%v in %s", err, src)
	}
	f := fixture{root: doc.Root(), typ: doc.Root().Get("resourceType").Text(), id: doc.Root().Get("id").Text()}
	if err := search.Default().Extract(doc.Root(), resolve, &f.values); err != nil {
		t.Fatal(err)
	}
	return f
}

// options are the rules that the rows of a mode hold under.
var options = map[string][]search.ParseOptions{
	"spec":    {{}},
	"overlap": {{DateOverlap: true}},
	"exact":   {{NumberExact: true}},
	"both":    {{}, {DateOverlap: true, NumberExact: true}},
	"ahds":    {{DateOverlap: true, NumberExact: true, AHDS: true}},
	"error":   {{}},
}

func parse(t testing.TB, query string, opt search.ParseOptions) (*search.Query, *search.Result, error) {
	t.Helper()
	typ, raw, _ := strings.Cut(query, "?")
	// The tables are easier to read with blanks and bars as they are.
	raw = strings.NewReplacer(" ", "%20", "{", "%7B", "}", "%7D").Replace(raw)
	params, err := url.ParseQuery(raw)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	opt.Base, opt.Terms = base, terms{}
	opt.Now = time.Date(2020, 5, 11, 0, 0, 0, 0, time.UTC)
	var types []string
	if typ != "" {
		types = strings.Split(typ, ",")
	}
	return search.Default().Parse(types, nil, params, raw, opt)
}

// terms is a small terminology.
type terms struct{}

func (terms) Codes(url string) ([]search.Coding, error) {
	switch url {
	case "http://example.org/empty":
		return nil, nil
	case "http://example.org/vs":
		return []search.Coding{{System: "s1", Code: "code1"}, {System: "s2", Code: "code2"}}, nil
	}
	return nil, errors.New("the value set is not known")
}

func (terms) Related(c search.Coding, below bool) ([]search.Coding, error) {
	if below {
		return []search.Coding{c, {System: c.System, Code: c.Code + "1"}, {System: c.System, Code: c.Code + "2"}}, nil
	}
	return []search.Coding{c, {System: c.System, Code: c.Code[:len(c.Code)-1]}}, nil
}

// TestMatch runs the tables of testdata: "resource" lines load, every other
// line is a mode, a search and the ids it finds.
func TestMatch(t *testing.T) {
	for _, name := range []string{"date", "number", "quantity", "token", "string", "reference", "uri", "composite", "filter", "text", "near"} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var fixtures []fixture
			lines := bufio.NewScanner(f)
			lines.Buffer(nil, 1<<20)
			for n := 1; lines.Scan(); n++ {
				mode, rest, _ := strings.Cut(lines.Text(), " ")
				switch {
				case mode == "" || mode[0] == '#':
				case mode == "resource":
					fixtures = append(fixtures, extract(t, rest))
				case options[mode] == nil:
					t.Fatalf("line %d: unknown mode %q", n, mode)
				default:
					query, want, _ := strings.Cut(strings.TrimSpace(rest)+" ", " -> ")
					row(t, n, mode, strings.TrimSpace(query), strings.Fields(want), fixtures)
				}
			}
		})
	}
}

func row(t *testing.T, n int, mode, query string, want []string, fixtures []fixture) {
	t.Helper()
	query = strings.TrimSuffix(query, " ->")
	for _, opt := range options[mode] {
		q, res, err := parse(t, query, opt)
		if mode == "error" {
			if err == nil {
				t.Errorf("line %d: %s: no error", n, query)
			}
			continue
		}
		if err != nil || len(res.Warnings) > 0 {
			t.Errorf("line %d: %s: error %v, warnings %v", n, query, err, res)
			continue
		}
		got := []string{}
		subjects := make([]search.Subject, len(fixtures))
		for i, f := range fixtures {
			subjects[i] = search.Subject{Type: f.typ, ID: f.id, Values: &f.values, Doc: func() resource.Node { return f.root }}
		}
		candidates := search.NewIndex(subjects).Candidates(q)
		for i, f := range fixtures {
			if search.Match(q, subjects[i], nil) {
				got = append(got, f.id)
				if !slices.Contains(candidates, i) {
					t.Errorf("line %d: %s finds %s, which is no candidate", n, query, f.id)
				}
			}
		}
		if d := cmp.Diff(append([]string{}, want...), got); d != "" {
			t.Errorf("line %d: %s %s (-want +got):\n%s", n, mode, query, d)
		}
	}
}
