package fhirsql

import (
	"slices"
	"strconv"
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
	negate bool // filter only: none of the alternatives may hold
	// post is set when the ranges hold all matches and perhaps more: the
	// clause is checked against the body of each candidate.
	post *search.Clause
	// filterOnly predicates do not narrow a walk: :not, :missing, ne.
	filterOnly bool
	rank       int // how selective it is by its nature, small is better
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
	patient   bool // a token range that can be narrowed by a patient
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
	c   *db.Conn
	typ string
	t   int64
	lay *layout
}

// clause returns the predicate of cl, or nil when nothing stored can match it.
func (cp *compiler) clause(cl *search.Clause) (*pred, error) {
	if cl.Chain != nil || cl.Has != nil {
		return nil, fault.At(fault.Invalid, "not-supported", "", "the parameter %s: chained search is not supported", cl.Name)
	}
	p := &pred{name: cl.Name, rank: rankOther}
	switch cl.Field {
	case search.FieldID:
		return cp.ids(p, cl)
	case search.FieldLastUpdated:
		return cp.lastUpdated(p, cl), nil
	case search.FieldType:
		if slices.ContainsFunc(cl.Values, func(v search.Value) bool { return v.Code == cp.typ }) {
			p.filterOnly = true
			p.alts = []alt{{table: "res", k: cond{text: "1=1"}, unique: true}}
			return p, nil
		}
		return nil, nil
	}
	i := slices.IndexFunc(cl.Params, func(q *search.Param) bool { return q.Type == cp.typ })
	if i < 0 {
		return nil, nil
	}
	switch cl.Modifier {
	case "", "exact", "contains", "not":
	case "missing":
		p.filterOnly, p.post = true, cl
		p.alts = []alt{{table: "res", k: cond{text: "1=1"}, unique: true}}
		return p, nil
	default:
		return nil, fault.At(fault.Invalid, "not-supported", "", "the modifier of %s is not supported", cl.Name)
	}
	for _, v := range cl.Values {
		if err := cp.values(p, cl, cl.Params[i], "", v); err != nil {
			return nil, err
		}
	}
	if cl.Modifier == "not" {
		if p.post != nil {
			p.alts = nil // a superset cannot be negated: the body decides
		}
		p.negate, p.filterOnly = true, true
		return p, nil
	}
	if len(p.alts) == 0 {
		return nil, nil
	}
	return p, nil
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
		return cp.token(p, q, v)
	case search.URI:
		id := cp.s.paramID(q)
		if id != 0 {
			p.alts = append(p.alts, tokAlt(id, v.Text, 0))
		}
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
	default:
		return fault.At(fault.Invalid, "not-supported", "", "the parameter %s cannot be searched", cl.Name)
	}
	return nil
}

