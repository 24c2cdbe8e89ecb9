package search

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// list reads _list: the resources that a List holds (R4 section 3.1.1.4.16). It
// is a reverse chain to the List. A functional list ($current-problems) has to
// be computed, and is refused: without it too much would be found.
func (p *parser) list(name string, values []string) error {
	for _, v := range values {
		var ids []Value
		for _, id := range splitEscaped(v, ',') {
			id = strings.TrimPrefix(unescape(id), "List/")
			if strings.HasPrefix(id, "$") {
				return refused(name, "%s has to be computed, and functional lists are not offered; name what makes it current, as in clinical-status=active", id)
			}
			if !isID(id) {
				if err := p.leaveOut(notSupported(name, "%q is not the id of a List", id)); err != nil {
					return err
				}
				continue
			}
			ids = append(ids, Value{Code: id, HasCode: true})
		}
		if len(ids) == 0 {
			continue
		}
		has := &Has{Type: "List", Ref: p.reg.Param("List", "item"), Next: &Clause{Field: FieldID, Name: "_id", Values: ids}}
		p.q.Where = append(p.q.Where, &Clause{Name: name, Has: has})
		p.used(name, v)
	}
	return nil
}

// notReferenced reads _not-referenced, a parameter of Azure Health Data Services:
// *:*, Type:* or Type:parameter, to which nothing must refer.
func (p *parser) notReferenced(name string, values []string) error {
	for _, v := range values {
		typ, code, ok := strings.Cut(v, ":")
		has := &Has{}
		switch {
		case !ok || typ == "*" && code != "*" || typ != "*" && !r4.IsResource(typ):
			if err := p.leaveOut(notSupported(name, "%q does not have the form *:*, Type:* or Type:parameter", v)); err != nil {
				return err
			}
			continue
		case typ != "*":
			has.Type = typ
			if code != "*" {
				if has.Ref = p.reg.usable(typ, code); has.Ref == nil || has.Ref.Kind != Reference || has.Ref.Unsupported != "" {
					if err := p.leaveOut(badValue(name, "%s has no reference parameter %q", typ, code)); err != nil {
						return err
					}
					continue
				}
			}
		}
		p.q.Where = append(p.q.Where, &Clause{Name: name, Has: has, Negate: true})
		p.used(name, v)
	}
	return nil
}
