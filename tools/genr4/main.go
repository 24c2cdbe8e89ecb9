// Command genr4 writes the definitions of FHIR R4 that spec/r4 embeds.
//
// It reads the official package hl7.fhir.r4.core 4.0.1 (the .tgz file) and
// writes one zstd file in the format that spec/r4/decode.go describes:
//
//	go run ./genr4 hl7.fhir.r4.core-4.0.1.tgz ../spec/r4/r4.bin.zst
//
// It fails when anything refers to a type that is not there, so that the
// package can rely on every reference being resolved.
package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: genr4 hl7.fhir.r4.core-4.0.1.tgz r4.bin.zst")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "genr4:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	src, err := readPackage(in)
	if err != nil {
		return err
	}
	m, err := build(src)
	if err != nil {
		return err
	}
	data, stats := encode(m)
	if err := os.WriteFile(out, data, 0o644); err != nil {
		return err
	}
	fmt.Println(stats)
	return nil
}

// source is what is read from the package, in no order.
type source struct {
	structures   []structureDefinition
	params       []searchParameter
	compartments []compartmentDefinition
	valueSets    map[string]*valueSet
	codeSystems  map[string]*codeSystem
}

func readPackage(name string) (*source, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	src := &source{valueSets: map[string]*valueSet{}, codeSystems: map[string]*codeSystem{}}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return src, nil
		}
		if err != nil {
			return nil, err
		}
		if err := src.add(path.Base(h.Name), tr); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func (s *source) add(name string, r io.Reader) error {
	kind, _, _ := strings.Cut(name, "-")
	switch kind {
	case "StructureDefinition":
		return appendJSON(r, &s.structures)
	case "SearchParameter":
		return appendJSON(r, &s.params)
	case "CompartmentDefinition":
		return appendJSON(r, &s.compartments)
	case "ValueSet":
		v := new(valueSet)
		err := json.NewDecoder(r).Decode(v)
		s.valueSets[v.URL] = v
		return err
	case "CodeSystem":
		c := new(codeSystem)
		err := json.NewDecoder(r).Decode(c)
		s.codeSystems[c.URL] = c
		return err
	}
	return nil
}

func appendJSON[T any](r io.Reader, list *[]T) error {
	var v T
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		return err
	}
	*list = append(*list, v)
	return nil
}
