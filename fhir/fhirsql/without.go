package fhirsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/spec/search"
)

// A search by :not alone has nothing to walk but all resources of the type,
// which is right as long as most of them match. When nearly all have the code
// that is not wanted, the others are few: those with another code of the
// parameter, and those without any. The codes of a parameter are listed only
// when the beginning of the walk has shown that it is so.

// maxCodes is how many codes a parameter may have for that.
const maxCodes = 64

// without returns the ranges of the resources that a negated token clause may
// leave; nil when they cannot be listed, and no ranges when there are none.
func (cp *compiler) without(p *pred, q *search.Param) (*pred, error) {
	id := cp.s.paramID(q)
	mask, whole := bits(q)
	if id == 0 || !whole || len(q.Parts) > 0 {
		return nil, nil
	}
	out := &pred{name: "others by " + q.Code, rank: rankOther, byRid: true}
	code, sys, n := "", int64(-1), 0
	for found := true; found; n++ {
		if n > maxCodes {
			return nil, nil
		}
		found = false
		next := func(st *db.Stmt) error {
			code, sys, found = st.ColText(0), st.ColInt(1), true
			return nil
		}
		// Two seeks: compared together, the systems of a code would be scanned.
		err := cp.c.Query("SELECT c, s FROM tok WHERE p=$1 AND c=$2 AND s>$3 ORDER BY s LIMIT 1", next, id, code, sys)
		if err == nil && !found {
			err = cp.c.Query("SELECT c, s FROM tok WHERE p=$1 AND c>$2 ORDER BY c, s LIMIT 1", next, id, code)
		}
		if err != nil {
			return nil, err
		}
		if found && !p.names(id, code, sys) {
			a := tokAlt(id, code, sys)
			a.order = nil
			out.alts = append(out.alts, a)
		}
	}
	lack, err := cp.present(&pred{}, mask, false)
	if err != nil || lack != nil && lack.filterOnly {
		return nil, err
	}
	if lack != nil {
		out.alts = append(out.alts, lack.alts...)
	}
	return out, nil
}

// names reports whether a token is in one of the ranges of a predicate.
func (p *pred) names(id int64, code string, sys int64) bool {
	return slices.ContainsFunc(p.alts, func(a alt) bool {
		switch args := a.k.args; {
		case args[0] != any(id):
			return false
		case a.list: // p, s, codes
			return args[1] == any(sys) && slices.Contains(args[a.fixed:], any(code))
		case len(args) == 2: // p, s
			return args[1] == any(sys)
		default: // p, c, s
			return args[1] == any(code) && args[2] == any(sys)
		}
	})
}

// sparse looks at the beginning of a walk over all resources that only a :not
// narrows, and returns the plan of the others when matches are few there. done
// says that there are none behind the rows.
func (r *run) sparse(pl *plan, after row, want int) (_ *plan, rows []row, done bool, err error) {
	end, err := r.boundary(pl, after, pl.limits.Window)
	if err != nil {
		return nil, nil, false, err
	}
	rows, err = r.rows(pl, after, end, want)
	if err != nil || end == nil || len(rows) == want {
		return nil, rows, err == nil && end == nil && len(rows) < want, err
	}
	others, err := pl.others()
	if err != nil || others == nil {
		return nil, rows, false, err
	}
	if len(others.alts) == 0 {
		return nil, rows, true, nil
	}
	limit := int64(pl.limits.Sort)
	n, err := pl.estimate(r.c, others, limit)
	if err != nil || n >= limit {
		return nil, rows, false, err
	}
	few := *pl
	few.others = nil
	few.drive(append(slices.Clone(pl.filters), others), others)
	few.cols = nil
	return &few, nil, false, nil
}
