package fhirsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/spec/search"
)

func (cp *compiler) reference(p *pred, q *search.Param, target string, v search.Value) error {
	if v.Text != "" {
		if target != "" && search.TypeInURL(v.Text) != target {
			return nil
		}
		return cp.refTo(p, q, fhir.Key{ID: v.Text})
	}
	types := []string{v.RefType}
	if v.RefType == "" {
		if err := cp.refTo(p, q, fhir.Key{ID: v.Code}); err != nil {
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
		if err := cp.refTo(p, q, fhir.Key{Type: t, ID: v.Code}); err != nil {
			return err
		}
	}
	return nil
}

// refTo adds the range of references to one resource: a slot when the target
// is of the slot's type, else rows of ref.
func (cp *compiler) refTo(p *pred, q *search.Param, k fhir.Key) error {
	h, err := cp.s.rid(cp.c, k)
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
