package fhirsql

import (
	"slices"
	"sync"

	"github.com/hygeia-health/hygeia/spec/search"
)

// layout says where the values of one resource type's parameters are kept.
type layout struct {
	status  *search.Param    // res.st
	patient *search.Param    // res.pat, targets of type Patient only
	enc     *search.Param    // res.enc, targets of type Encounter only
	dates   [3]*search.Param // res.d1..d3 (start) and e1..e3 (length)
	pairs   []pair
}

// pair is a token-quantity composite of two parameters of the resource itself,
// so that both parameters together ask the same as the composite.
type pair struct{ param, token, quantity *search.Param }

// layouts computes layouts once per type. They depend on the definitions only,
// so every process that opens a database computes the same ones.
type layouts struct {
	reg *search.Registry
	m   sync.Map // string -> *layout
}

func (l *layouts) of(typ string) *layout {
	if v, ok := l.m.Load(typ); ok {
		return v.(*layout)
	}
	v, _ := l.m.LoadOrStore(typ, newLayout(typ, l.reg.Params(typ)))
	return v.(*layout)
}

// The parameters that win a slot when a type has several candidates; the
// others follow by name.
var (
	statusFirst  = []string{"status", "clinical-status", "active"}
	patientFirst = []string{"subject", "patient"}
	encFirst     = []string{"encounter", "context"}
	dateFirst    = []string{"date", "birthdate", "onset-date", "authoredon", "authored", "created", "occurrence", "period", "issued", "recorded-date", "death-date", "recorded"}
)

func newLayout(typ string, params []*search.Param) *layout {
	l := &layout{}
	pick := func(first []string, only bool, ok func(*search.Param) bool) []*search.Param {
		var out []*search.Param
		for _, p := range params {
			if !p.Custom && p.Single && len(p.Parts) == 0 && p.Unsupported == "" && ok(p) && (!only || slices.Contains(first, p.Code)) {
				out = append(out, p)
			}
		}
		rank := func(p *search.Param) int {
			if i := slices.Index(first, p.Code); i >= 0 {
				return i
			}
			return len(first)
		}
		slices.SortStableFunc(out, func(a, b *search.Param) int { return rank(a) - rank(b) })
		return out
	}
	one := func(ps []*search.Param) *search.Param {
		if len(ps) == 0 {
			return nil
		}
		return ps[0]
	}
	refers := func(target string) func(*search.Param) bool {
		return func(p *search.Param) bool {
			return p.Kind == search.Reference && slices.Contains(p.Targets, target)
		}
	}
	l.status = one(pick(statusFirst, true, func(p *search.Param) bool { return p.Kind == search.Token }))
	if typ != "Patient" {
		l.patient = one(pick(patientFirst, true, refers("Patient")))
	}
	l.enc = one(pick(encFirst, true, refers("Encounter")))
	byURL := map[string]*search.Param{}
	for _, p := range params {
		byURL[p.URL] = p
	}
	for _, p := range params {
		if p.Custom || !isTokenQuantity(p) || len(p.Parts) > 0 || p.Expression != typ {
			continue
		}
		x := pair{p, byURL[p.Components[0].Param.URL], byURL[p.Components[1].Param.URL]}
		if x.token != nil && x.quantity != nil && x.quantity.Single {
			l.pairs = append(l.pairs, x)
		}
	}
	copy(l.dates[:], pick(dateFirst, false, func(p *search.Param) bool { return p.Kind == search.Date }))
	return l
}

// dateSlot returns the number (1..3) of p's slot, or 0.
func (l *layout) dateSlot(p *search.Param) int {
	for i, d := range l.dates {
		if d != nil && d == p {
			return i + 1
		}
	}
	return 0
}
