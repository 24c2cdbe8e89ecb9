package fhirsql

import (
	"encoding/binary"
	"math"

	"github.com/hygeia-health/hygeia/spec/search"
)

// printer writes what tells one search from another. Texts have their length in
// front and lists their number, so that two searches never look alike.
type printer []byte

func (p *printer) text(s string) {
	*p = append(binary.AppendUvarint(*p, uint64(len(s))), s...)
}

func (p *printer) count(n int) { *p = binary.AppendUvarint(*p, uint64(n)) }

func (p *printer) number(v float64) {
	*p = binary.LittleEndian.AppendUint64(*p, math.Float64bits(v))
}

func (p *printer) bits(list ...bool) {
	v := byte(0)
	for i, b := range list {
		if b {
			v |= 1 << i
		}
	}
	*p = append(*p, v)
}

func (p *printer) texts(list []string) {
	p.count(len(list))
	for _, s := range list {
		p.text(s)
	}
}

// print binds a cursor to the search it came from.
func (r *run) print() string {
	if r.printed != "" {
		return r.printed
	}
	p, q := make(printer, 0, 256), r.q
	p.texts(q.Types)
	p.text(q.Owner)
	p.count(len(q.Sort))
	for _, k := range q.Sort {
		p.text(k.Special)
		p.param(k.Param)
		p.param(k.Via)
		p.bits(k.Desc)
	}
	if c := q.Compartment; c != nil {
		p.text(c.Type)
		p.text(c.ID)
	} else {
		p.text("")
	}
	p.clauses(q.Where)
	if c := q.Contained; c != nil {
		p.text(c.Type)
		p.bits(c.Only)
		p.clauses(c.Where)
	}
	r.printed = string(p)
	return r.printed
}

func (p *printer) param(q *search.Param) {
	if q == nil {
		p.text("")
		return
	}
	p.text(q.Key())
}

func (p *printer) clauses(list []*search.Clause) {
	p.count(len(list))
	for _, cl := range list {
		p.clause(cl)
	}
}

func (p *printer) clause(cl *search.Clause) {
	p.bits(cl != nil)
	if cl == nil {
		return
	}
	p.text(cl.Name)
	p.text(cl.Modifier)
	p.bits(cl.Missing, cl.Negate)
	if len(cl.Params) > 0 {
		p.text(cl.Params[0].Code)
	} else {
		p.text("")
	}
	p.values(cl.Values)
	p.count(len(cl.Chain))
	for i := range cl.Chain {
		p.text(cl.Chain[i].Target)
		p.clause(cl.Chain[i].Next)
	}
	p.clauses(cl.Any)
	p.clauses(cl.All)
	p.bits(cl.Has != nil)
	if h := cl.Has; h != nil {
		p.text(h.Type)
		if h.Ref != nil {
			p.text(h.Ref.Code)
		} else {
			p.text("")
		}
		p.clause(h.Next)
	}
}

func (p *printer) values(list []search.Value) {
	p.count(len(list))
	for i := range list {
		v := &list[i]
		*p = append(*p, byte(v.Op))
		p.bits(v.HasSystem, v.HasCode, v.Convert)
		for _, s := range [...]string{v.System, v.Code, v.Text, v.Norm, v.RefType} {
			p.text(s)
		}
		p.number(v.Num)
		p.number(v.NumLo)
		p.number(v.NumHi)
		p.texts(v.Words)
		if v.Op != search.OpAp { // the range of ap moves with the clock
			*p = binary.AppendVarint(binary.AppendVarint(*p, v.Lo), v.Hi)
		}
		p.values(v.Parts)
	}
}

// includePrint binds a cursor of included resources to the page they belong to.
func (r *run) includePrint() string {
	p := printer(r.print())
	p.text(r.q.After)
	p.count(len(r.q.Includes))
	for i := range r.q.Includes {
		inc := &r.q.Includes[i]
		p.bits(inc.Reverse, inc.Iterate)
		p.text(inc.Source)
		p.text(inc.Code)
		p.text(inc.Target)
	}
	return string(p)
}
