package search

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/r4"
)

// bracketed reads a path in which a filter in brackets narrows down what a
// reference leads to: subject[birthdate gt 2000].name. It becomes a chain to
// resources that both the filter and the rest of the path hold for.
func (f *filterParser) bracketed(path, op string, value filterToken) (*Clause, error) {
	head, cond, rest, err := cutPath(path)
	if err != nil {
		return nil, badValue(f.name, "%s: %s", path, err.Error())
	}
	c := &Clause{Name: f.name, path: head + "."}
	if ok, err := f.p.define(c, f.p.types, head); !ok {
		return nil, err
	}
	if c.Field != FieldParam || c.kind() != Reference {
		return nil, invalid(f.name, "%s is no reference, and only a reference can be followed", head)
	}
	targets := c.targets()
	if targets == nil {
		targets = r4.ResourceTypes()
	}
	in, err := f.p.inner(f.name)
	if err != nil {
		return nil, err
	}
	var first error
	for _, t := range targets {
		next, err := f.behind(c, in, t, cond, rest, op, value)
		if err != nil {
			first = better(first, err)
			continue
		}
		c.Chain = append(c.Chain, Chain{Target: t, Next: next})
	}
	if len(c.Chain) == 0 {
		return nil, first
	}
	return c, nil
}

// behind makes the clause of what a reference to a type leads to.
func (f *filterParser) behind(ref *Clause, in *parser, typ, cond, rest, op string, value filterToken) (*Clause, error) {
	p := *in
	p.types = []string{typ}
	sub := &filterParser{p: &p, ref: ref, name: f.name, depth: f.depth + 1, terms: f.terms}
	if sub.depth > maxNesting {
		return nil, &Error{Param: f.name, Code: "too-costly", Msg: "the filter has too many brackets inside each other"}
	}
	next, err := sub.compare(rest, op, value)
	if err != nil || cond == "" {
		return next, err
	}
	if sub.rest, err = lexFilter(cond); err != nil {
		return nil, badValue(f.name, "%s", err.Error())
	}
	c, err := sub.or()
	if err == nil && len(sub.rest) > 0 {
		err = badValue(f.name, "%q is not expected there", sub.rest[0].text)
	}
	if err != nil {
		return nil, err
	}
	f.terms = max(f.terms, sub.terms)
	return &Clause{Name: f.name, All: append(flat(c), flat(next)...)}, nil
}

type pathError string

func (e pathError) Error() string { return string(e) }

// cutPath splits a path behind its first name, and its filter if it has one.
func cutPath(path string) (head, cond, rest string, err error) {
	i := strings.IndexAny(path, ".[")
	if i <= 0 {
		return "", "", "", pathError("a name and a dot are missing")
	}
	if head = path[:i]; path[i] == '.' {
		return head, "", path[i+1:], nil
	}
	depth := 0
	for j := i; j < len(path); j++ {
		switch path[j] {
		case '"':
			if _, n, ok := filterString(path[j:]); ok {
				j += n - 1
			}
		case '[':
			depth++
		case ']':
			if depth--; depth > 0 {
				continue
			}
			cond = path[i+1 : j]
			if strings.TrimSpace(cond) == "" {
				return "", "", "", pathError("the brackets are empty")
			}
			if rest = path[j+1:]; len(rest) < 2 || rest[0] != '.' {
				return "", "", "", pathError("behind the brackets a dot and a name are needed")
			}
			return head, cond, rest[1:], nil
		}
	}
	return "", "", "", pathError("a bracket is not closed")
}
