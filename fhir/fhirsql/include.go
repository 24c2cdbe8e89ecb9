package fhirsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// includeLimit bounds the resources that the includes of one page can reach,
// over all pages of them.
const includeLimit = 100_000

// edge is one include as rows: from the resources of a type, or of any, along
// links to those of a type, or of any.
type edge struct {
	inc  *search.Include
	from int64 // 0 = any
	to   int64 // 0 = any
	via  []via
}

// via is a link of an edge. A parameter of 0 in ref means every one.
type via struct {
	link
	to int64 // the type that the slot points to, or that the parameter keeps; 0 = any
}

// include adds what the matches refer to, and what refers to them. Records come
// in the order of their rids, so that the cursor is a rid.
func (r *run) include(hits []hit) error {
	if len(r.q.Includes) == 0 || len(hits) == 0 {
		return nil
	}
	edges := r.edges()
	known := make(map[int64]bool, len(hits))
	from := make(map[int64][]int64) // by type
	for i := range hits {
		rid := hits[i].row.rid()
		known[rid] = true
		from[hits[i].pl.t] = append(from[hits[i].pl.t], rid)
	}
	var found []int64
	for first := true; len(from) > 0; first = false {
		next := make(map[int64][]int64)
		for i := range edges {
			if e := &edges[i]; first || e.inc.Iterate {
				err := r.follow(e, from, func(t, rid int64) {
					if !known[rid] {
						known[rid] = true
						found = append(found, rid)
						next[t] = append(next[t], rid)
					}
				})
				if err != nil {
					return err
				}
			}
		}
		if len(found) > includeLimit {
			return fault.At(fault.TooCostly, "too-costly", "", "the includes of this page reach more than %d resources; ask for a smaller page", includeLimit)
		}
		from = next
	}
	return r.included(found)
}

// edges resolves the includes.
func (r *run) edges() []edge {
	var out []edge
	for i := range r.q.Includes {
		inc := &r.q.Includes[i]
		e := edge{inc: inc, to: r.s.types.id(inc.Target)}
		if inc.Target != "" && e.to == 0 {
			continue // nothing stored has the type
		}
		if inc.Source == "*" {
			e.via = []via{{link: link{slot: "pat"}, to: r.s.types.id("Patient")}, {link: link{slot: "enc"}, to: r.s.types.id("Encounter")}, {}}
			out = append(out, e)
			continue
		}
		if e.from = r.s.types.id(inc.Source); e.from == 0 {
			continue
		}
		cp := &compiler{s: r.s, typ: inc.Source, lay: r.s.layouts.of(inc.Source)}
		for _, p := range inc.Params {
			e.via = append(e.via, cp.vias(p, "")...)
		}
		if len(e.via) > 0 {
			out = append(out, e)
		}
	}
	return out
}

// vias are the places of the references of q, each with the type it leads to.
func (cp *compiler) vias(q *search.Param, only string) (out []via) {
	if q.PartTarget != "" {
		only = q.PartTarget
	}
	for _, part := range q.Parts {
		out = append(out, cp.vias(part, only)...)
	}
	if len(q.Parts) > 0 {
		return out
	}
	if q == cp.lay.patient && (only == "" || only == "Patient") {
		out = append(out, via{link: link{slot: "pat"}, to: cp.s.types.id("Patient")})
	}
	if q == cp.lay.enc && (only == "" || only == "Encounter") {
		out = append(out, via{link: link{slot: "enc"}, to: cp.s.types.id("Encounter")})
	}
	if id := cp.s.paramID(q); id != 0 {
		out = append(out, via{link: link{p: id}, to: cp.s.types.id(only)})
	}
	return out
}

// follow calls yield for the current resources that an edge leads to.
func (r *run) follow(e *edge, from map[int64][]int64, yield func(t, rid int64)) error {
	for t, rids := range from {
		if !e.inc.Reverse && e.from != 0 && e.from != t || e.inc.Reverse && e.to != 0 && e.to != t {
			continue
		}
		for _, v := range e.via {
			if e.inc.Reverse && v.to != 0 && v.to != t || !e.inc.Reverse && v.to != 0 && e.to != 0 && v.to != e.to {
				continue
			}
			for chunk := range slices.Chunk(rids, includeChunk) {
				if err := r.step(e, v, chunk, yield); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// includeChunk is how many resources one statement starts from.
const includeChunk = 200

// step runs one statement: from some resources along one link.
func (r *run) step(e *edge, v via, rids []int64, yield func(t, rid int64)) error {
	b := &sqlb{d: r.s.dialect}
	in := " IN (" + marks(len(rids)) + ")"
	args := make([]any, len(rids))
	for i, rid := range rids {
		args[i] = rid
	}
	b.w("SELECT DISTINCT x.t, x.rid FROM ")
	switch {
	case v.slot != "" && e.inc.Reverse:
		b.as("res", "r", "res_"+v.slot)
		b.w(" CROSS JOIN body x WHERE x.rid=r.rid AND r."+v.slot+in, args...)
	case v.slot != "":
		b.w("res r CROSS JOIN body x WHERE x.rid=r."+v.slot+" AND r.rid"+in, args...)
	case e.inc.Reverse:
		b.w("ref k CROSS JOIN body x WHERE x.rid=k.rid AND k.h"+in, args...)
	default:
		b.as("ref", "k", "ref_rid")
		b.w(" CROSS JOIN body x WHERE x.rid=k.h AND k.rid"+in, args...)
	}
	if v.slot == "" && v.p != 0 {
		b.w(" AND k.p=?", v.p)
	}
	want := e.from
	if !e.inc.Reverse {
		if want = e.to; want == 0 {
			want = v.to
		}
	}
	if want != 0 {
		if v.slot != "" && e.inc.Reverse {
			b.w(" AND r.t=?", want)
		}
		b.w(" AND x.t=?", want)
	}
	return r.c.Query(string(b.text), func(st *db.Stmt) error {
		yield(st.ColInt(0), st.ColInt(1))
		return nil
	}, b.args...)
}

// included reads the records of one page of what was found.
func (r *run) included(found []int64) error {
	slices.Sort(found)
	if r.q.IncludeAfter != "" {
		vals, err := decodeCursor(r.q.IncludeAfter, r.includePrint(), 1)
		if err != nil {
			return err
		}
		after, ok := vals[0].(int64)
		if !ok {
			return fault.At(fault.Invalid, "invalid", "", "the page token is not valid for this request: start again at the first page")
		}
		i, same := slices.BinarySearch(found, after)
		if same {
			i++
		}
		found = found[i:]
	}
	if n := r.q.IncludeCount; n > 0 && len(found) > n {
		found = found[:n]
		r.page.NextIncluded = encodeCursor(r.includePrint(), []any{found[n-1]})
	}
	r.page.Included = make([]fhir.Record, 0, len(found))
	r.show(found)
	size := 0
	for i, rid := range found {
		rec, err := r.shown(rid)
		if err != nil {
			return err
		}
		if size += len(rec.Stored); fullPage(i, size) {
			r.page.NextIncluded = encodeCursor(r.includePrint(), []any{found[i-1]})
			break
		}
		r.page.Included = append(r.page.Included, rec)
	}
	return nil
}
