package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listed is the part of the output of go list that the checks need.
type listed struct {
	Dir          string
	ImportPath   string
	Name         string
	Doc          string
	Export       string
	Standard     bool
	Module       *struct{ Path, Dir string }
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the path inside the module.
func (p *listed) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// files returns every Go file of the package, tests included.
func (p *listed) files() []string {
	var out []string
	for _, f := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
		out = append(out, filepath.Join(p.Dir, f))
	}
	return out
}

// goList runs go list in the root of the module.
func goList(args ...string) ([]*listed, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	var all []*listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// tree lists the packages of the module once.
var tree = sync.OnceValues(func() ([]*listed, error) {
	return goList("-json=Dir,ImportPath,Name,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
})

// packages returns the packages of the module.
func packages(t *testing.T) []*listed {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parse parses one file, with comments.
func parse(t *testing.T, fset *token.FileSet, name string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// isModule reports whether path belongs to this module.
func isModule(path string) bool { return under(path, module) }

// isStandard reports whether path is of the standard library: its first element has no dot.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		from := p.path()
		for _, imp := range p.Imports {
			switch {
			case imp == "C":
				t.Errorf("%s uses cgo; the binary is built with CGO_ENABLED=0", from)
			case isModule(imp):
				if to := strings.TrimPrefix(imp, module+"/"); !mayImport(from, to) {
					t.Errorf("%s imports %s: not allowed by the table of docs/architecture.md", from, to)
				}
			case !isStandard(imp):
				checkThirdParty(t, from, imp, false)
			}
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if !isModule(imp) && !isStandard(imp) {
				checkThirdParty(t, from, imp, true)
			}
		}
	}
}

// checkThirdParty reports an import of a foreign module in the wrong place.
func checkThirdParty(t *testing.T, from, imp string, inTest bool) {
	t.Helper()
	for _, mod := range testOnly {
		if under(imp, mod) {
			if !inTest && !under(from, "test") {
				t.Errorf("%s imports %s, which is for tests only", from, imp)
			}
			return
		}
	}
	ok, known := mayUse(from, imp)
	switch {
	case ok, known && inTest:
	case !known:
		t.Errorf("%s imports %s: the module is not in the table of third parties (test/arch/rules.go)", from, imp)
	default:
		t.Errorf("%s imports %s, which stays behind another package (test/arch/rules.go)", from, imp)
	}
}

func TestMayImport(t *testing.T) {
	tests := []struct {
		from, to string
		want     bool
	}{
		{"spec/search", "spec/resource", true},
		{"spec/search", "platform/fault", false},
		{"platform/web", "platform/fault", true},
		{"platform/fault", "platform/web", false},
		{"platform/web", "spec/resource", false},
		{"fhir", "spec/search", true},
		{"fhir", "manage", false},
		{"fhir", "fhir/fhirsql", false},
		{"medtech", "medtech/mapping", true},
		{"fhir/fhirhttp", "fhir", true},
		{"fhir/fhirhttp", "fhir/fhirsql", false},
		{"manage", "manage/managefile", false},
		{"manage/managefile", "manage", true},
		{"server", "fhir/fhirsql", true},
		{"server", "cmd/hygeia", false},
		{"loader", "fhir", false},
		{"cmd/hygeia", "server", true},
		{"cmd/hygeia", "fhir", false},
		{"newroom", "platform/fault", false},
	}
	for _, tt := range tests {
		if got := mayImport(tt.from, tt.to); got != tt.want {
			t.Errorf("mayImport(%s, %s) = %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// fileName finds the names of Go files in prose; pred_*.go stands for several.
var fileName = regexp.MustCompile(`(?:^|[^\w/.*])([a-zA-Z]\w*(?:\*\w*)?\.go)\b`)

// TestReadingOrder compares the files of a package with those that its doc.go
// names. Where there are few, the names of the files say it all.
func TestReadingOrder(t *testing.T) {
	for _, p := range packages(t) {
		text, err := os.ReadFile(filepath.Join(p.Dir, "doc.go"))
		if err != nil {
			continue // TestPackageComments asks for the comment
		}
		var named []string
		for _, m := range fileName.FindAllStringSubmatch(string(text), -1) {
			named = append(named, m[1])
			if found, _ := filepath.Glob(filepath.Join(p.Dir, m[1])); len(found) == 0 {
				t.Errorf("%s/doc.go names %s, which is not there", p.path(), m[1])
			}
		}
		if len(p.GoFiles) <= fewFiles && len(named) == 0 {
			continue
		}
		for _, f := range p.GoFiles {
			known := slices.ContainsFunc(named, func(n string) bool { ok, _ := filepath.Match(n, f); return ok })
			if f != "doc.go" && !known {
				t.Errorf("%s/doc.go does not name %s: put it where it belongs in the reading order", p.path(), f)
			}
		}
	}
}

// fewFiles is how many files of a package need no reading order.
const fewFiles = 5

func TestFileLength(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.files() {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(src, []byte("\n")); n > maxLines && !generated.Match(src) {
				t.Errorf("%s/%s has %d lines; the limit is %d", p.path(), filepath.Base(name), n, maxLines)
			}
		}
	}
}

// TestNoSideEffects forbids registration by init functions and blank imports:
// what is joined is joined in server, by calls that can be read.
func TestNoSideEffects(t *testing.T) {
	fset := token.NewFileSet()
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			f := parse(t, fset, filepath.Join(p.Dir, name))
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: init function", fset.Position(fn.Pos()))
				}
			}
			for _, imp := range f.Imports {
				path := strings.Trim(imp.Path.Value, `"`)
				if imp.Name != nil && imp.Name.Name == "_" && !isStandard(path) {
					t.Errorf("%s: blank import of %s", fset.Position(imp.Pos()), path)
				}
			}
		}
	}
}

var (
	mark     = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	numbered = regexp.MustCompile(`TODO\(#\d+\)`)
)

// TestMarks wants an issue number with every mark that is left in a comment.
func TestMarks(t *testing.T) {
	fset := token.NewFileSet()
	for _, p := range packages(t) {
		if under(p.path(), "test/arch") {
			continue // it names the marks
		}
		for _, name := range p.files() {
			for _, group := range parse(t, fset, name).Comments {
				for _, c := range group.List {
					if mark.MatchString(numbered.ReplaceAllString(c.Text, "")) {
						t.Errorf("%s: a mark without an issue number; write TODO(#12)", fset.Position(c.Pos()))
					}
				}
			}
		}
	}
}

var bareLimit = regexp.MustCompile(`LIMIT (\$\d+|\$%d|\?|"|` + "`" + `)([^+\d]|$)`)

// TestLimits forbids a bare parameter behind LIMIT: see platform/db/doc.go.
func TestLimits(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range bytes.Split(src, []byte("\n")) {
				if bareLimit.Match(line) {
					t.Errorf("%s/%s:%d: write LIMIT $1+0", p.path(), name, i+1)
				}
			}
		}
	}
}

