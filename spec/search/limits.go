package search

import (
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// Limits are what the definition of a custom parameter allows a search to do with it
// (R4 section 6.12). The zero value allows all that its type has.
type Limits struct {
	OneValue    bool     // multipleOr is false: one value only
	Once        bool     // multipleAnd is false: the parameter stands once only
	Comparators []string // those that are allowed; none = all
	Modifiers   []string // the same, as http://hl7.org/fhir/search-modifier-code has them
	Chains      []string // the parameters that may stand behind the reference; none = all
}

// readLimits reads them from a SearchParameter.
func readLimits(n resource.Node) Limits {
	list := func(name string) (out []string) {
		for c := n.Get(name).First(); c.Valid(); c = c.Next() {
			if s := c.Text(); s != "" {
				out = append(out, s)
			}
		}
		return out
	}
	denied := func(name string) bool {
		c := n.Get(name)
		return c.Kind() == resource.Bool && string(c.Raw()) == "false"
	}
	return Limits{
		OneValue: denied("multipleOr"), Once: denied("multipleAnd"),
		Comparators: list("comparator"), Modifiers: list("modifier"), Chains: list("chain"),
	}
}

// allowed are the limits of a parameter, or of the one that it stands behind.
func (p *Param) allowed() *Limits {
	if p.Of != nil {
		p = p.Of
	}
	if l := p.limits.Load(); l != nil {
		return l
	}
	return &Limits{}
}

// checkLimits refuses what the definition of a parameter does not allow.
func (c *Clause) checkLimits(modifier, value string) error {
	for _, p := range c.Params {
		l := p.allowed()
		if err := l.modifier(c.Name, modifier); err != nil {
			return err
		}
		if modifier == "missing" {
			continue
		}
		values := splitEscaped(value, ',')
		if l.OneValue && len(values) > 1 {
			return invalid(c.Name, "the definition of the search parameter allows one value only")
		}
		if p.Kind != Number && p.Kind != Date && p.Kind != Quantity || len(l.Comparators) == 0 {
			continue
		}
		for _, v := range values {
			if _, rest := cutPrefix(v); rest != v && !slices.Contains(l.Comparators, v[:2]) {
				return invalid(c.Name, "the definition of the search parameter does not allow the prefix %s, only %s", v[:2], strings.Join(l.Comparators, ", "))
			}
		}
	}
	return nil
}

// modifier refuses a modifier that is not allowed; a type is the modifier "type".
func (l *Limits) modifier(name, modifier string) error {
	if modifier == "" || len(l.Modifiers) == 0 {
		return nil
	}
	code := modifier
	switch {
	case code == "of-type":
		code = "ofType"
	case code[0] >= 'A' && code[0] <= 'Z':
		code = "type"
	}
	if slices.Contains(l.Modifiers, code) {
		return nil
	}
	return refused(name, "the definition of the search parameter does not allow the modifier :%s, only :%s", modifier, strings.Join(l.Modifiers, ", :"))
}

// checkChain refuses a chain behind a reference that may not be followed to it.
func (c *Clause) checkChain(rest string) error {
	code := rest
	if i := strings.IndexAny(rest, ".:["); i >= 0 {
		code = rest[:i]
	}
	for _, p := range c.Params {
		if l := p.allowed(); len(l.Chains) > 0 && !slices.Contains(l.Chains, code) {
			return invalid(c.Name, "the definition of the search parameter allows a chain to %s only", strings.Join(l.Chains, ", "))
		}
	}
	return nil
}

// checkOnce refuses the second clause of a parameter that may stand only once.
func (p *parser) checkOnce() error {
	seen := map[string]bool{}
	for _, c := range p.q.Where {
		path, once := c.once()
		if !once {
			continue
		}
		if seen[path] {
			return invalid(c.Name, "the definition of the search parameter allows it only once")
		}
		seen[path] = true
	}
	return nil
}

// once reports whether a parameter may stand only once, and how it was reached.
func (c *Clause) once() (path string, once bool) {
	switch {
	case c.Has != nil && c.Has.Next != nil:
		path, once = c.Has.Next.once()
		return c.path + path, once
	case len(c.Chain) > 0:
		for _, alt := range c.Chain {
			if path, once = alt.Next.once(); once {
				return c.path + path, true
			}
		}
		return "", false
	}
	return c.path, slices.ContainsFunc(c.Params, func(p *Param) bool { return p.allowed().Once })
}
