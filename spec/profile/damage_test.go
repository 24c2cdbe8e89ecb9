package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// TestDamage replaces every value of every example by something that is wrong
// wherever it stands, and expects one of the issues at that very place.
func TestDamage(t *testing.T) {
	files, _ := filepath.Glob("testdata/examples/*.json")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		root := parse(t, string(data))
		walk(root, func(n resource.Node) {
			place := strings.ReplaceAll(n.Path(), "._", ".")
			for _, bad := range []string{"{}", "[]", "[[1]]"} {
				start, end := n.Offsets()
				src := root.AppendEdited(nil, []resource.Edit{{Start: start, End: end, With: []byte(bad)}})
				issues := Check(parse(t, string(src)), "")
				found := slices.ContainsFunc(issues, func(i Issue) bool {
					// Without its resourceType the root has no name.
					return strings.HasPrefix(strings.Replace(i.Expression, "$this.", root.Path()+".", 1), place)
				})
				if !found {
					t.Errorf("%s: %s = %s: %v", filepath.Base(name), place, bad, issues)
				}
			}
		})
	}
}

// TestUnknownMember adds a member that no type has to every object of every example.
func TestUnknownMember(t *testing.T) {
	files, _ := filepath.Glob("testdata/examples/*.json")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		root := parse(t, string(data))
		visit := func(n resource.Node) {
			if n.Kind() != resource.Object {
				return
			}
			_, end := n.Offsets()
			src := slices.Concat(data[:end-1], []byte(`,"zz":1`), data[end-1:])
			want := strings.ReplaceAll(n.Path()+".zz", "._", ".")
			issues := Check(parse(t, string(src)), "")
			if len(issues) != 1 || issues[0].Expression != want || issues[0].Code != codeStructure {
				t.Errorf("%s: %s: %v", filepath.Base(name), want, issues)
			}
		}
		visit(root)
		walk(root, visit)
	}
}

// walk calls visit for everything below n.
func walk(n resource.Node, visit func(resource.Node)) {
	for c := range n.Children() {
		visit(c)
		walk(c, visit)
	}
}
