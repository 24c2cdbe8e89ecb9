package bench

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/loader/sample"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// dataset is the bundles, and the persons that they make on the server.
type dataset struct {
	shared    []*template // hospitals and practitioners: loaded first, once
	templates []*template // one patient each
	persons   []*person   // those on the server
	ids       []string    // "Type/id" of resources on the server, for reads
}

// template is one transaction bundle that can be copied with other ids.
type template struct {
	name    string
	raw     []byte
	entries int
	patient int   // index of the Patient entry, -1 if there is none
	loaded  int   // how many copies are on the server
	uuids   []int // offsets of the UUIDs that a copy gets anew
	names   []int // offsets of the last letters of the family name
	facts   facts
}

// facts are what the searches need to know, and to check, about one patient.
type facts struct {
	identifier string // system|value
	family     string
	birth      string
	byCode     map[string]int // Observation.code as system|code: how many
	codes      []string       // its keys, in the order of the bundle
	values     map[string]int // those with a quantity: how many
	byType     map[string]int
}

// person is a copy of a template on the server.
type person struct {
	t    *template
	copy int
	id   string
}

// bundle is one transaction bundle as text.
type bundle struct {
	name string
	raw  []byte
}

// readData reads the bundles of a folder, or the embedded sample.
func readData(dir string) (*dataset, error) {
	var files fs.FS = os.DirFS(dir)
	if dir == "" {
		files = sample.Files()
	}
	bundles, err := readFolder(files)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	d := &dataset{}
	keep := map[string]bool{} // UUIDs of what is loaded once
	var doc resource.Doc
	for _, b := range bundles {
		t, err := newTemplate(&doc, b)
		if err != nil {
			return nil, fmt.Errorf("bench: %s: %w", b.name, err)
		}
		if t == nil {
			continue
		}
		if t.patient >= 0 {
			d.templates = append(d.templates, t)
			continue
		}
		d.shared = append(d.shared, t)
		for _, at := range uuidsIn(t.raw) {
			keep[string(t.raw[at:at+36])] = true
		}
	}
	if len(d.templates) == 0 {
		return nil, errors.New("bench: there is no transaction bundle with a Patient in the data")
	}
	for _, t := range d.templates {
		for _, at := range uuidsIn(t.raw) {
			if !keep[string(t.raw[at:at+36])] {
				t.uuids = append(t.uuids, at)
			}
		}
		t.names = wordsIn(t.raw, t.facts.family)
	}
	return d, nil
}

// readFolder reads all files of a folder whose names end in .json or .json.gz.
func readFolder(dir fs.FS) ([]bundle, error) {
	var files []string
	for _, pattern := range []string{"*.json", "*.json.gz"} {
		names, err := fs.Glob(dir, pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, names...)
	}
	out := make([]bundle, 0, len(files))
	for _, name := range files {
		raw, err := readFile(dir, name)
		if err != nil {
			return nil, err
		}
		out = append(out, bundle{name, bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))})
	}
	return out, nil
}

// readFile reads one file, unpacked.
func readFile(dir fs.FS, name string) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(name, ".gz") {
		return io.ReadAll(f)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}

// newTemplate reads the facts of a bundle; it returns nil for what is no transaction.
func newTemplate(doc *resource.Doc, b bundle) (*template, error) {
	if err := doc.Parse(b.raw, resource.Options{}); err != nil {
		return nil, err
	}
	root := doc.Root()
	if root.Get("resourceType").Text() != "Bundle" || root.Get("type").Text() != "transaction" {
		return nil, nil
	}
	t := &template{name: b.name, raw: b.raw, patient: -1}
	f := &t.facts
	f.byCode, f.values, f.byType = map[string]int{}, map[string]int{}, map[string]int{}
	for e := range root.Get("entry").Children() {
		res := e.Get("resource")
		typ := res.Get("resourceType").Text()
		f.byType[typ]++
		switch typ {
		case "Patient":
			if t.patient < 0 {
				t.patient = t.entries
				f.ofPatient(res)
			}
		case "Observation":
			f.ofObservation(res)
		}
		t.entries++
	}
	return t, nil
}

