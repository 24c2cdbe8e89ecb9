package oracle

import (
	"cmp"
	"compress/gzip"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirsql"
	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/db/dbtest"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

const base = "http://localhost/fhir"

// one is a resource with its index entries.
type one struct {
	key    fhir.Key
	doc    *resource.Doc
	values *search.Values
	millis int64
}

// TestSearch compares random searches, with both ways to follow a chain. HYGEIA_ORACLE_SEED repeats a run,
// HYGEIA_ORACLE_SEARCHES makes it longer.
func TestSearch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, path string) { compareAll(t, path, fhirsql.Options{Limits: fhirsql.Limits{List: 1}}) })
	t.Run("tested", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, path string) {
			compareAll(t, path, fhirsql.Options{Limits: fhirsql.Limits{Gather: 2, Sort: 2, Window: 3}})
		})
	})
}

func compareAll(t *testing.T, path string, opt fhirsql.Options) {
	opt.DB = db.Options{MaxGroup: 2000}
	reg := search.Default()
	seed := number("HYGEIA_ORACLE_SEED", time.Now().UnixNano())
	t.Logf("HYGEIA_ORACLE_SEED=%d", seed)
	w := &world{T: t, reg: reg, r: rand.New(rand.NewPCG(uint64(seed), 1)), byType: map[string][]*one{}, byKey: map[fhir.Key]*one{}}
	s, err := fhirsql.Open(t.Context(), path, reg, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.s = s
	w.load(t)
	if opt.Limits.Gather > 0 {
		if err := s.IndexWords(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	answered := 0
	for range number("HYGEIA_ORACLE_SEARCHES", 2000) {
		if w.compare() {
			answered++
		}
	}
	t.Logf("%d searches found something", answered)
	if answered == 0 {
		t.Error("no search found anything: the test compares nothing")
	}
}

func number(name string, def int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return def
}

type world struct {
	*testing.T
	reg    *search.Registry
	s      fhir.Store
	r      *rand.Rand
	byType map[string][]*one
	byKey  map[fhir.Key]*one
	types  []string
}

// load stores the resources of the sample, and the official examples that the
// tests of validation bring along.
func (w *world) load(t *testing.T) {
	var c fhir.Change
	seen := map[fhir.Key]bool{}
	add := func(text []byte) {
		d := &resource.Doc{}
		if err := d.Parse(text, resource.Options{}); err != nil {
			t.Fatal(err)
		}
		if d.Root().Get("type").Text() == "transaction" { // references as the service would have stored them
			if err := d.Parse(local(d.Root(), text), resource.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range resources(d.Root()) {
			o := &one{key: fhir.Key{Type: n.Get("resourceType").Text(), ID: n.Get("id").Text()}, doc: d, values: &search.Values{}}
			if o.key.ID == "" || seen[o.key] {
				continue
			}
			seen[o.key] = true
			// What a store indexes is what it finds in the stored form.
			stored := n.AppendStored(nil, nil)
			own := &resource.Doc{}
			if err := own.Parse(resource.AppendResource(nil, resource.Header{Type: o.key.Type, ID: o.key.ID}, stored), resource.Options{}); err != nil {
				t.Fatal(err)
			}
			o.doc = own
			if err := w.reg.Extract(own.Root(), nil, o.values); err != nil {
				t.Fatalf("%s: %v", o.key, err)
			}
			w.byKey[o.key] = o
			w.byType[o.key.Type] = append(w.byType[o.key.Type], o)
			c.Ops = append(c.Ops, fhir.Op{Kind: fhir.OpPut, Method: "PUT", Key: o.key, Stored: stored, Values: o.values})
		}
	}
	err := fs.WalkDir(sample.Files(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".json.gz") {
			return err
		}
		f, err := sample.Files().Open(name)
		if err != nil {
			return err
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(z)
		add(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	examples, _ := filepath.Glob("../../spec/profile/testdata/examples/*.json")
	if len(examples) == 0 {
		t.Fatal("no examples in spec/profile/testdata/examples")
	}
	for _, name := range examples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		add(text)
	}
	done, err := w.s.Apply(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	at := map[fhir.Key]int64{}
	for i = range c.Ops {
		at[c.Ops[i].Key] = done[i].Seq.Time().UnixMilli()
	}
	for typ, list := range w.byType {
		w.types = append(w.types, typ)
		for _, o := range list {
			o.millis = at[o.key]
		}
	}
	slices.Sort(w.types)
	t.Logf("%d resources of %d types", len(c.Ops), len(w.types))
}

// local replaces the urn:uuid names of the entries of a Bundle by Type/id.
func local(bundle resource.Node, text []byte) []byte {
	var pairs []string
	for e := range bundle.Get("entry").Children() {
		r := e.Get("resource")
		pairs = append(pairs, `"`+e.Get("fullUrl").Text()+`"`, `"`+r.Get("resourceType").Text()+"/"+r.Get("id").Text()+`"`)
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(text)))
}

func resources(n resource.Node) []resource.Node {
	if n.Get("resourceType").Text() != "Bundle" {
		return []resource.Node{n}
	}
	var out []resource.Node
	for e := range n.Get("entry").Children() {
		out = append(out, e.Get("resource"))
	}
	return out
}

// compare runs one random search on the store and on the model.
func (w *world) compare() bool {
	w.Helper()
	typ := w.types[w.r.IntN(len(w.types))]
	raw := ""
	for range 1 + w.r.IntN(3) {
		if p, ok := w.criterion(typ, 0); ok {
			raw += "&" + p.name + "=" + p.value
		}
	}
	if raw = strings.TrimPrefix(raw, "&"); w.r.IntN(3) == 0 {
		if w.r.IntN(3) == 0 {
			raw = "" // all of the type
		}
		raw = strings.TrimPrefix(raw+w.sort(typ), "&")
	}
	if raw == "" {
		return false
	}
	if w.r.IntN(8) == 0 {
		raw += "&" + w.include(typ)
	}
	vals, err := url.ParseQuery(raw)
	if err != nil {
		w.Fatal(err)
	}
	q, _, err := w.reg.Parse([]string{typ}, nil, vals, raw, search.ParseOptions{Base: base, Strict: true, Now: time.Now()})
	if err != nil {
		w.Fatalf("%s?%s: %v", typ, raw, err)
	}
	var want []string
	for _, o := range w.byType[typ] {
		if search.Match(q, o.subject(), w) {
			want = append(want, o.key.ID)
		}
	}
	q.Count = []int{1, 3, 50, 1000}[w.r.IntN(4)]
	if len(want) > 60 {
		q.Count = max(q.Count, 20)
	}
	q.Total = search.TotalAccurate
	var got []string
	for {
		page, err := w.s.Search(w.Context(), q)
		if err != nil {
			w.Fatalf("%s?%s: %v", typ, raw, err)
		}
		if page.Total != int64(len(want)) {
			w.Fatalf("%s?%s: total %d, want %d", typ, raw, page.Total, len(want))
		}
		w.checkIncluded(typ+"?"+raw, q, page)
		for _, r := range page.Records {
			got = append(got, r.ID)
		}
		if page.Next == "" || len(got) > len(want)+10 {
			break
		}
		q.After = page.Next
	}
	w.checkOrder(typ, raw, q.Sort, got)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.Fatalf("%s?%s (pages of %d):\n got %d %v\nwant %d %v", typ, raw, q.Count, len(got), clip(got), len(want), clip(want))
	}
	return len(want) > 0
}

func clip(list []string) []string { return list[:min(len(list), 20)] }

// param writes one parameter with a value that some resource has.
func (w *world) param(typ string) (fact, bool) {
	ps := w.reg.Params(typ)
	p := ps[w.r.IntN(len(ps))]
	if p.Unsupported != "" || p.Kind == search.Special {
		return fact{}, false
	}
	list := w.byType[typ]
	// Parameters that few resources have a value for need some tries.
	for range 10 {
		if v := w.value(p, list[w.r.IntN(len(list))].values); v != "" {
			if w.r.IntN(6) == 0 {
				if more := w.value(p, list[w.r.IntN(len(list))].values); more != "" {
					v += "," + more
				}
			}
			mod := ""
			switch {
			case p.Kind == search.Token && w.r.IntN(8) == 0:
				mod = ":not"
			case p.Kind == search.Token && w.r.IntN(6) == 0:
				if text := w.display(p, list); text != "" {
					return fact{p.Code + ":text", text}, true
				}
			case p.Kind == search.URI && w.r.IntN(3) == 0:
				mod = []string{":below", ":above"}[w.r.IntN(2)]
			}
			if p.Kind == search.String {
				mod = []string{"", "", ":contains", ":exact"}[w.r.IntN(4)]
			}
			return fact{p.Code + mod, v}, true
		}
	}
	if w.r.IntN(4) == 0 {
		return fact{p.Code + ":missing", []string{"true", "false"}[w.r.IntN(2)]}, true
	}
	return fact{}, false
}

// display picks the beginning of a text that a code has somewhere.
func (w *world) display(p *search.Param, list []*one) string {
	p = w.leaf(p)
	for range 10 {
		o := list[w.r.IntN(len(list))]
		t, ok := pick(w, o.values.Tokens, func(t search.TokenValue) bool { return t.Param == p && strings.TrimSpace(t.Text) != "" })
		if ok {
			r := []rune(strings.TrimSpace(t.Text))
			return url.QueryEscape(esc(strings.TrimSpace(string(r[:1+w.r.IntN(len(r))]))))
		}
	}
	return ""
}

// leaf returns a parameter whose values are extracted.
func (w *world) leaf(p *search.Param) *search.Param {
	for len(p.Parts) > 0 {
		p = p.Parts[w.r.IntN(len(p.Parts))]
	}
	return p
}

func pick[E any](w *world, list []E, ok func(E) bool) (e E, found bool) {
	var in []E
	for _, x := range list {
		if ok(x) {
			in = append(in, x)
		}
	}
	if len(in) == 0 {
		return e, false
	}
	return in[w.r.IntN(len(in))], true
}

var escaper = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `$`, `\$`, `|`, `\|`)

func esc(s string) string { return escaper.Replace(s) }

func (w *world) value(p *search.Param, v *search.Values) string {
	p = w.leaf(p)
	text := w.text(p.Kind, v, func(x *search.Param) bool { return x == p })
	if p.Kind == search.Composite {
		c, ok := pick(w, v.Composites, func(c search.CompositeValue) bool { return c.Param == p })
		if !ok {
			return ""
		}
		var parts []string
		for i := range p.Components {
			part := w.text(p.Components[i].Param.Kind, &c.Parts[i], func(*search.Param) bool { return true })
			if part == "" {
				return ""
			}
			parts = append(parts, part)
		}
		text = strings.Join(parts, "$")
	}
	return url.QueryEscape(text)
}

func (w *world) text(kind search.Kind, v *search.Values, own func(*search.Param) bool) string {
	switch kind {
	case search.Token:
		t, ok := pick(w, v.Tokens, func(t search.TokenValue) bool { return own(t.Param) && t.Code != "" })
		if !ok {
			return ""
		}
		switch w.r.IntN(5) {
		case 0:
			if t.System != "" {
				return esc(t.System) + "|"
			}
			return "|" + esc(t.Code)
		case 1, 2:
			return esc(t.Code)
		}
		return esc(t.System) + "|" + esc(t.Code)
	case search.String:
		s, ok := pick(w, v.Strings, func(s search.StringValue) bool { return own(s.Param) && strings.TrimSpace(s.Text) != "" })
		if !ok {
			return ""
		}
		r := []rune(strings.TrimSpace(s.Text))
		return esc(strings.TrimSpace(string(r[:1+w.r.IntN(min(len(r), 40))])))
	case search.URI:
		u, ok := pick(w, v.URIs, func(u search.URIValue) bool { return own(u.Param) })
		if !ok {
			return ""
		}
		return esc(u.URI)
	case search.Reference:
		r, ok := pick(w, v.References, func(r search.ReferenceValue) bool { return own(r.Param) })
		switch {
		case !ok:
			return ""
		case r.Type == "":
			return esc(cmp.Or(r.URL, r.ID))
		case w.r.IntN(3) == 0:
			return base + "/" + r.Type + "/" + r.ID
		}
		return r.Type + "/" + r.ID
	case search.Date:
		d, ok := pick(w, v.Dates, func(d search.DateValue) bool { return own(d.Param) && d.Lo > search.MinTime && d.Hi < search.MaxTime })
		if !ok {
			return ""
		}
		at := time.UnixMilli([]int64{d.Lo, d.Hi}[w.r.IntN(2)]).UTC()
		at = at.AddDate(0, 0, w.r.IntN(3)-1)
		return prefix(w) + at.Format([]string{"2006", "2006-01", "2006-01-02", "2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000Z"}[w.r.IntN(5)])
	case search.Number, search.Quantity:
		n, ok := pick(w, v.Numbers, func(n search.NumberValue) bool { return own(n.Param) && n.Lo == n.Hi })
		if !ok {
			return ""
		}
		text := prefix(w) + strconv.FormatFloat(n.Lo, 'f', []int{-1, 0, 1}[w.r.IntN(3)], 64)
		if kind == search.Quantity {
			switch w.r.IntN(5) {
			case 4: // perhaps the same in another unit
				text += "|http://unitsofmeasure.org|" + []string{"mg", "g", "cm", "m", "kg", "mm[Hg]", "kPa", "min", "h", "a", "%", "1"}[w.r.IntN(12)]
			case 0:
				text += "|" + esc(n.System) + "|" + esc(n.Code)
			case 1:
				text += "||" + esc(cmp.Or(n.Unit, n.Code))
			}
		}
		return text
	}
	return ""
}

func prefix(w *world) string {
	return []string{"", "", "eq", "ne", "lt", "le", "gt", "ge", "sa", "eb", "ap"}[w.r.IntN(11)]
}