// TestExportedTypes reads the compiled export data of every package and reports
// exported names whose type mentions a type of a third party.
func TestExportedTypes(t *testing.T) {
	deps, err := goList("-export", "-deps", "-json=ImportPath,Export,Name,Standard", "./...")
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	for _, p := range deps {
		exports[p.ImportPath] = p.Export
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	for _, p := range deps {
		if !isModule(p.ImportPath) || p.Name == "main" || p.Export == "" {
			continue
		}
		pkg, err := imp.Import(p.ImportPath)
		if err != nil {
			t.Fatal(err)
		}
		w := walker{t: t, pkg: pkg, seen: map[types.Type]bool{}}
		w.scope()
	}
}

// walker visits the exported types of one package.
type walker struct {
	t    *testing.T
	pkg  *types.Package
	at   string
	seen map[types.Type]bool
}

func (w *walker) scope() {
	scope := w.pkg.Scope()
	for _, name := range scope.Names() {
		obj := scope.Lookup(name)
		if !obj.Exported() {
			continue
		}
		w.at = w.pkg.Path() + "." + name
		if tn, ok := obj.(*types.TypeName); ok {
			w.defined(tn)
			continue
		}
		w.visit(obj.Type())
	}
}

// defined visits what a type declares: its underlying type and exported methods.
func (w *walker) defined(tn *types.TypeName) {
	w.visit(types.Unalias(tn.Type()))
	named, ok := types.Unalias(tn.Type()).(*types.Named)
	if !ok || named.Obj().Pkg() != w.pkg {
		return
	}
	w.visit(named.Underlying())
	for m := range named.Methods() {
		if m.Exported() {
			w.visit(m.Type())
		}
	}
}

// visit follows the parts of a type that a user of the package can see.
func (w *walker) visit(typ types.Type) {
	typ = types.Unalias(typ)
	if typ == nil || w.seen[typ] {
		return
	}
	w.seen[typ] = true
	switch x := typ.(type) {
	case *types.Named:
		if p := x.Obj().Pkg(); p != nil && !isModule(p.Path()) && !isStandard(p.Path()) {
			w.t.Errorf("%s mentions %s", w.at, x)
		}
		for a := range x.TypeArgs().Types() {
			w.visit(a)
		}
	case *types.Pointer:
		w.visit(x.Elem())
	case *types.Slice:
		w.visit(x.Elem())
	case *types.Array:
		w.visit(x.Elem())
	case *types.Chan:
		w.visit(x.Elem())
	case *types.Map:
		w.visit(x.Key())
		w.visit(x.Elem())
	case *types.Signature:
		w.visit(x.Params())
		w.visit(x.Results())
	case *types.Tuple:
		for v := range x.Variables() {
			w.visit(v.Type())
		}
	case *types.Struct:
		for f := range x.Fields() {
			if f.Exported() {
				w.visit(f.Type())
			}
		}
	case *types.Interface:
		for m := range x.Methods() {
			if m.Exported() {
				w.visit(m.Type())
			}
		}
	}
}

// TestLedger compares the modules linked into the binary with docs/deps.txt,
// where each has a line and a reason.
func TestLedger(t *testing.T) {
	deps, err := goList("-deps", "-json=ImportPath,Module", "./cmd/hygeia")
	if err != nil {
		t.Fatal(err)
	}
	var linked []string
	for _, p := range deps {
		if p.Module != nil && p.Module.Path != module {
			linked = append(linked, p.Module.Path)
		}
	}
	slices.Sort(linked)
	linked = slices.Compact(linked)

	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "deps.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var ledger []string
	for line := range strings.Lines(string(text)) {
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || name[0] == '#' || name == "budget" {
			continue
		}
		if strings.TrimSpace(reason) == "" {
			t.Errorf("docs/deps.txt: %s has no reason", name)
		}
		ledger = append(ledger, name)
	}
	if diff := cmp.Diff(ledger, linked); diff != "" {
		t.Errorf("docs/deps.txt differs from the modules linked into cmd/hygeia (-ledger +linked):\n%s", diff)
	}
}
