package fhirsql

import (
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
	"github.com/hygeia-health/hygeia/spec/ucum"
)

// The index rows of a resource, in the order of the tables' keys.
type (
	tokRow struct {
		p      int64
		c      string
		s, pat int64
		rid    int64
	}
	refRow struct{ h, p, rid int64 }
	strRow struct {
		p   int64
		v   string
		rid int64
	}
	// txtRow says which codes have a text, for :text. It belongs to no resource
	// and is never removed: the bodies decide.
	txtRow struct {
		p int64
		v string
		c string
		s int64
	}
	datRow struct{ p, lo, hi, rid int64 }
	qtyRow struct {
		p    int64
		v, w float64
		s    int64
		c    string
		rid  int64
	}
	cvqRow struct {
		p    int64
		c    string
		s    int64
		v, w float64
		us   int64
		uc   string
		rid  int64
	}
)

// null is the value of a slot that is empty.
const null = int64(-1 << 63)

// resRow is the narrow row of a resource.
type resRow struct {
	has          int64 // search.Param.Bit of the parameters that have a value
	st, pat, enc int64
	d, e         [3]int64
}

// rows are all index rows of one resource.
type rows struct {
	res resRow
	tok []tokRow
	ref []refRow
	str []strRow
	dat []datRow
	qty []qtyRow
	cvq []cvqRow
	txt []txtRow
}

// maxKeptRows is for how many rows the memory is kept: one resource may have millions.
const maxKeptRows = 1 << 17

func (r *rows) reset() {
	if cap(r.tok)+cap(r.ref)+cap(r.str)+cap(r.dat)+cap(r.qty)+cap(r.cvq)+cap(r.txt) > maxKeptRows {
		*r = rows{}
	}
	r.tok, r.ref, r.str, r.dat, r.qty, r.cvq = r.tok[:0], r.ref[:0], r.str[:0], r.dat[:0], r.qty[:0], r.cvq[:0]
	r.txt = r.txt[:0]
	r.res = resRow{st: null, pat: null, enc: null, d: [3]int64{null, null, null}, e: [3]int64{null, null, null}}
}

// build turns the index entries of a resource into rows, giving ids to the
// names it meets. Writer only.
func (s *Store) build(c *db.Conn, typ string, rid int64, v *search.Values, out *rows) error {
	out.reset()
	b := builder{s: s, c: c, lay: s.layouts.of(typ), rid: rid, out: out}
	if typ == "Patient" {
		out.res.pat = rid
	}
	out.res.has = presence(v)
	b.references(v.References)
	if b.pat = out.res.pat; b.pat == null {
		b.pat = 0
	}
	b.tokens(v.Tokens)
	b.uris(v.URIs)
	b.dates(v.Dates)
	b.numbers(v.Numbers)
	b.strings(v.Strings)
	b.composites(v.Composites)
	return b.err
}

type builder struct {
	s   *Store
	c   *db.Conn
	lay *layout
	rid int64
	pat int64
	out *rows
	err error
}

func (b *builder) param(p *search.Param) int64 {
	if id := b.s.paramID(p); id != 0 {
		return id
	}
	return b.give(b.s.params, p.Key())
}

func (b *builder) system(name string) int64 {
	if name == "" {
		return 0
	}
	return b.give(b.s.systems, name)
}

func (b *builder) give(d *dict, name string) int64 {
	id, err := d.give(b.c, name)
	if err != nil && b.err == nil {
		b.err = err
	}
	return id
}

func (b *builder) intern(k fhir.Key) int64 {
	rid, err := b.s.intern(b.c, k)
	if err != nil && b.err == nil {
		b.err = err
	}
	return rid
}

func (b *builder) references(list []search.ReferenceValue) {
	for i := range list {
		r := &list[i]
		if r.Type == "" && r.URL == "" { // a bare id whose type is not known
			b.out.ref = append(b.out.ref, refRow{b.intern(fhir.Key{ID: r.ID}), b.param(r.Param), b.rid})
			continue
		}
		if r.Type == "" {
			b.out.ref = append(b.out.ref, refRow{b.intern(fhir.Key{ID: r.URL}), b.param(r.Param), b.rid})
			for _, url := range search.Shorter(r.URL) {
				b.out.ref = append(b.out.ref, refRow{b.intern(fhir.Key{ID: url}), b.param(r.Param), b.rid})
			}
			continue
		}
		h := b.intern(fhir.Key{Type: r.Type, ID: r.ID})
		switch {
		case r.Param == b.lay.patient && r.Type == "Patient":
			b.out.res.pat = h
		case r.Param == b.lay.enc && r.Type == "Encounter":
			b.out.res.enc = h
		default:
			b.out.ref = append(b.out.ref, refRow{h, b.param(r.Param), b.rid})
		}
	}
}

func (b *builder) tokens(list []search.TokenValue) {
	for i := range list {
		t := &list[i]
		if t.Text != "" {
			b.text(t)
		}
		if t.Param == b.lay.status && t.Code != "" {
			b.out.res.st = b.system(t.Code)
		}
		b.out.tok = append(b.out.tok, tokRow{b.param(t.Param), short(t.Code), b.system(t.System), b.pat, b.rid})
	}
}

