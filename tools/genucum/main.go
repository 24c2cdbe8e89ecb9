// Command genucum turns the table of the UCUM standard (ucum-essence.xml, from
// https://ucum.org) into the lines that spec/ucum embeds:
//
//	go run ./genucum -in ucum-essence.xml -o ../spec/ucum/units.txt
package main

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
)

type essence struct {
	Version  string `xml:"version,attr"`
	Prefixes []struct {
		Code  string `xml:"Code,attr"`
		Value struct {
			Value string `xml:"value,attr"`
		} `xml:"value"`
	} `xml:"prefix"`
	Bases []struct {
		Code string `xml:"Code,attr"`
	} `xml:"base-unit"`
	Units []struct {
		Code      string `xml:"Code,attr"`
		Metric    string `xml:"isMetric,attr"`
		Arbitrary string `xml:"isArbitrary,attr"`
		Value     struct {
			Unit     string `xml:"Unit,attr"`
			Value    string `xml:"value,attr"`
			Function struct {
				Name  string `xml:"name,attr"`
				Value string `xml:"value,attr"`
				Unit  string `xml:"Unit,attr"`
			} `xml:"function"`
		} `xml:"value"`
	} `xml:"unit"`
}

func main() {
	in := flag.String("in", "ucum-essence.xml", "the table of the standard")
	out := flag.String("o", "units.txt", "the file to write")
	flag.Parse()
	text, err := os.ReadFile(*in)
	if err != nil {
		log.Fatal(err)
	}
	var e essence
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // ASCII is UTF-8
	if err := d.Decode(&e); err != nil {
		log.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Units of UCUM %s, from ucum-essence.xml by tools/genucum. UCUM is copyright of\n", e.Version)
	b.WriteString("# Regenstrief Institute, Inc. and the UCUM Organization and used under the UCUM Copyright\n")
	b.WriteString("# Notice and License (https://ucum.org/license).\n")
	b.WriteString("# prefix: p code factor; base unit: b code; unit: u code metric value of, where metric is\n")
	b.WriteString("# m or -, and f marks a function: u code metric f name value of; a: arbitrary unit.\n")
	for _, p := range e.Prefixes {
		fmt.Fprintf(&b, "p %s %s\n", p.Code, p.Value.Value)
	}
	for _, u := range e.Bases {
		fmt.Fprintf(&b, "b %s\n", u.Code)
	}
	for _, u := range e.Units {
		metric := "-"
		if u.Metric == "yes" {
			metric = "m"
		}
		switch f := u.Value.Function; {
		case u.Arbitrary == "yes":
			fmt.Fprintf(&b, "a %s %s\n", u.Code, metric)
		case f.Name != "":
			fmt.Fprintf(&b, "u %s %s f %s %s %s\n", u.Code, metric, f.Name, f.Value, f.Unit)
		default:
			fmt.Fprintf(&b, "u %s %s %s %s\n", u.Code, metric, u.Value.Value, u.Value.Unit)
		}
	}
	if err := os.WriteFile(*out, b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
