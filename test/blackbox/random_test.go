package blackbox

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	randomSeed = flag.Uint64("random.seed", 0, "seed of TestRandomRequests; 0 = another one each time")
	randomTime = flag.Duration("random.time", 4*time.Second, "how long TestRandomRequests goes on")
)

// TestRandomRequests sends requests that are nearly right: examples of the
// specification with a part changed, searches by what the CapabilityStatement lists
// with values that do not fit, Bundles of both. Several clients do so at once, so
// that memory of one request is soon that of another. Every answer keeps the
// invariants, and the server is there at the end.
func TestRandomRequests(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random.seed=%d", seed)
	p := start(t, t.TempDir())
	params, examples := parametersOf(t, p.url+"/default/fhir"), exampleTexts(t)
	var wg sync.WaitGroup
	for i, base := range []string{p.url + "/default/fhir", p.url + "/default/fhir", p.service(t, "random", `{"compat":"ahds"}`)} {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(i))), base: base, params: params, examples: examples}
		wg.Go(func() {
			for end := time.Now().Add(*randomTime); time.Now().Before(end) && !t.Failed(); {
				r := g.request()
				if a := r.do(t); a.status != http.StatusServiceUnavailable { // others wrote the same all the time
					invariants(t, r, a)
				}
				if t.Failed() {
					t.Logf("%s %s\n%v\n%s", r.method, r.url, r.header, r.body)
				}
			}
		})
	}
	wg.Wait()
	if log := p.log.String(); strings.Contains(log, "panic") {
		t.Errorf("a panic: %.3000s", log)
	}
	p.stop(t)
}

