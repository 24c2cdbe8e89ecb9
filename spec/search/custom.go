package search

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Custom is a search parameter beside those of R4, made from a SearchParameter
// resource (R4 section 6.12).
type Custom struct {
	r4.SearchParam
	// Key names this version of the definition: another one has other rows.
	Key string
	// Partial says that resources which were stored before are not indexed yet.
	Partial bool
	// Limits are what a search may do with the parameter.
	Limits Limits
}

// Partial reports whether only some of the resources are indexed by p.
func (p *Param) Partial() bool { return p.partial.Load() }

// ReadCustom reads an active SearchParameter resource, or a draft too. ok is false
// for one that defines nothing: it has another status, or describes a parameter of
// R4, by its URL or as derived from it.
func ReadCustom(n resource.Node, key string, draft bool) (c *Custom, ok bool, err error) {
	t := func(name string) string { return n.Get(name).Text() }
	c = &Custom{Key: key, SearchParam: r4.SearchParam{
		ID: t("id"), URL: t("url"), Code: t("code"), Type: t("type"), Expression: t("expression"),
	}, Limits: readLimits(n)}
	for b := n.Get("base").First(); b.Valid(); b = b.Next() {
		c.Base = append(c.Base, b.Text())
	}
	for b := n.Get("target").First(); b.Valid(); b = b.Next() {
		c.Target = append(c.Target, b.Text())
	}
	for b := n.Get("component").First(); b.Valid(); b = b.Next() {
		c.Components = append(c.Components, r4.Component{Definition: b.Get("definition").Text(), Expression: b.Get("expression").Text()})
	}
	if status := t("status"); status != "active" && (status != "draft" || !draft) {
		return nil, false, nil
	}
	for _, url := range []string{c.URL, t("derivedFrom")} {
		if known := r4.SearchParamByURL(url); known != nil && known.Code == c.Code {
			return nil, false, nil
		}
	}
	switch {
	case c.URL == "":
		err = invalid("SearchParameter.url", "a search parameter needs a url")
	case len(c.URL) > 128:
		err = badValue("SearchParameter.url", "the url of a search parameter has 128 characters at most")
	case c.Expression == "":
		err = invalid("SearchParameter.expression", "a search parameter needs an expression")
	case !isCode(c.Code):
		err = badValue("SearchParameter.code", "%q cannot be the code of a search parameter: use letters, digits, - and _", c.Code)
	case c.Code[0] == '_' && (control(c.Code) != nil || rowField(c.Code)):
		err = badValue("SearchParameter.code", "%s has a meaning of its own", c.Code)
	}
	return c, err == nil, err
}

func isCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !isLetter(r) && (r < '0' || r > '9') && r != '-' && r != '_' }) < 0
}

// Types returns the concrete resource types that the parameter is for.
func (c *Custom) Types() []string {
	var out []string
	for _, t := range r4.ResourceTypes() {
		typ := r4.Lookup(t)
		if slices.Contains(c.Base, t) || slices.Contains(c.Base, "Resource") || slices.Contains(c.Base, typ.Base) {
			out = append(out, t)
		}
	}
	return out
}

// Check says why a parameter cannot be defined beside those of R4: its code or URL
// is taken on one of the types, or its expression has no meaning there.
func (r *Registry) Check(c *Custom) error {
	types := c.Types()
	if len(types) == 0 {
		return badValue("SearchParameter.base", "%q names no resource type of FHIR R4", strings.Join(c.Base, ","))
	}
	usable := ""
	for _, t := range types {
		for _, p := range r.Params(t) {
			switch {
			case p.Custom: // who has all definitions compares them
			case p.Code == c.Code:
				return &Error{Param: "SearchParameter.code", Code: "duplicate", Msg: fmt.Sprintf("%s has a search parameter %q already, %s", t, c.Code, p.URL)}
			case p.URL == c.URL:
				return &Error{Param: "SearchParameter.url", Code: "duplicate", Msg: fmt.Sprintf("%s is the search parameter %q of %s already", c.URL, p.Code, t)}
			}
		}
		b := r.schema(t).extended()
		p := b.custom(c)
		if p.Unsupported == "" {
			return nil
		}
		usable = p.Unsupported
	}
	return badValue("SearchParameter.expression", "the search parameter cannot be used: %s", usable)
}

// SetCustom replaces the custom parameters. Those whose Key was there before
// stay the same Params. The caller has checked them.
func (r *Registry) SetCustom(list []*Custom) {
	r.custom.mu.Lock()
	defer r.custom.mu.Unlock()
	byType := map[string][]*Custom{}
	for _, c := range list {
		for _, t := range c.Types() {
			byType[t] = append(byType[t], c)
		}
	}
	types := map[string]bool{}
	for t := range byType {
		types[t] = true
	}
	for _, t := range r.custom.types {
		types[t] = true
	}
	r.custom.types = nil
	for t := range types {
		old := r.schema(t)
		b := old.base().extended()
		for _, c := range byType[t] {
			b.keep(old, c)
		}
		b.finish()
		l := &lazySchema{s: b.schema}
		l.once.Do(func() {})
		r.schemas.Store(t, l)
		if len(byType[t]) > 0 {
			r.custom.types = append(r.custom.types, t)
		}
	}
	r.generation.Add(1)
}

// Generation changes whenever the custom parameters do.
func (r *Registry) Generation() int64 { return r.generation.Load() }

// base returns the schema without custom parameters.
func (s *schema) base() *schema {
	if s.plain != nil {
		return s.plain
	}
	return s
}

// extended returns a builder for a copy of a schema of R4 parameters. The Params
// are the same; what is compiled from them is made anew by finish.
func (s *schema) extended() *builder {
	from := s.base()
	next := &schema{self: s.self, params: slices.Clone(s.params), byCode: make(map[string]*Param, len(s.params)), plain: from}
	b := &builder{schema: next, typ: from.builder.typ, defs: make(map[*Param]*definition, len(s.params))}
	for _, p := range s.params {
		next.byCode[p.Code] = p
	}
	for p, d := range s.builder.defs {
		b.defs[p] = d
	}
	next.builder = b
	return b
}

// custom compiles a definition. The result has its own rows, even if its values
// are those of another parameter.
func (b *builder) custom(c *Custom) *Param {
	sp := c.SearchParam
	b.add(&sp)
	p := b.schema.params[len(b.schema.params)-1]
	p.Custom, p.key, p.Bit = true, b.typ.Name+"."+c.Code+"#"+c.Key, -1
	p.partial.Store(c.Partial)
	p.limits.Store(&c.Limits)
	b.compile(p)
	b.components(p)
	p.Single = false
	if p.Unsupported == "" {
		b.ofType(p)
		b.identifier(p)
	}
	return p
}

// keep adds a custom parameter; the Param of an earlier schema is used again.
func (b *builder) keep(old *schema, c *Custom) {
	key := b.typ.Name + "." + c.Code + "#" + c.Key
	for _, p := range old.params {
		if p.Custom && p.key == key {
			p.partial.Store(c.Partial)
			p.limits.Store(&c.Limits)
			b.schema.params = append(b.schema.params, p)
			b.schema.byCode[p.Code] = p
			b.defs[p] = old.builder.defs[p]
			return
		}
	}
	b.custom(c)
}

// finish compiles the trie of a builder.
func (b *builder) finish() {
	slices.SortStableFunc(b.schema.params, func(x, y *Param) int { return strings.Compare(x.Code, y.Code) })
	b.schema.trie, b.schema.evals = &trie{}, nil
	for _, p := range b.schema.params {
		b.index(p)
	}
	b.schema.trie.finish()
}
