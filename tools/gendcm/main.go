// Command gendcm writes the table of DICOM attributes that spec/dcm embeds. Its
// input is the file attributes.json of the repository innolitics/dicom-standard,
// which is PS3.6 as data.
//
//	go run ./gendcm -in DIR -out ../spec/dcm/dictionary.txt.gz
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

type attribute struct {
	Tag     string `json:"id"`
	Name    string `json:"name"`
	Keyword string `json:"keyword"`
	VR      string `json:"valueRepresentation"`
	VM      string `json:"valueMultiplicity"`
}

func main() {
	in := flag.String("in", "", "folder with attributes.json")
	out := flag.String("out", "../spec/dcm/dictionary.txt.gz", "file to write")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		log.Fatal(err)
	}
}

func run(in, out string) error {
	var attrs []attribute
	if err := read(filepath.Join(in, "attributes.json"), &attrs); err != nil {
		return err
	}
	var lines []string
	for _, a := range attrs {
		if a.Keyword == "" || len(a.Tag) != 8 {
			continue // placeholders of the standard: no name to find them by
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s", strings.ToLower(a.Tag), vr(a.VR), vm(a.VM), a.Keyword))
	}
	sort.Strings(lines)
	var text bytes.Buffer
	for _, l := range lines {
		text.WriteString(l + "\n")
	}
	var packed bytes.Buffer
	zw, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := zw.Write(text.Bytes()); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, packed.Bytes(), 0o644)
}

func read(name string, into any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// vr shortens "US or SS" to "US/SS" and drops the notes about item delimiters.
func vr(s string) string {
	switch s {
	case "", "See Note 2":
		return "UN"
	}
	return strings.ReplaceAll(s, " or ", "/")
}

// vm keeps the first form of "1 or 1-n".
func vm(s string) string {
	s, _, _ = strings.Cut(s, " ")
	if s == "" {
		return "1"
	}
	return s
}
