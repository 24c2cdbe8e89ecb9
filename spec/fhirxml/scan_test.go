package fhirxml

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzScan compares the scanner with that of encoding/xml: what it accepts, that
// must accept, and see the same elements and attributes in it.
func FuzzScan(f *testing.F) {
	f.Add(`<?xml version="1.0"?><a xmlns="u" xmlns:p="v" b="&#65;&lt;" p:c='"'><!-- x --><p:d/>t&amp;<![CDATA[<]]></a>`)
	f.Add("<a><b c='1\r\n2'></b\n></a>")
	f.Fuzz(func(t *testing.T, src string) {
		s := scanner{src: []byte(src)}
		if s.begin() != nil {
			return
		}
		var got []string
		for {
			tok, err := s.next()
			if err != nil {
				return
			}
			if tok == tokenEOF {
				break
			}
			switch tok {
			case tokenStart:
				line := fmt.Sprintf("start %s %s", s.name.space, s.name.local)
				for _, a := range s.attrs {
					line += fmt.Sprintf(" %s %s=%q", a.space, a.local, appendValue(nil, a.raw))
				}
				got = append(got, line)
			case tokenEnd:
				got = append(got, "end")
			}
		}
		want, err := standard(src)
		if err != nil {
			if strings.Contains(err.Error(), "unsupported version") || strings.Contains(err.Error(), "encoding") {
				return // it reads declarations in processing instructions its own way
			}
			t.Fatalf("%q is accepted, but %v", src, err)
		}
		// Written by number or not, a line end is a line end there.
		blank := cmp.Transformer("blank", func(s string) string {
			return strings.NewReplacer(`\r\n`, " ", `\r`, " ", `\n`, " ", `\t`, " ").Replace(s)
		})
		if d := cmp.Diff(want, got, blank); d != "" {
			t.Fatalf("%q: %s", src, d)
		}
	})
}

// standard lists the tags as encoding/xml sees them, with the blanks of the scanner.
func standard(src string) ([]string, error) {
	d := xml.NewDecoder(strings.NewReader(src))
	var list []string
	for {
		t, err := d.Token()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			line := fmt.Sprintf("start %s %s", t.Name.Space, t.Name.Local)
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					continue
				}
				line += fmt.Sprintf(" %s %s=%q", a.Name.Space, a.Name.Local, a.Value)
			}
			list = append(list, line)
		case xml.EndElement:
			list = append(list, "end")
		}
	}
}
