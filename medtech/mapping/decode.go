package mapping

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// decoder reads a mapping strictly and collects what is wrong with it.
type decoder struct {
	src      []byte
	problems Problems
}

// decode parses the text; when that fails there is one problem and no root.
func decode(text []byte) (*decoder, resource.Node) {
	d := &decoder{src: text}
	doc := new(resource.Doc)
	if err := doc.Parse(text, resource.Options{}); err != nil {
		p := Problem{Message: "the mapping is no JSON: " + err.Error()}
		if se, ok := err.(*resource.SyntaxError); ok {
			p.Line, p.Column = position(text, se.Offset)
			p.Message = "the mapping is no JSON: " + se.Msg
		}
		d.problems = append(d.problems, p)
		return d, resource.Node{}
	}
	return d, doc.Root()
}

// fail notes a problem at a node.
func (d *decoder) fail(n resource.Node, format string, args ...any) {
	d.note(n, 0, false, fmt.Sprintf(format, args...))
}

func (d *decoder) warn(n resource.Node, format string, args ...any) {
	d.note(n, 0, true, fmt.Sprintf(format, args...))
}

func (d *decoder) note(n resource.Node, within int, warning bool, msg string) {
	p := Problem{Message: msg, Warning: warning}
	if n.Valid() {
		start, _ := n.Offsets()
		p.Line, p.Column = position(d.src, start+within)
		p.Path = strings.TrimPrefix(strings.TrimPrefix(n.Path(), "$this"), ".")
	}
	d.problems = append(d.problems, p)
}

// at returns the position of a node, for errors that messages cause later.
func (d *decoder) at(n resource.Node) (line, column int) {
	start, _ := n.Offsets()
	return position(d.src, start)
}

// sorted returns the problems in the order of the text.
func (d *decoder) sorted() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d.problems
}

// members calls the function of each member, whose names are matched without
// regard to case; a member without a function is a problem, and so is a missing
// one whose name has a star in front.
type members map[string]func(resource.Node)

// object reads an object; what says what it is, for the problem when it is none.
func (d *decoder) object(n resource.Node, what string, m members) bool {
	if n.Kind() != resource.Object {
		d.fail(n, "%s must be an object, not %s", what, n.Kind())
		return false
	}
	seen := map[string]bool{}
next:
	for c := range n.Children() {
		key := string(c.Key())
		for name, f := range m {
			plain := strings.TrimPrefix(name, "*")
			if !strings.EqualFold(plain, key) {
				continue
			}
			if seen[plain] {
				d.fail(c, "the member %q is there twice", plain)
				continue next
			}
			seen[plain] = true
			if c.Kind() == resource.Null && !strings.HasPrefix(name, "*") {
				continue next // null is as good as absent
			}
			f(c)
			continue next
		}
		d.fail(c, "%s has no member %q%s", what, key, nearest(key, m))
	}
	for _, name := range sorted(m) {
		if plain, required := strings.CutPrefix(name, "*"); required && !seen[plain] {
			d.fail(n, "the required member %q is missing", plain)
		}
	}
	return true
}

// list reads an array.
func (d *decoder) list(n resource.Node, what string, f func(resource.Node)) {
	if n.Kind() != resource.Array {
		d.fail(n, "%s must be an array, not %s", what, n.Kind())
		return
	}
	for c := range n.Children() {
		f(c)
	}
}

// text reads a string into *to.
func (d *decoder) text(to *string) func(resource.Node) {
	return func(n resource.Node) {
		if n.Kind() != resource.String {
			d.fail(n, "a string belongs here, not %s", n.Kind())
			return
		}
		*to = n.Text()
	}
}

// name reads a string that is not blank.
func (d *decoder) name(to *string) func(resource.Node) {
	return func(n resource.Node) {
		if d.text(to)(n); n.Kind() == resource.String && strings.TrimSpace(*to) == "" {
			d.fail(n, "the text must not be empty")
		}
	}
}

// flag reads true or false, also as text.
func (d *decoder) flag(to *bool) func(resource.Node) {
	return func(n resource.Node) {
		text := strings.ToLower(n.Text())
		if k := n.Kind(); k != resource.Bool && k != resource.String || text != "true" && text != "false" {
			d.fail(n, "true or false belongs here")
			return
		}
		*to = text == "true"
	}
}

// templates reads the frame that both mappings have and calls each for the
// templates in it.
func (d *decoder) templates(root resource.Node, collection string, each func(kind string, at, template resource.Node)) {
	var typ, list resource.Node
	ok := d.object(root, "the mapping", members{
		"*templateType": func(n resource.Node) { typ = n },
		"*template":     func(n resource.Node) { list = n },
	})
	if !ok || !typ.Valid() || !list.Valid() {
		return
	}
	if typ.Kind() != resource.String || !isType(typ.Text(), collection) {
		d.fail(typ, "the templateType must be %s", collection)
		return
	}
	d.list(list, "the template of a "+collection, func(n resource.Node) {
		var typ, template resource.Node
		ok := d.object(n, "a template", members{
			"*templateType": func(n resource.Node) { typ = n },
			"*template":     func(n resource.Node) { template = n },
		})
		switch {
		case !ok || !typ.Valid() || !template.Valid():
		case typ.Kind() != resource.String:
			d.fail(typ, "a string belongs here, not %s", typ.Kind())
		default:
			each(typ.Text(), typ, template)
		}
	})
}

// isType compares the name of a type of template: case does not matter, and the
// word Template may follow.
func isType(text, name string) bool {
	return strings.EqualFold(text, name) || strings.EqualFold(text, name+"Template")
}

func sorted(m members) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sortByName(names)
	return names
}

// nearest suggests the name that a client may have meant.
func nearest(key string, m members) string {
	best, distance := "", 4
	for _, name := range sorted(m) {
		plain := strings.TrimPrefix(name, "*")
		if d := editDistance(strings.ToLower(key), strings.ToLower(plain)); d < distance {
			best, distance = plain, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
