package fhirsql

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// pred is one condition of a search on one type, as alternatives of index
// ranges. It can drive a search (its ranges are walked) or filter one (each
// candidate is tested).
type pred struct {
	name   string
	alts   []alt
	negate bool    // filter only: none of the alternatives may hold
	group  []*pred // a clause made of others: all hold, or one of them if any is set
	any    bool
	// post is set when the ranges hold all matches and perhaps more: the
	// clause is checked against the body of each candidate.
	post *search.Clause
	// filterOnly predicates do not narrow a walk: :not, :missing, ne.
	filterOnly bool
	slot       int                   // of the date that it is a single range of; 0 = none
	rows       int64                 // counted so far
	known      bool                  // rows is all
	whole      bool                  // all resources of the type, in some order
	inOrder    bool                  // walked in the order of the page: the first row of a resource counts
	listed     bool                  // a filter by the list of its rows, see list
	byRid      bool                  // several ranges, each in the order of rids
	others     func() (*pred, error) // of a :not: what it may leave, see without
	test       cond                  // if set, tests the same on the narrow row: for filters
	rank       int                   // how selective it is by its nature, small is better
}

// alt is one index range. In kcond the index row is k, in rcond the narrow row is r.
type alt struct {
	table string // tok, ref, str, dat, qty, cvq; "res" when the range is one of res
	// index is the index of res that the range is walked in; "" leaves it to
	// the primary key. SQLite is told so, because it keeps no statistics.
	index string
	k     cond // condition on k (or on r for table res), without the resource itself
	// unique says that no resource is in the range twice.
	unique bool
	// order are the columns that the index yields the range in, before rid.
	order []string
	// again, for ranges that are not unique, is a condition on y, another row
	// of the same resource that comes before k in the range.
	again     string
	againArgs []any
	joined    bool // rows of resources that are gone may be there: the narrow row decides
	patient   bool // a token range that can be narrowed by a patient
	// list says that the last arguments, behind the first fixed ones, are a list.
	list  bool
	fixed int
	// nest, if set, writes the rest of k: the list of what it gathers.
	nest *nest
	// link says that k lacks the rid of the row at hand at its end: for filters.
	link bool
	// slot, if set, tests the same on the narrow row: for filters.
	slot cond
}

// patientIs is the condition of the patient slot.
const patientIs = "r.pat=?"

// everything is the range of all resources of the type.
func everything() alt {
	return alt{table: "res", index: "res_t", k: cond{text: "1=1"}, unique: true}
}

// Ranks.
const (
	rankID = iota
	rankPatient
	rankUnique
	rankOther
	rankWide
)

// compiler turns the clauses of a query into predicates for one type.
type compiler struct {
	s   *Store
	ctx context.Context
	c   *db.Conn
	typ string
	t   int64
	lay *layout
}

// clause returns the predicate of cl, or nil when nothing stored can match it.
func (cp *compiler) clause(cl *search.Clause) (*pred, error) {
	p := &pred{name: cl.Name, rank: rankOther}
	if len(cl.Any)+len(cl.All) > 0 {
		return cp.group(p, cl)
	}
	if cl.Has != nil && cl.Negate {
		return cp.unreferenced(p, cl.Has)
	}
	if cl.Has != nil {
		if err := cp.has(p, cl.Has); err != nil || len(p.alts) == 0 {
			return nil, err
		}
		return p, nil
	}
	if cl.Field != search.FieldParam {
		return cp.field(p, cl)
	}
	i := slices.IndexFunc(cl.Params, func(q *search.Param) bool { return q.Type == cp.typ })
	if i < 0 {
		return nil, nil
	}
	if len(cl.Chain) > 0 {
		if err := cp.chain(p, cl, cl.Params[i]); err != nil {
			return nil, err
		}
		return cp.insides(p, cl)
	}
	if cl.Modifier == "missing" {
		return cp.missing(p, cl, cl.Params[i])
	}
	if cl.Contained != nil {
		p.post = cl
	}
	for _, v := range cl.Values {
		if err := cp.values(p, cl, cl.Params[i], "", v); err != nil {
			return nil, err
		}
	}
	if err := p.merge(); err != nil {
		return nil, err
	}
	if cl.Modifier == "not" {
		if p.post != nil {
			p.alts = nil // a superset cannot be negated: the body decides
		}
		p.negate, p.filterOnly = true, true
		if q := cl.Params[i]; q.Kind == search.Token && p.post == nil {
			p.others = func() (*pred, error) { return cp.without(p, q) }
		}
		return p, nil
	}
	if len(p.alts) == 0 {
		return nil, nil
	}
	return p, nil
}

// field returns the predicate of what every resource has.
func (cp *compiler) field(p *pred, cl *search.Clause) (*pred, error) {
	if cl.Modifier == "missing" {
		return always(p, !cl.Missing), nil
	}
	switch cl.Field {
	case search.FieldText, search.FieldContent:
		return cp.byWords(p, cl)
	case search.FieldID:
		return cp.ids(p, cl)
	case search.FieldLastUpdated:
		return cp.lastUpdated(p, cl), nil
	}
	is := slices.ContainsFunc(cl.Values, func(v search.Value) bool { return v.Code == cp.typ })
	return always(p, is != (cl.Modifier == "not")), nil
}

// always is a predicate that holds for every resource, or nil for none.
func always(p *pred, holds bool) *pred {
	if !holds {
		return nil
	}
	p.filterOnly = true
	p.alts = []alt{{table: "res", k: cond{text: "1=1"}, unique: true}}
	return p
}