func (cp *compiler) ids(p *pred, cl *search.Clause) (*pred, error) {
	p.rank = rankID
	a := alt{table: "res", unique: true}
	for _, v := range cl.Values {
		rid, err := lookup(cp.c, cp.t, v.Code)
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

// lastUpdated compares the seq of the current version: the time t in
// milliseconds is the range [t<<20, (t+1)<<20).
func (cp *compiler) lastUpdated(p *pred, cl *search.Clause) *pred {
	for _, v := range cl.Values {
		lo := int64(fhir.SeqAtMilli(v.Lo))
		hi := int64(fhir.SeqAtMilli(v.Hi + 1)) // exclusive
		var k cond
		switch v.Op {
		case search.OpNe:
			k = cond{"(r.seq<? OR r.seq>=?)", []any{lo, hi}}
		case search.OpLt, search.OpEb:
			k = cond{"r.seq<?", []any{lo}}
		case search.OpLe:
			k = cond{"r.seq<?", []any{hi}}
		case search.OpGt, search.OpSa:
			k = cond{"r.seq>=?", []any{hi}}
		case search.OpGe:
			k = cond{"r.seq>=?", []any{lo}}
		default:
			k = cond{"r.seq>=? AND r.seq<?", []any{lo, hi}}
		}
		p.alts = append(p.alts, alt{table: "res", k: k, unique: true, index: "res_seq", order: []string{"r.seq"}})
	}
	p.rank = rankWide
	return p
}

func tokAlt(p int64, code string, sys int64) alt {
	return alt{table: "tok", unique: true, patient: true, order: []string{"k.pat"},
		k: cond{"k.p=? AND k.c=? AND k.s=?", []any{p, code, sys}}}
}

// maxSystems bounds the systems that are tried for a code without one.
const maxSystems = 64

func (cp *compiler) token(p *pred, q *search.Param, v search.Value) error {
	id := cp.s.paramID(q)
	if id == 0 {
		return nil
	}
	if strings.HasSuffix(q.Code, "identifier") {
		p.rank = min(p.rank, rankUnique)
	}
	var sys int64
	if v.HasSystem && v.System != "" {
		if sys = cp.s.systems.id(v.System); sys == 0 {
			return nil
		}
	}
	switch {
	case v.HasSystem && v.HasCode:
		p.alts = append(p.alts, tokAlt(id, v.Code, sys))
	case v.HasSystem: // sys|
		p.alts = append(p.alts, alt{table: "tok", k: cond{"k.p=? AND k.s=?", []any{id, sys}}})
		p.rank = rankWide
	default: // one probe for each system that has the code
		slot := cond{}
		if q == cp.lay.status {
			slot = cond{"r.st=?", []any{cp.s.systems.id(v.Code)}}
		}
		systems, err := cp.distinctSystems("tok", id, v.Code)
		if err != nil {
			return err
		}
		for _, s := range systems {
			a := tokAlt(id, v.Code, s)
			a.slot = slot
			p.alts = append(p.alts, a)
		}
	}
	return nil
}

// distinctSystems lists the systems in which a code is used in tok or cvq, by jumping through the index.
func (cp *compiler) distinctSystems(table string, p int64, code string) ([]int64, error) {
	var out []int64
	last := int64(-1)
	for len(out) < maxSystems {
		found := false
		err := cp.c.Query("SELECT s FROM "+table+" WHERE p=$1 AND c=$2 AND s>$3 ORDER BY s LIMIT 1", func(st *db.Stmt) error {
			last, found = st.ColInt(0), true
			return nil
		}, p, code, last)
		if err != nil {
			return nil, err
		}
		if !found {
			return out, nil
		}
		out = append(out, last)
	}
	return nil, fault.At(fault.TooCostly, "too-costly", "", "the code is used in more than %d systems: name the system, as in system|code", maxSystems)
}

func (cp *compiler) reference(p *pred, q *search.Param, target string, v search.Value) error {
	if v.Text != "" {
		if target != "" && search.TypeInURL(v.Text) != target {
			return nil
		}
		return cp.refTo(p, q, fhir.Key{ID: v.Text}, false)
	}
	types := []string{v.RefType}
	if v.RefType == "" {
		if err := cp.refTo(p, q, fhir.Key{ID: v.Code}, false); err != nil {
			return err
		}
		types = q.Targets
		if target != "" {
			types = []string{target}
		}
		if len(types) == 0 || slices.Contains(types, "Resource") {
			types = cp.s.types.all()
		}
	} else if target != "" && v.RefType != target {
		return nil
	}
	for _, t := range types {
		if err := cp.refTo(p, q, fhir.Key{Type: t, ID: v.Code}, true); err != nil {
			return err
		}
	}
	return nil
}

// refTo adds the range of references to one resource: a slot when the target
// is of the slot's type, else rows of ref.
func (cp *compiler) refTo(p *pred, q *search.Param, k fhir.Key, local bool) error {
	t := int64(0)
	if local {
		if t = cp.s.types.id(k.Type); t == 0 {
			return nil
		}
	}
	h, err := lookup(cp.c, t, k.ID)
	if err != nil || h == 0 {
		return err
	}
	switch {
	case q == cp.lay.patient && k.Type == "Patient":
		p.rank = min(p.rank, rankPatient)
		p.alts = append(p.alts, alt{table: "res", index: "res_pat", unique: true, k: cond{patientIs, []any{h}}})
	case q == cp.lay.enc && k.Type == "Encounter":
		p.rank = min(p.rank, rankUnique)
		p.alts = append(p.alts, alt{table: "res", index: "res_enc", unique: true, k: cond{"r.enc=?", []any{h}}})
	default:
		if id := cp.s.paramID(q); id != 0 {
			p.rank = min(p.rank, rankUnique+1)
			p.alts = append(p.alts, alt{table: "ref", unique: true, k: cond{"k.h=? AND k.p=?", []any{h, id}}})
		}
	}
	return nil
}

func (cp *compiler) str(p *pred, cl *search.Clause, q *search.Param, v search.Value) {
	id := cp.s.paramID(q)
	if id == 0 {
		return
	}
	a := alt{table: "str", unique: q.Single, order: []string{"k.v"}, again: "y.v<k.v"}
	switch cl.Modifier {
	case "contains":
		a.k = cond{"k.p=? AND instr(k.v, ?)>0", []any{id, v.Norm}}
		a.again, a.againArgs = "y.v<k.v AND instr(y.v, ?)>0", []any{v.Norm}
		p.rank = rankWide
	case "exact":
		a.k = cond{"k.p=? AND k.v=?", []any{id, v.Norm}}
		a.unique, a.order = true, nil
		p.post = cl
	default:
		a.k = cond{"k.p=? AND k.v>=? AND k.v<?", []any{id, v.Norm, v.Norm + "\U0010FFFF"}}
		a.again, a.againArgs = "y.v<k.v AND y.v>=?", []any{v.Norm}
	}
	p.alts = append(p.alts, a)
}

const longSpan = 86400000 // a day: longer slots have an index of their own

// date adds the ranges of one date value; see search.Op for the rules. The
// start of a slot is indexed; its end is not, but only periods longer than a
// day end more than a day after they start, and those have their own index.
func (cp *compiler) date(p *pred, q *search.Param, v search.Value) {
	n := cp.lay.dateSlot(q)
	if n == 0 {
		if id := cp.s.paramID(q); id != 0 {
			k := cond{"k.p=? AND ", []any{id}}
			c := dateCond(v, "k.lo", "k.hi")
			y := dateCond(v, "y.lo", "y.hi")
			p.alts = append(p.alts, alt{table: "dat", order: []string{"k.lo", "k.hi"}, unique: q.Single,
				k: cond{k.text + c.text, append(k.args, c.args...)}, again: "(y.lo<k.lo OR y.lo=k.lo AND y.hi<k.hi) AND " + y.text, againArgs: y.args})
		}
		return
	}
	d, e := "r.d"+strconv.Itoa(n), "r.e"+strconv.Itoa(n)
	c := dateCond(v, d, d+"+"+e)
	a := alt{table: "res", index: "res_d" + strconv.Itoa(n), unique: true, order: []string{d}}
	with := func(text string, args ...any) {
		b := a
		b.k = cond{text + c.text, append(args, c.args...)}
		p.alts = append(p.alts, b)
	}
	switch v.Op {
	case search.OpEq:
		with(d+">=? AND "+d+"<=? AND ", v.Lo, v.Hi)
	case search.OpLt, search.OpEb:
		with(d+"<? AND ", v.Lo)
	case search.OpLe:
		with(d+"<=? AND ", v.Hi)
	case search.OpSa:
		with(d+">? AND ", v.Hi)
	case search.OpNe:
		p.rank = rankWide
		with(d + " IS NOT NULL AND ")
	default: // gt, ge, ap, overlap: the end counts
		with(e+"<=? AND "+d+">=? AND ", longSpan, v.Lo-longSpan)
		a.index = "res_e" + strconv.Itoa(n)
		with(e + ">" + strconv.Itoa(longSpan) + " AND ")
	}
}

// dateCond is the rule of search.Op for the stored range [s, e].
func dateCond(v search.Value, s, e string) cond {
	switch v.Op {
	case search.OpNe:
		return cond{"(" + s + "<? OR " + e + ">?)", []any{v.Lo, v.Hi}}
	case search.OpLt:
		return cond{s + "<?", []any{v.Lo}}
	case search.OpLe:
		return cond{s + "<=?", []any{v.Hi}}
	case search.OpGt:
		return cond{e + ">?", []any{v.Hi}}
	case search.OpGe:
		return cond{e + ">=?", []any{v.Lo}}
	case search.OpSa:
		return cond{s + ">?", []any{v.Hi}}
	case search.OpEb:
		return cond{e + "<?", []any{v.Lo}}
	case search.OpAp, search.OpOverlap:
		return cond{"(" + s + "<=? AND " + e + ">=?)", []any{v.Hi, v.Lo}}
	}
	return cond{"(" + s + ">=? AND " + e + "<=?)", []any{v.Lo, v.Hi}}
}

// numConds are the rules of search.Op for the stored range [s, e], as ranges
// of the index on s. Where the end e counts, values that are no ranges are
// found by s, which is the same, and the few true ranges by an index of their own.
func numConds(x search.Value, s, e string) []cond {
	exact, long := s+"="+e+" AND ", e+">"+s+" AND "
	switch x.Op {
	case search.OpNe:
		return []cond{{"(" + s + "<? OR " + e + ">=?)", []any{x.NumLo, x.NumHi}}}
	case search.OpLt:
		return []cond{{s + "<?", []any{x.Num}}}
	case search.OpLe:
		return []cond{{s + "<=?", []any{x.Num}}}
	case search.OpGt:
		return []cond{{exact + s + ">?", []any{x.Num}}, {long + e + ">?", []any{x.Num}}}
	case search.OpGe:
		return []cond{{exact + s + ">=?", []any{x.Num}}, {long + e + ">=?", []any{x.Num}}}
	case search.OpSa:
		return []cond{{s + ">?", []any{x.Num}}}
	case search.OpEb:
		return []cond{{s + "<? AND " + e + "<?", []any{x.Num, x.Num}}}
	case search.OpAp:
		return []cond{{exact + s + ">=? AND " + s + "<?", []any{x.NumLo, x.NumHi}},
			{long + s + "<? AND " + e + ">=?", []any{x.NumHi, x.NumLo}}}
	}
	return []cond{{s + ">=? AND " + s + "<? AND " + e + "<?", []any{x.NumLo, x.NumHi, x.NumHi}}}
}

// number adds the range of one number or quantity. A quantity whose unit has
// a name beside its code has a second row for it, which only a search by unit
// without system may use.
func (cp *compiler) number(p *pred, q *search.Param, v search.Value) {
	id := cp.s.paramID(q)
	if id == 0 {
		return
	}
	unit, ok := cp.unit(v, "k.s", "k.c")
	if !ok {
		return
	}
	yu, _ := cp.unit(v, "y.s", "y.c")
	ks, ys := numConds(v, "k.v", "k.w"), numConds(v, "y.v", "y.w")
	for i, k := range ks {
		a := alt{table: "qty", order: []string{"k.v", "k.w", "k.s", "k.c"}, unique: q.Single && !(v.HasCode && !v.HasSystem)}
		if i == 1 {
			a.index = "qty_long"
		}
		a.k = cond{"k.p=? AND " + k.text + unit.text, append(append([]any{id}, k.args...), unit.args...)}
		a.again = "(y.v<k.v OR y.v=k.v AND (y.w<k.w OR y.w=k.w AND (y.s<k.s OR y.s=k.s AND y.c<k.c))) AND " + ys[i].text + yu.text
		a.againArgs = append(slices.Clone(ys[i].args), yu.args...)
		p.alts = append(p.alts, a)
	}
}

// unit is the condition on the unit of a quantity; false when no stored quantity has its system.
func (cp *compiler) unit(v search.Value, s, c string) (cond, bool) {
	switch {
	case v.HasSystem:
		var sys int64
		if v.System != "" {
			if sys = cp.s.systems.id(v.System); sys == 0 {
				return cond{}, false
			}
		}
		if v.HasCode {
			return cond{" AND " + s + "=? AND " + c + "=?", []any{sys, v.Code}}, true
		}
		return cond{" AND " + s + "=?", []any{sys}}, true
	case v.HasCode:
		return cond{" AND " + c + "=?", []any{v.Code}}, true
	}
	return cond{" AND " + s + "<>" + strconv.Itoa(unitOnly), nil}, true
}

// composite adds the range of a token-quantity combination. Any other
// combination is searched by the entries of its first part that has an index
// of its own, and checked against the body.
func (cp *compiler) composite(p *pred, cl *search.Clause, q *search.Param, v search.Value) error {
	if len(v.Parts) != len(q.Components) {
		return fault.At(fault.Invalid, "value", "", "the parameter %s wants %d parts joined by $", cl.Name, len(q.Components))
	}
	if isTokenQuantity(q) {
		done, err := cp.tokenQuantity(p, q, v)
		if done || err != nil {
			return err
		}
	}
	p.post = cl
	for i, comp := range q.Components {
		own := cp.s.reg.Param(cp.typ, comp.Param.Code)
		if own == nil || own.Unsupported != "" || own.Kind != comp.Param.Kind || own.URL != comp.Param.URL {
			continue
		}
		return cp.values(p, cl, own, "", v.Parts[i])
	}
	p.rank = rankWide
	p.alts = append(p.alts, everything())
	return nil
}

// tokenQuantity adds ranges of cvq, unless the shape of the value needs the body.
func (cp *compiler) tokenQuantity(p *pred, q *search.Param, v search.Value) (bool, error) {
	tok, num := v.Parts[0], v.Parts[1]
	if !tok.HasCode || num.HasCode && !num.HasSystem || num.Op == search.OpNe {
		return false, nil
	}
	id := cp.s.paramID(q)
	if id == 0 {
		return true, nil
	}
	unit, ok := cp.unit(num, "k.us", "k.uc")
	if !ok {
		return true, nil
	}
	if !num.HasSystem && !num.HasCode {
		unit = cond{}
	}
	systems := []int64{0}
	switch {
	case !tok.HasSystem:
		var err error
		if systems, err = cp.distinctSystems("cvq", id, tok.Code); err != nil {
			return true, err
		}
	case tok.System != "":
		if systems[0] = cp.s.systems.id(tok.System); systems[0] == 0 {
			return true, nil
		}
	}
	single := slices.ContainsFunc(cp.lay.pairs, func(x pair) bool { return x.param == q })
	for i, k := range numConds(num, "k.v", "k.w") {
		for _, s := range systems {
			a := alt{table: "cvq", order: []string{"k.v", "k.w", "k.us", "k.uc"}, unique: single,
				k: cond{"k.p=? AND k.c=? AND k.s=? AND " + k.text + unit.text, append(append([]any{id, tok.Code, s}, k.args...), unit.args...)}}
			if i == 1 {
				a.index = "cvq_long"
			}
			p.alts = append(p.alts, a)
		}
	}
	p.rank = min(p.rank, rankUnique+1)
	return true, nil
}
