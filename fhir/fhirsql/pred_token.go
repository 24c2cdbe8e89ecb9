package fhirsql

import (
	"strings"

	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

func tokAlt(p int64, code string, sys int64) alt {
	return alt{table: "tok", unique: true, patient: true, order: []string{"k.pat"},
		k: cond{"k.p=? AND k.c=? AND k.s=?", []any{p, short(code), sys}}}
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