// text notes which code a text belongs to.
func (b *builder) text(t *search.TokenValue) {
	v := search.Fold(t.Text)
	if v == "" {
		return
	}
	row := txtRow{b.param(t.Param), b.s.dialect.str(v), short(t.Code), b.system(t.System)}
	if _, ok := b.s.texts[row]; ok {
		return
	}
	row.v, row.c = strings.Clone(row.v), strings.Clone(row.c)
	if len(b.s.texts) >= textCache {
		clear(b.s.texts)
	}
	b.s.texts[row] = struct{}{}
	b.out.txt = append(b.out.txt, row)
}

// textCache is how many rows of txt are remembered.
const textCache = 50_000

// presence returns the bits of the parameters that have an entry. What stands
// behind a modifier counts for its parameter.
func presence(v *search.Values) (has int64) {
	add := func(p *search.Param) {
		if p.Of != nil {
			p = p.Of
		}
		if p.Bit >= 0 && p.Bit < maxBit {
			has |= 1 << p.Bit
		}
	}
	for i := range v.Tokens {
		add(v.Tokens[i].Param)
	}
	for i := range v.References {
		add(v.References[i].Param)
	}
	for i := range v.Dates {
		add(v.Dates[i].Param)
	}
	for i := range v.Numbers {
		add(v.Numbers[i].Param)
	}
	for i := range v.Strings {
		add(v.Strings[i].Param)
	}
	for i := range v.URIs {
		add(v.URIs[i].Param)
	}
	for i := range v.Composites {
		add(v.Composites[i].Param)
	}
	return has
}

// maxBit is the number of bits of res.has, without the sign.
const maxBit = 63

func (b *builder) uris(list []search.URIValue) {
	for i := range list {
		p := b.param(list[i].Param)
		b.out.tok = append(b.out.tok, tokRow{p, short(list[i].URI), 0, b.pat, b.rid})
		for _, url := range search.Shorter(list[i].URI) {
			b.out.tok = append(b.out.tok, tokRow{p, short(url), 0, b.pat, b.rid})
		}
	}
}

func (b *builder) dates(list []search.DateValue) {
	for i := range list {
		d := &list[i]
		if n := b.lay.dateSlot(d.Param); n > 0 {
			b.out.res.d[n-1], b.out.res.e[n-1] = d.Lo, d.Hi-d.Lo
			continue
		}
		b.out.dat = append(b.out.dat, datRow{b.param(d.Param), d.Lo, d.Hi, b.rid})
	}
}

func (b *builder) numbers(list []search.NumberValue) {
	for i := range list {
		n := &list[i]
		p, sys := b.param(n.Param), b.system(n.System)
		if n.System == ucum.System && n.Code != "" {
			b.give(b.s.units, n.Code)
		}
		b.out.qty = append(b.out.qty, qtyRow{p, n.Lo, n.Hi, sys, short(n.Code), b.rid})
		if n.Unit != "" && n.Unit != n.Code { // `5||mg` finds a code or a unit
			b.out.qty = append(b.out.qty, qtyRow{p, n.Lo, n.Hi, unitOnly, short(n.Unit), b.rid})
		}
	}
}

// unitOnly is the system of a quantity row that holds the human unit.
const unitOnly = -1

func (b *builder) strings(list []search.StringValue) {
	for i := range list {
		if list[i].Norm != "" {
			b.out.str = append(b.out.str, strRow{b.param(list[i].Param), b.s.dialect.str(list[i].Norm), b.rid})
		}
	}
}

// composites keeps token-quantity combinations; others are searched by their
// parts and checked against the body.
func (b *builder) composites(list []search.CompositeValue) {
	for i := range list {
		v := &list[i]
		if !isTokenQuantity(v.Param) || len(v.Parts) != 2 {
			continue
		}
		p := b.param(v.Param)
		for _, t := range v.Parts[0].Tokens {
			if t.Code == "" {
				continue
			}
			for _, n := range v.Parts[1].Numbers {
				b.out.cvq = append(b.out.cvq, cvqRow{p, short(t.Code), b.system(t.System), n.Lo, n.Hi, b.system(n.System), short(n.Code), b.rid})
			}
		}
	}
}

func isTokenQuantity(p *search.Param) bool {
	return p.Kind == search.Composite && len(p.Components) == 2 &&
		p.Components[0].Param.Kind == search.Token && p.Components[1].Param.Kind == search.Quantity
}

// less removes from a and b the rows that both have: what is left of a has to
// be deleted, what is left of b inserted.
func less[R comparable](a, b []R) (gone, fresh []R) {
	in := make(map[R]bool, len(a))
	for _, r := range a {
		in[r] = true
	}
	for _, r := range b {
		if _, ok := in[r]; ok {
			in[r] = false
		} else {
			fresh = append(fresh, r)
		}
	}
	for _, r := range a {
		if in[r] {
			gone = append(gone, r)
		}
	}
	return gone, fresh
}
