// Command gendcm writes the table of DICOM attributes and SOP classes that
// spec/dcm embeds. Its input are the files attributes.json and sops.json of the
// repository innolitics/dicom-standard, which are PS3.6 and PS3.4 as data.
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
	Retired string `json:"retired"`
}

type sop struct {
	Name string `json:"name"`
	UID  string `json:"id"`
}

func main() {
	in := flag.String("in", "", "folder with attributes.json and sops.json")
	out := flag.String("out", "../spec/dcm/dictionary.txt.gz", "file to write")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		log.Fatal(err)
	}
}

func run(in, out string) error {
	var attrs []attribute
	var sops []sop
	if err := read(filepath.Join(in, "attributes.json"), &attrs); err != nil {
		return err
	}
	if err := read(filepath.Join(in, "sops.json"), &sops); err != nil {
		return err
	}
	var lines []string
	for _, a := range attrs {
		if a.Keyword == "" || len(a.Tag) != 8 {
			continue // placeholders of the standard: no name to find them by
		}
		retired := "-"
		if a.Retired == "Y" {
			retired = "R"
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", strings.ToLower(a.Tag), vr(a.VR), vm(a.VM), retired, a.Keyword))
	}
	sort.Strings(lines)
	var text bytes.Buffer
	for _, l := range lines {
		text.WriteString(l + "\n")
	}
	text.WriteString("\n")
	sort.Slice(sops, func(i, j int) bool { return sops[i].UID < sops[j].UID })
	for _, s := range sops {
		fmt.Fprintf(&text, "%s\t%s\n", s.UID, s.Name)
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
