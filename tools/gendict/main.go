// Command gendict trains the dictionary that the FHIR store compresses bodies
// with. It reads files of Bundles or single resources and writes the raw
// content of a dictionary of at most 60 kB:
//
//	go run ./gendict -o ../fhir/fhirsql/dict/1.bin FILE...
//
// A dictionary that was shipped is never made again under the same number:
// stored bodies depend on its bytes.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"log"
	"os"
)

const perType = 60 // samples of one resource type in one file, so that no type drowns the others

func main() {
	out := flag.String("o", "dict.bin", "the file to write")
	flag.Parse()
	var samples [][]byte
	for _, name := range flag.Args() {
		text, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		for _, line := range bytes.Split(text, []byte("\n{\"resourceType")) {
			if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("{")) {
				line = append([]byte("{\"resourceType"), line...)
			}
			samples = append(samples, resources(line, map[string]int{})...)
		}
	}
	raw := choose(samples, 60<<10)
	if err := os.WriteFile(*out, raw, 0o644); err != nil {
		log.Fatal(err)
	}
	log.Printf("%d samples, %d bytes", len(samples), len(raw))
}

// resources returns the compact members of the resources of a Bundle or of one
// resource, without the ones that the stored form leaves out.
func resources(text []byte, count map[string]int) [][]byte {
	var b struct {
		ResourceType string
		Entry        []struct{ Resource json.RawMessage }
	}
	if json.Unmarshal(text, &b) != nil {
		return nil
	}
	list := []json.RawMessage{text}
	if b.ResourceType == "Bundle" {
		list = nil
		for _, e := range b.Entry {
			list = append(list, e.Resource)
		}
	}
	var out [][]byte
	for _, r := range list {
		var head struct{ ResourceType, ID string }
		if json.Unmarshal(r, &head) != nil || count[head.ResourceType] >= perType {
			continue
		}
		count[head.ResourceType]++
		var c bytes.Buffer
		if json.Compact(&c, r) != nil {
			continue
		}
		text := bytes.TrimPrefix(c.Bytes(), []byte(`{"resourceType":"`+head.ResourceType+`",`))
		text = bytes.TrimPrefix(text, []byte(`"id":"`+head.ID+`",`))
		out = append(out, bytes.TrimSuffix(text, []byte("}")))
	}
	return out
}

const shingle = 12

// choose picks whole samples whose 12-byte runs are the commonest and not yet
// covered by the ones picked before. The best ones stand at the end, where a match is cheapest.
func choose(samples [][]byte, size int) []byte {
	freq := map[string]int{}
	for _, s := range samples {
		seen := map[string]bool{}
		for i := 0; i+shingle <= len(s); i++ {
			if k := string(s[i : i+shingle]); !seen[k] {
				seen[k] = true
				freq[k]++
			}
		}
	}
	var picked [][]byte
	for left := size; left > 0 && len(samples) > 0; {
		best, at := 0.0, -1
		for n, s := range samples {
			if len(s) > left || len(s) < 64 || len(s) > 6000 {
				continue
			}
			gain := 0
			for i := 0; i+shingle <= len(s); i++ {
				if f := freq[string(s[i:i+shingle])]; f > 2 {
					gain += f
				}
			}
			if v := float64(gain) / float64(len(s)); v > best {
				best, at = v, n
			}
		}
		if at < 0 {
			break
		}
		s := samples[at]
		for i := 0; i+shingle <= len(s); i++ {
			delete(freq, string(s[i:i+shingle]))
		}
		picked = append(picked, s)
		left -= len(s)
		samples = append(samples[:at:at], samples[at+1:]...)
	}
	var out []byte
	for i := len(picked) - 1; i >= 0; i-- {
		out = append(out, picked[i]...)
	}
	return out
}