// parametersOf are the search parameters of each type.
func parametersOf(t *testing.T, base string) map[string][]string {
	var statement struct {
		Rest []struct {
			Resource []struct {
				Type        string
				SearchParam []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(request{method: "GET", url: base + "/metadata"}.do(t).body, &statement); err != nil || len(statement.Rest) == 0 {
		t.Fatalf("the CapabilityStatement: %v", err)
	}
	out := map[string][]string{}
	for _, r := range statement.Rest[0].Resource {
		for _, p := range r.SearchParam {
			out[r.Type] = append(out[r.Type], p.Name)
		}
	}
	return out
}

func exampleTexts(t *testing.T) (list []string) {
	files, err := filepath.Glob("../../spec/profile/testdata/examples/*.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(text))
	}
	return list
}

// generator makes requests.
type generator struct {
	*rand.Rand
	base     string
	params   map[string][]string
	types    []string
	examples []string
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

var (
	controls  = []string{"_id", "_lastUpdated", "_tag", "_profile", "_source", "_text", "_content", "_list", "_type", "_sort", "_count", "_include", "_revinclude", "_include:iterate", "_summary", "_total", "_elements", "_contained", "_containedType", "_filter", "_not-referenced", "_format", "_pretty", "ct", "_explain", "_since", "_at", "_unknown"}
	modifiers = []string{"exact", "contains", "not", "text", "in", "above", "below", "of-type", "missing", "identifier", "Patient", "iterate", "unknown", ""}
	oddValues = []string{"1", "a", "a,b", ",", "Patient/1", "http://loinc.org|8302-2", "|x", "x|", "||", "a$b", "2020", "gt2020-01", "ne5", "ap1e2", "5.40|http://unitsofmeasure.org|mg", "5||mg", "1e400", "NaN", "\\", "\\,", "\x00", "\xff", "%", "é", "http://x|1#f", "2020-13", "42.1|-71.2|10|km", "*", "*:*", "Patient:name", `name eq "x"`, `(name co "x" or not (gender eq male))`, "((", strings.Repeat("a", 3000), "9223372036854775808", "true", "-name,birthdate", "\u202e"}
	oddJSON   = []string{"null", "0", "-1", "1e400", "01", "true", "[]", "{}", `"x"`, `""`, `[null]`, `{"a":1}`, `"2020-02-30"`, `"\ud800"`, `[[[]]]`, "99999999999999999999999999"}
	oddBytes  = []string{"", "\"", "{", "}", "[", "]", ",", ":", "\\", "\x00", "é", "\xff", "0", "-", "null"}
)

func (g *generator) anyType() string {
	if g.types == nil {
		for t := range g.params {
			g.types = append(g.types, t)
		}
		slices.Sort(g.types)
	}
	return pick(g, g.types...)
}

func (g *generator) request() request {
	header := http.Header{}
	if g.IntN(4) == 0 {
		header.Set("Prefer", pick(g, "handling=strict", "handling=lenient", "return=minimal", "x"))
	}
	typ := g.anyType()
	switch g.IntN(8) {
	case 0, 1, 2:
		path := pick(g, "/"+typ, "/"+typ, "/"+typ, "", "/"+typ+"/_history", "/Patient/1/*", "/Patient/1/"+typ)
		return request{method: "GET", url: g.base + path + "?" + g.query(typ), header: header}
	case 3:
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return request{method: "POST", url: g.base + "/" + typ + "/_search", header: header, body: []byte(g.query(typ))}
	case 4, 5, 6:
		text := pick(g, g.examples...)
		typ, id := nameOf(text)
		if g.IntN(3) == 0 {
			header.Set("If-None-Exist", g.query(typ))
		}
		if g.IntN(2) == 0 {
			return request{method: "POST", url: g.base + "/" + typ, header: header, body: g.changed(text)}
		}
		return request{method: "PUT", url: g.base + "/" + typ + "/" + id, header: header, body: g.changed(text)}
	}
	return request{method: "POST", url: g.base, header: header, body: g.bundle()}
}

// query is one to three parameters.
func (g *generator) query(typ string) string {
	var list []string
	for range 1 + g.IntN(3) {
		name := pick(g, controls...)
		if own := g.params[typ]; len(own) > 0 && g.IntN(5) > 1 {
			name = pick(g, own...)
		}
		other := g.anyType()
		switch g.IntN(8) {
		case 0:
			name += ":" + pick(g, modifiers...)
		case 1:
			name += pick(g, ".", ":"+other+".") + pick(g, g.params[other]...)
		case 2:
			name = "_has:" + other + ":" + pick(g, g.params[other]...) + ":" + pick(g, g.params[other]...)
		}
		value := pick(g, oddValues...)
		if strings.HasPrefix(name, "_include") || name == "_revinclude" {
			value = pick(g, typ, other) + ":" + pick(g, g.params[other]...)
		}
		list = append(list, url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	return strings.Join(list, "&")
}

func nameOf(text string) (typ, id string) {
	var r struct{ ResourceType, ID string }
	_ = json.Unmarshal([]byte(text), &r) // what is not there stays empty
	return r.ResourceType, r.ID
}

// changed is a resource, most times with a wrong value or wrong bytes in it.
func (g *generator) changed(text string) []byte {
	switch g.IntN(4) {
	case 0:
		at := g.IntN(len(text))
		return []byte(text[:at] + pick(g, oddBytes...) + text[min(at+g.IntN(4), len(text)):])
	case 1, 2:
		var members map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &members) != nil {
			break
		}
		members[g.inside(members)] = json.RawMessage(pick(g, oddJSON[:4]...))
		if out, err := json.Marshal(members); err == nil {
			return []byte(strings.Replace(string(out), `"x"`, pick(g, oddJSON...), 1))
		}
	}
	return []byte(text)
}

func (g *generator) inside(members map[string]json.RawMessage) string {
	names := make([]string, 0, len(members))
	for n := range members {
		names = append(names, n)
	}
	slices.Sort(names)
	return pick(g, names...)
}

func (g *generator) bundle() []byte {
	type call struct {
		Method      string `json:"method"`
		URL         string `json:"url"`
		IfNoneExist string `json:"ifNoneExist,omitempty"`
	}
	type entry struct {
		FullURL  string          `json:"fullUrl,omitempty"`
		Resource json.RawMessage `json:"resource,omitempty"`
		Request  call            `json:"request"`
	}
	var entries []entry
	for range g.IntN(5) {
		text := pick(g, g.examples...)
		typ, id := nameOf(text)
		e := entry{Resource: json.RawMessage(text), Request: call{Method: pick(g, "POST", "PUT", "GET", "DELETE", "PATCH", "x")}}
		e.Request.URL = pick(g, typ, typ+"/"+id, typ+"?"+g.query(typ), "", "http://x/y", "_history")
		e.FullURL = pick(g, "", "urn:uuid:00000000-0000-0000-0000-000000000001", "http://a/"+typ+"/1", "x")
		if g.IntN(8) == 0 {
			e.Request.IfNoneExist = g.query(typ)
		}
		entries = append(entries, e)
	}
	out, err := json.Marshal(map[string]any{"resourceType": "Bundle", "type": pick(g, "batch", "transaction", "x"), "entry": entries})
	if err != nil {
		panic(err) // examples are JSON
	}
	return out
}