// missing tests the bits of the parameters that have a value. The body decides
// where a bit does not tell: a parameter that only counts references of one
// type, or that has no bit.
func (cp *compiler) missing(p *pred, cl *search.Clause, q *search.Param) (*pred, error) {
	mask, whole := bits(q)
	if test := cp.valued(q); test.text != "" {
		if cl.Missing {
			test.text = "NOT (" + test.text + ")"
		}
		p.test, p.filterOnly = test, true
		p.alts = []alt{{table: "res", k: test, unique: true}}
		return p, nil
	}
	if !whole {
		p.post = cl
		return always(p, true), nil
	}
	return cp.present(p, mask, !cl.Missing)
}

// valued tests whether there is a row of a parameter of contained resources, which
// have no bits. It is empty where rows do not tell.
func (cp *compiler) valued(q *search.Param) cond {
	if q.Link == nil || len(q.Parts) > 0 || q.PartTarget != "" {
		return cond{}
	}
	table := map[search.Kind]string{
		search.Token: "tok", search.URI: "tok", search.String: "str", search.Date: "dat", search.Number: "qty", search.Quantity: "qty", search.Reference: "ref",
	}[q.Kind]
	if table == "" {
		return cond{}
	}
	row := func(table string, q *search.Param) cond {
		return cond{"EXISTS (SELECT 1 FROM " + table + " y WHERE y.rid=r.rid AND y.p=?)", []any{cp.s.paramID(q)}}
	}
	out := row(table, q)
	if q.Kind != search.Reference {
		return out
	}
	// One by identifier only is not missing, nor one to a contained resource.
	list := []*search.Param{q.Link.Inside(q.Held.Identifier)}
	for _, t := range cp.s.types.all() {
		list = append(list, q.Holds(t))
	}
	for _, by := range list {
		if cp.s.paramID(by) != 0 {
			test := row("tok", by)
			out = cond{out.text + " OR " + test.text, append(out.args, test.args...)}
		}
	}
	return out
}

// present is a predicate of the resources that have one of the parameters of a
// mask, or none of them. The combinations of parameters that occur are few, so
// that the ranges of each drive a search.
func (cp *compiler) present(p *pred, mask int64, has bool) (*pred, error) {
	op := "=0"
	if has {
		op = "<>0"
	}
	p.test = cond{text: "(r.has & ?)" + op, args: []any{mask}}
	p.byRid = true
	last := int64(math.MinInt64)
	for found := true; found; {
		found = false
		err := cp.c.Query("SELECT has FROM res WHERE t=$1 AND has>$2 ORDER BY has LIMIT 1", func(st *db.Stmt) error {
			last, found = st.ColInt(0), true
			return nil
		}, cp.t, last)
		if err != nil {
			return nil, err
		}
		if found && (last&mask != 0) == has {
			p.alts = append(p.alts, alt{table: "res", index: "res_has", unique: true, k: cond{"r.has=?", []any{last}}})
		}
		if len(p.alts) > maxMasks {
			p.filterOnly, p.byRid = true, false
			p.alts = []alt{{table: "res", k: p.test, unique: true}}
			return p, nil
		}
	}
	if len(p.alts) == 0 {
		return nil, nil
	}
	return p, nil
}

// maxMasks bounds the combinations of parameters that are walked one by one.
const maxMasks = 64

// bits returns the bits of a parameter, and whether they say all about it.
func bits(q *search.Param) (mask int64, whole bool) {
	if q.PartTarget != "" {
		return 0, false
	}
	if len(q.Parts) == 0 {
		return 1 << max(q.Bit, 0), q.Bit >= 0 && q.Bit < maxBit
	}
	for _, part := range q.Parts {
		m, ok := bits(part)
		if !ok {
			return 0, false
		}
		mask |= m
	}
	return mask, true
}

// values adds the alternatives of one value for a parameter or its parts.
func (cp *compiler) values(p *pred, cl *search.Clause, q *search.Param, target string, v search.Value) error {
	if q.PartTarget != "" {
		target = q.PartTarget
	}
	if len(q.Parts) > 0 {
		for _, part := range q.Parts {
			if err := cp.values(p, cl, part, target, v); err != nil {
				return err
			}
		}
		return nil
	}
	switch q.Kind {
	case search.Token:
		if cl.Modifier == "text" {
			return cp.text(p, cl, q, v)
		}
		return cp.token(p, q, v)
	case search.URI:
		cp.uri(p, cl, q, v)
	case search.Reference:
		return cp.reference(p, q, target, v)
	case search.String:
		cp.str(p, cl, q, v)
	case search.Date:
		cp.date(p, q, v)
	case search.Number, search.Quantity:
		cp.number(p, q, v)
	case search.Composite:
		return cp.composite(p, cl, q, v)
	case search.Special:
		cp.near(p, cl, q, v)
	default:
		return fault.At(fault.Invalid, "not-supported", "", "the parameter %s cannot be searched", cl.Name)
	}
	return nil
}

func (cp *compiler) ids(p *pred, cl *search.Clause) (*pred, error) {
	p.rank = rankID
	a := alt{table: "res", unique: true}
	for _, v := range cl.Values {
		rid, err := cp.s.rid(cp.c, fhir.Key{Type: cp.typ, ID: v.Code})
		if err != nil {
			return nil, err
		}
		if rid != 0 {
			a.k.args = append(a.k.args, rid)
		}
	}
	if cl.Modifier == "not" {
		p.filterOnly, p.negate = true, true
	}
	if len(a.k.args) == 0 {
		if p.negate {
			p.alts = nil
			return p, nil
		}
		return nil, nil
	}
	a.k.text = "r.rid IN (" + strings.TrimSuffix(strings.Repeat("?,", len(a.k.args)), ",") + ")"
	p.alts = []alt{a}
	return p, nil
}
