package arch

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/licences.txt anew")

// licences are recognised by words that only their texts have. All of them let
// the binary be given away with their notices, which make release writes.
var licences = []struct {
	id    string
	words []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0"}},
	{"MPL-2.0", []string{"Mozilla Public License", "2.0"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "contributors may be used to endorse"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute this software"}},
	{"ISC", []string{"Permission to use, copy, modify, and distribute this software"}},
	{"MIT", []string{"Permission is hereby granted, free of charge, to any person obtaining a copy"}},
}

// licenceOf returns what the files of a module say, "" when that is not known here.
func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		flat := bytes.Join(bytes.Fields(text), []byte(" "))
		for _, l := range licences {
			if !slices.ContainsFunc(l.words, func(w string) bool { return !bytes.Contains(flat, []byte(w)) }) {
				found = append(found, l.id)
				break
			}
		}
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " ")
}

// TestLicences compares docs/licences.txt with the licence texts of the modules
// that are linked into the binary.
func TestLicences(t *testing.T) {
	deps, err := goList("-deps", "-json=ImportPath,Module", "./cmd/hygeia")
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	for _, p := range deps {
		if p.Module != nil && p.Module.Path != module {
			dirs[p.Module.Path] = p.Module.Dir
		}
	}
	var want strings.Builder
	want.WriteString("# The licences of the modules that are linked into the hygeia binary, as their own files say.\n# Written by go test ./test/arch -run Licences -update; make release writes their texts.\n")
	names := make([]string, 0, len(dirs))
	width := 0
	for name := range dirs {
		names = append(names, name)
		width = max(width, len(name))
	}
	slices.Sort(names)
	for _, name := range names {
		id := licenceOf(t, dirs[name])
		if id == "" {
			t.Errorf("%s: no licence that is known here in %s", name, dirs[name])
		}
		want.WriteString(name + strings.Repeat(" ", width-len(name)+2) + id + "\n")
	}
	path := filepath.Join("..", "..", "docs", "licences.txt")
	if *update {
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want.String() {
		t.Errorf("docs/licences.txt does not say what the modules say (%v); write it anew with -update", err)
	}
}