// ofPatient notes the facts of the Patient. An identifier with a UUID in it is
// preferred: only that differs between the copies.
func (f *facts) ofPatient(res resource.Node) {
	for id := range res.Get("identifier").Children() {
		v := id.Get("value").Text()
		if f.identifier == "" || len(uuidsIn([]byte(v))) > 0 {
			f.identifier = id.Get("system").Text() + "|" + v
		}
		if len(uuidsIn([]byte(v))) > 0 {
			break
		}
	}
	f.family = res.Get("name").At(0).Get("family").Text()
	f.birth = res.Get("birthDate").Text()
}

// ofObservation counts one Observation.
func (f *facts) ofObservation(res resource.Node) {
	c := res.Get("code").Get("coding").At(0)
	code := c.Get("system").Text() + "|" + c.Get("code").Text()
	if f.byCode[code] == 0 {
		f.codes = append(f.codes, code)
	}
	f.byCode[code]++
	if res.Get("valueQuantity").Get("value").Valid() {
		f.values[code]++
	}
}

// uuidsIn returns the offsets of all UUIDs in a text.
func uuidsIn(s []byte) []int {
	var out []int
	for i := 0; i+36 <= len(s); {
		j := bytes.IndexByte(s[i:], '-')
		if j < 0 {
			break
		}
		at := i + j - 8
		if at >= 0 && isUUID(s, at) {
			out = append(out, at)
			i = at + 36
		} else {
			i += j + 1
		}
	}
	return out
}

// isUUID reports whether a UUID stands at s[at:], with nothing of its kind before it.
func isUUID(s []byte, at int) bool {
	if at+36 > len(s) || at > 0 && isHex(s[at-1]) {
		return false
	}
	for i, c := range s[at : at+36] {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// tail is how many letters of a family name a copy gets anew.
const tail = 3

// wordsIn returns the offset of the tail of each whole word in the text.
func wordsIn(s []byte, word string) []int {
	if len(word) <= tail {
		return nil
	}
	var out []int
	for i := 0; ; {
		j := bytes.Index(s[i:], []byte(word))
		if j < 0 {
			return out
		}
		end := i + j + len(word)
		if i+j > 0 && strings.IndexByte(`" >`, s[i+j-1]) >= 0 && end < len(s) && strings.IndexByte(`" <,.`, s[end]) >= 0 {
			out = append(out, end-tail)
		}
		i = end
	}
}

// appendCopy appends copy n of the bundle; copy 0 is the bundle itself. All
// copies have the same length.
func (t *template) appendCopy(dst []byte, n int) []byte {
	start := len(dst)
	dst = append(dst, t.raw...)
	if n == 0 {
		return dst
	}
	out := dst[start:]
	for _, at := range t.uuids {
		shift(out[at:at+8], n)
	}
	for _, at := range t.names {
		rename(out[at:at+tail], n)
	}
	return dst
}

// shift changes the first eight digits of a UUID.
func shift(digits []byte, n int) {
	v, err := strconv.ParseUint(string(digits), 16, 32)
	if err != nil {
		return // isUUID has looked at the digits
	}
	const spread = 2654435761 // odd: distinct for all n below 2^32
	copy(digits, fmt.Sprintf("%08x", uint32(v)+uint32(n)*spread))
}

// rename writes n in letters.
func rename(letters []byte, n int) {
	for i := range letters {
		letters[i] = 'a' + byte(n%26)
		n /= 26
	}
}

// identifier returns the identifier of a person as system|value.
func (p *person) identifier() string {
	b := []byte(p.t.facts.identifier)
	if p.copy > 0 {
		for _, at := range uuidsIn(b) {
			shift(b[at:at+8], p.copy)
		}
	}
	return string(b)
}

// family returns the family name of a person.
func (p *person) family() string {
	b := []byte(p.t.facts.family)
	if p.copy > 0 && len(p.t.names) > 0 {
		rename(b[len(b)-tail:], p.copy)
	}
	return string(b)
}

// count returns the sum of a fact over all persons.
func (d *dataset) count(of func(*facts) int) int {
	n := 0
	for _, t := range d.templates {
		n += of(&t.facts) * t.loaded
	}
	return n
}

// add notes a person that is on the server.
func (d *dataset) add(p *person) {
	d.persons = append(d.persons, p)
	p.t.loaded++
}
