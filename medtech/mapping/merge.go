package mapping

import (
	"bytes"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Merge puts the data of the group into an Observation that is already there.
// It returns the new text, or changed false when the Observation says all of it
// already. What others added to the Observation stays.
func (g *Group) Merge(existing resource.Node, issued time.Time) (text []byte, changed bool, err *Error) {
	m := merge{g: g, old: existing}
	m.span, err = g.span(existing)
	if err != nil {
		return nil, false, err
	}
	dst := append(make([]byte, 0, 1024), '{')
	member := func(name string, value []byte) {
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(append(append(append(dst, '"'), name...), `":`...), value...)
	}
	replaced, err := m.replacements()
	if err != nil {
		return nil, false, err
	}
	changed = m.changed(replaced)
	if !changed {
		return nil, false, nil
	}
	for c := range existing.Children() {
		name := string(c.Key())
		switch {
		case name == "status":
			member(name, []byte(`"amended"`))
		case name == "issued" && !issued.IsZero():
			member(name, append(appendTime([]byte{'"'}, issued, 3), '"'))
		case replaces(replaced, name):
		default:
			member(name, c.AppendCompact(nil))
		}
	}
	for _, r := range replaced {
		if r.text != nil {
			member(r.name, r.text)
		}
	}
	return append(dst, '}'), true, nil
}

// replacement is a member of the Observation that the group decides; a nil text
// removes it.
type replacement struct {
	name, choice string // choice: the beginning of the names that it takes the place of
	text         []byte
}

func replaces(list []replacement, name string) bool {
	for _, r := range list {
		if name == r.name || r.choice != "" && strings.HasPrefix(name, r.choice) {
			return true
		}
	}
	return false
}

type merge struct {
	g    *Group
	old  resource.Node
	span window
}

// replacements returns the members that the group decides.
func (m *merge) replacements() ([]replacement, *Error) {
	g := m.g
	name, effective := g.effective(m.span.start, m.span.end)
	out := []replacement{{name, "effective", []byte(effective)}}
	category := replacement{name: "category"}
	if len(g.template.categories) > 0 {
		category.text = g.appendCategory(nil)
	}
	out = append(out, category)
	if v := g.template.value; v != nil && len(g.values[v.name]) > 0 {
		before := m.old.Get(valueMember(v))
		text, err := g.appendValue(nil, v, g.values[v.name], present(before), m.span)
		if err != nil {
			return nil, err
		}
		out = append(out, replacement{valueMember(v), "value", text})
	}
	if len(g.template.components) > 0 {
		text, err := m.components()
		if err != nil {
			return nil, err
		}
		if text != nil {
			out = append(out, replacement{"component", "", text})
		}
	}
	return out, nil
}

func present(n resource.Node) *resource.Node {
	if !n.Valid() {
		return nil
	}
	return &n
}

// components returns the list of components: those that are there, with new
// values where the group has some, then those that are new. nil when the group
// has none.
func (m *merge) components() ([]byte, *Error) {
	g, any := m.g, false
	var parts [][]byte
	done := make([]bool, len(g.template.components))
	for old := range m.old.Get("component").Children() {
		part := old.AppendCompact(nil)
		for i, c := range g.template.components {
			values := g.values[c.value.name]
			if done[i] || len(values) == 0 || !hasCode(old, c.value.name) {
				continue
			}
			done[i], any = true, true
			text, err := g.appendComponent(nil, c, values, present(old.Get(valueMember(c.value))), m.span)
			if err != nil {
				return nil, err
			}
			part = text
		}
		parts = append(parts, part)
	}
	for i, c := range g.template.components {
		if values := g.values[c.value.name]; !done[i] && len(values) > 0 {
			any = true
			text, err := g.appendComponent(nil, c, values, nil, m.span)
			if err != nil {
				return nil, err
			}
			parts = append(parts, text)
		}
	}
	if !any {
		return nil, nil
	}
	return append(append([]byte{'['}, bytes.Join(parts, []byte{','})...), ']'), nil
}

// hasCode reports whether a component has the code that the service gave it.
func hasCode(component resource.Node, name string) bool {
	for c := range component.Get("code").Get("coding").Children() {
		if c.Get("system").Is(ServiceSystem) && c.Get("code").Is(name) {
			return true
		}
	}
	return false
}

// changed reports whether a replacement differs from what is there.
func (m *merge) changed(list []replacement) bool {
	for _, r := range list {
		old := m.old.Get(r.name)
		if !old.Valid() {
			if r.text != nil {
				return true
			}
			continue
		}
		if r.text == nil || !bytes.Equal(old.AppendCompact(nil), r.text) {
			return true
		}
	}
	return false
}

// span returns the window of the Observation together with that of the group.
func (g *Group) span(old resource.Node) (window, *Error) {
	w := window{g.start, g.end, g.start}
	start, end := old.Get("effectiveDateTime"), old.Get("effectiveDateTime")
	if p := old.Get("effectivePeriod"); p.Valid() {
		start, end = p.Get("start"), p.Get("end")
	}
	s, digits, ok1 := parseTime(start.Text())
	e, _, ok2 := parseTime(end.Text())
	if !ok1 || !ok2 {
		return w, &Error{Class: FHIRDataMapping, TypeName: g.TypeName, Msg: "the stored Observation has no effectivePeriod or effectiveDateTime that data can be added to"}
	}
	w.oldStart = s
	if s.Before(w.start) {
		w.start = s
	}
	if e.After(w.end) {
		w.end = e
	}
	if g.template.period <= 0 {
		g.digits = max(g.digits, min(digits, 9))
	}
	return w, nil
}
