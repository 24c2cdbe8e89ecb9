package fhirsql

import (
	"strings"
	"unicode/utf8"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

func tokAlt(p int64, code string, sys int64) alt {
	return alt{table: "tok", unique: true, patient: true, order: []string{"k.pat"},
		k: cond{"k.p=? AND k.c=? AND k.s=?", []any{p, short(code), sys}}}
}

// tokOrder are the columns by which the rows of a whole parameter are walked.
var tokOrder = []string{"k.c", "k.s", "k.pat"}

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
		p.alts = append(p.alts, alt{table: "tok", unique: q.Single, order: tokOrder, k: cond{"k.p=? AND k.s=?", []any{id, sys}},
			again: "y.s=k.s AND y.c<k.c"})
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
		}, p, short(code), last)
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

// text finds the codes that have a text, and then their resources. Which of
// them have the text themselves, the bodies decide.
func (cp *compiler) text(p *pred, cl *search.Clause, q *search.Param, v search.Value) error {
	id := cp.s.paramID(q)
	if id == 0 {
		return nil
	}
	p.post = cl
	norm := prefix(v.Norm, maxKey-1)
	n := 0
	err := cp.c.Query("SELECT DISTINCT c, s FROM txt WHERE p=$1 AND v>=$2 AND v<$3 LIMIT $4+0", func(st *db.Stmt) error {
		p.alts = append(p.alts, tokAlt(id, st.ColText(0), st.ColInt(1)))
		n++
		return nil
	}, id, norm, norm+last, maxTexts+1)
	if n > maxTexts { // nearly everything has such a text
		p.alts, p.filterOnly = []alt{everything()}, true
	}
	return err
}

// maxTexts is how many codes one text may stand for before all are looked at.
const maxTexts = 2000

// last is behind every string that begins with what it is appended to.
const last = "\U0010FFFF"

// uri finds URLs: equal ones, or by :above and :below those that are the
// beginning of the value or begin with it.
func (cp *compiler) uri(p *pred, cl *search.Clause, q *search.Param, v search.Value) {
	id := cp.s.paramID(q)
	if id == 0 {
		return
	}
	switch cl.Modifier {
	case "below":
		begin := prefix(v.Text, maxKey/2)
		if len(begin) < len(v.Text) {
			p.post = cl // what is longer is not in the index as it is
		}
		a := alt{table: "tok", order: tokOrder, again: "y.s=k.s AND y.c<k.c AND y.c>=?", againArgs: []any{begin},
			k: cond{text: "k.p=? AND k.s=0 AND k.c>=? AND k.c<? AND NOT (k.c>='urn:' AND k.c<'urn;')", args: []any{id, begin, begin + last}}}
		p.alts = append(p.alts, a)
		p.rank = rankWide
	case "above":
		p.post = cl // the rows of a canonical are also there without its version
		for i := range len(v.Text) {
			if i+1 < len(v.Text) && !utf8.RuneStart(v.Text[i+1]) {
				continue
			}
			if have := v.Text[:i+1]; !strings.HasPrefix(have, "urn:") {
				p.alts = append(p.alts, tokAlt(id, have, 0))
			}
		}
	default:
		p.alts = append(p.alts, tokAlt(id, v.Text, 0))
	}
}
