package patch_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/spec/patch"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// FuzzJSON compares JSON Patch with a model on Go values.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":[1,{"b":null}]}`, `[{"op":"add","path":"/a/0","value":[]},{"op":"move","from":"/a/2/b","path":"/c"}]`)
	f.Add(`{"a":1}`, `[{"op":"copy","from":"","path":"/b"},{"op":"replace","path":"/b/a","value":{}},{"op":"remove","path":"/a"}]`)
	f.Add(`[[]]`, `[{"op":"add","path":"/0/-","value":1},{"op":"move","from":"/0/0","path":"/1"}]`)
	f.Fuzz(func(t *testing.T, doc, ops string) {
		var d, o resource.Doc
		if d.Parse([]byte(doc), resource.Options{}) != nil || o.Parse([]byte(ops), resource.Options{}) != nil {
			return
		}
		p, err := patch.ParseJSON(o.Root())
		if err != nil || p.Len() > 20 {
			return
		}
		out, err := p.Apply(nil, d.Root(), patch.Options{})
		if err == nil {
			parse(t, string(out))
		}
		if strings.Contains(ops, `"test"`) {
			return // the model does not know it
		}
		var root any
		var list []map[string]json.RawMessage
		if json.Unmarshal([]byte(doc), &root) != nil || json.Unmarshal([]byte(ops), &list) != nil {
			return // a number that is no float64
		}
		m := model{root}
		for _, op := range list {
			if !m.do(op) {
				if err == nil {
					t.Fatalf("%s on %s gave %s, the model refuses", ops, doc, out)
				}
				return
			}
		}
		if err != nil {
			t.Fatalf("%s on %s: %v, the model gives %v", ops, doc, err, m.root)
		}
		want, _ := json.Marshal(m.root)
		if diff := cmp.Diff(anyJSON(t, string(want)), anyJSON(t, string(out))); diff != "" {
			t.Fatalf("%s on %s: %s", ops, doc, diff)
		}
	})
}

// model is RFC 6902 without test, on the values of encoding/json.
type model struct{ root any }

func (m *model) do(op map[string]json.RawMessage) bool {
	var name, path, from string
	_ = json.Unmarshal(op["op"], &name)
	_ = json.Unmarshal(op["path"], &path)
	_ = json.Unmarshal(op["from"], &from)
	var v any
	if name == "move" || name == "copy" {
		text, ok := m.text(from)
		if !ok || name == "move" && strings.HasPrefix(path, from+"/") {
			return false
		}
		_ = json.Unmarshal([]byte(text), &v)
	} else {
		_ = json.Unmarshal(op["value"], &v)
	}
	ok := true
	switch name {
	case "replace":
		if _, ok = m.text(path); !ok {
			return false
		}
		if path == "" {
			m.root = v
			return true
		}
		m.root, ok = edit(m.root, tokens(path), "set", v)
		return ok
	case "move":
		if path == from {
			return true
		}
		if m.root, ok = edit(m.root, tokens(from), "remove", nil); !ok {
			return false
		}
	case "remove":
		m.root, ok = edit(m.root, tokens(path), "remove", nil)
		return ok
	}
	m.root, ok = edit(m.root, tokens(path), "add", v)
	return ok
}

// text returns the JSON of the value at a pointer: a copy of it.
func (m *model) text(path string) (string, bool) {
	v := m.root
	for _, tok := range tokens(path) {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[tok]; !ok {
				return "", false
			}
		case []any:
			i, err := strconv.Atoi(tok)
			if err != nil || i < 0 || i >= len(x) || strconv.Itoa(i) != tok {
				return "", false
			}
			v = x[i]
		default:
			return "", false
		}
	}
	b, _ := json.Marshal(v)
	return string(b), true
}

func tokens(path string) []string {
	if path == "" {
		return nil
	}
	list := strings.Split(path[1:], "/")
	for i := range list {
		list[i] = strings.ReplaceAll(strings.ReplaceAll(list[i], "~1", "/"), "~0", "~")
	}
	return list
}

// edit returns v with one change below it.
func edit(v any, path []string, how string, val any) (any, bool) {
	if len(path) == 0 {
		return val, how != "remove"
	}
	tok, last := path[0], len(path) == 1
	switch x := v.(type) {
	case map[string]any:
		old, has := x[tok]
		if !has && (!last || how == "remove") {
			return v, false
		}
		if last && how == "remove" {
			delete(x, tok)
			return x, true
		}
		c, ok := edit(old, path[1:], how, val)
		x[tok] = c
		return x, ok
	case []any:
		i, err := strconv.Atoi(tok)
		if tok == "-" {
			i, err = len(x), nil
		} else if err != nil || strconv.Itoa(i) != tok {
			return v, false
		}
		switch {
		case i < 0 || i > len(x) || i == len(x) && (!last || how != "add"):
			return v, false
		case last && how == "add":
			return slices.Insert(x, i, val), true
		case last && how == "remove":
			return slices.Delete(x, i, i+1), true
		}
		c, ok := edit(x[i], path[1:], how, val)
		x[i] = c
		return x, ok
	}
	return v, false
}

// FuzzFHIRPath looks for panics, for results that are no JSON, and for changes
// of what is fixed.
func FuzzFHIRPath(f *testing.F) {
	f.Add(pat, ops(`delete Patient.name[0].given[0]`, `add Patient.birthDate extension | `+val(`"part":[{"name":"url","valueUri":"u"},{"name":"value","valueCode":"c"}]`)))
	f.Add(pat, ops(`move Patient.name | {"name":"source","valueInteger":1},{"name":"destination","valueInteger":0}`, `replace Patient.multipleBirth | `+val(`"valueBoolean":true`)))
	f.Add(pat, ops(`insert Patient.name[1].given | {"name":"index","valueInteger":0},`+val(`"_valueString":{"id":"x"}`), `delete Patient.name[1].given[0]`))
	f.Add(`{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Basic","code":{"text":"x"}}}]}`, ops(`replace Bundle.entry[0].resource.code.text | `+val(`"valueString":"y"`)))
	f.Fuzz(func(t *testing.T, doc, params string) {
		var d, o resource.Doc
		if d.Parse([]byte(doc), resource.Options{}) != nil || o.Parse([]byte(params), resource.Options{}) != nil {
			return
		}
		p, err := patch.ParseFHIRPath(o.Root())
		if err != nil || p.Len() > 20 {
			return
		}
		out, err := p.Apply(nil, d.Root(), patch.Options{Fixed: []string{"id"}})
		if err != nil {
			if _, ok := err.(*patch.Error); !ok || len(out) > 0 {
				t.Fatalf("%q %#v", out, err)
			}
			return
		}
		if was, is := d.Root().Get("id").Raw(), parse(t, string(out)).Get("id").Raw(); string(was) != string(is) && d.Root().Get("id").Len() == 0 {
			t.Fatalf("the id went from %s to %s", was, is)
		}
	})
}
