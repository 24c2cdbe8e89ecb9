package terminology_test

import (
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/terminology"
)

type source map[string]string

func (s source) node(url string) (resource.Node, bool, error) {
	text, ok := s[url]
	if !ok {
		return resource.Node{}, false, nil
	}
	d := &resource.Doc{}
	err := d.Parse([]byte(text), resource.Options{})
	return d.Root(), true, err
}

func (s source) ValueSet(url string) (resource.Node, bool, error)   { return s.node("vs:" + url) }
func (s source) CodeSystem(url string) (resource.Node, bool, error) { return s.node("cs:" + url) }

var known = source{
	"cs:animals": `{"resourceType":"CodeSystem","content":"complete","concept":[
		{"code":"animal","concept":[{"code":"dog","display":"Dog","concept":[{"code":"poodle","property":[{"code":"size","valueString":"small"}]}]},{"code":"cat"}]},
		{"code":"wolf","property":[{"code":"parent","valueCode":"dog"}]},{"code":"stone"}]}`,
	"cs:part":      `{"resourceType":"CodeSystem","content":"fragment","concept":[{"code":"a"}]}`,
	"vs:list":      `{"resourceType":"ValueSet","compose":{"include":[{"system":"animals","concept":[{"code":"dog"},{"code":"stone"}]},{"system":"other","concept":[{"code":"x"}]}]}}`,
	"vs:all":       `{"resourceType":"ValueSet","compose":{"include":[{"system":"animals"}],"exclude":[{"system":"animals","concept":[{"code":"stone"}]}]}}`,
	"vs:isa":       `{"resourceType":"ValueSet","compose":{"include":[{"system":"animals","filter":[{"property":"concept","op":"is-a","value":"dog"}]}]}}`,
	"vs:below":     `{"resourceType":"ValueSet","compose":{"include":[{"system":"animals","filter":[{"property":"concept","op":"descendent-of","value":"animal"},{"property":"code","op":"regex","value":"[cd].."}]}]}}`,
	"vs:small":     `{"resourceType":"ValueSet","compose":{"include":[{"system":"animals","filter":[{"property":"size","op":"=","value":"small"}]}]}}`,
	"vs:both":      `{"resourceType":"ValueSet","compose":{"include":[{"valueSet":["list","isa"]}]}}`,
	"vs:expanded":  `{"resourceType":"ValueSet","expansion":{"contains":[{"system":"s","code":"a","contains":[{"system":"s","code":"b"}]},{"abstract":true,"code":"c"}]}}`,
	"vs:fallback":  `{"resourceType":"ValueSet","compose":{"include":[{"system":"unknown"}]},"expansion":{"contains":[{"system":"s","code":"a"}]}}`,
	"vs:loop":      `{"resourceType":"ValueSet","compose":{"include":[{"valueSet":["loop"]}]}}`,
	"vs:unknown":   `{"resourceType":"ValueSet","compose":{"include":[{"system":"unknown"}]}}`,
	"vs:part":      `{"resourceType":"ValueSet","compose":{"include":[{"system":"part"}]}}`,
	"vs:operation": `{"resourceType":"ValueSet","compose":{"include":[{"system":"animals","filter":[{"property":"x","op":"magic","value":"1"}]}]}}`,
	"vs:nothing":   `{"resourceType":"ValueSet"}`,
}

func text(list []terminology.Coding) string {
	var out []string
	for _, c := range list {
		out = append(out, c.System+"|"+c.Code)
	}
	return strings.Join(out, " ")
}

func TestExpand(t *testing.T) {
	for name, want := range map[string]string{
		"list":     "animals|dog animals|stone other|x",
		"all":      "animals|animal animals|dog animals|poodle animals|cat animals|wolf",
		"isa":      "animals|dog animals|poodle animals|wolf",
		"below":    "animals|dog animals|cat",
		"small":    "animals|poodle",
		"both":     "animals|dog",
		"expanded": "s|a s|b",
		"fallback": "s|a",
	} {
		got, err := terminology.Expand(known, name)
		if err != nil || text(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, text(got), err, want)
		}
	}
	for _, name := range []string{"loop", "unknown", "part", "operation", "nothing", "none"} {
		if got, err := terminology.Expand(known, name); err == nil {
			t.Errorf("%s: %q, want an error", name, text(got))
		}
	}
}

func TestRelated(t *testing.T) {
	for _, c := range []struct {
		code  string
		below bool
		want  string
	}{
		{"dog", true, "animals|dog animals|poodle animals|wolf"},
		{"poodle", false, "animals|animal animals|dog animals|poodle"},
		{"stone", true, "animals|stone"},
	} {
		got, err := terminology.Related(known, terminology.Coding{System: "animals", Code: c.code}, c.below)
		if err != nil || text(got) != c.want {
			t.Errorf("%s %v: %q, %v; want %q", c.code, c.below, text(got), err, c.want)
		}
	}
	for _, c := range []terminology.Coding{{System: "animals", Code: "fish"}, {System: "unknown", Code: "x"}, {System: "part", Code: "a"}} {
		if got, err := terminology.Related(known, c, true); err == nil {
			t.Errorf("%v: %q, want an error", c, text(got))
		}
	}
}
