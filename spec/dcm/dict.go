package dcm

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
)

//go:embed dictionary.txt.gz
var packed []byte

// Entry is one attribute of PS3.6.
type Entry struct {
	Tag     Tag
	VR      VR     // of several (US or SS), the first
	VRs     string // all of them: "US/SS"
	VM      string // value multiplicity: 1, 1-n, 2-2n
	Keyword string
}

type dictionary struct {
	byTag     map[Tag]Entry
	byKeyword map[string]Tag
	repeating []repeat
}

// repeat is an attribute whose tag has variable digits, such as (60xx,3000).
type repeat struct {
	mask, value Tag
	entry       Entry
}

// extra are attributes of messages that the table of data sets does not have.
const extra = "00000902\tLO\t1\tErrorComment\n"

var load = sync.OnceValue(func() *dictionary {
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic("dcm: dictionary: " + err.Error()) // embedded; the tests read it
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		panic("dcm: dictionary: " + err.Error())
	}
	d := &dictionary{
		byTag: make(map[Tag]Entry, 5400), byKeyword: make(map[string]Tag, 5400),
	}
	for line := range strings.Lines(extra + string(text)) {
		d.attribute(strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return d
})

func (d *dictionary) attribute(f []string) {
	vrs := f[1]
	vr, _ := ParseVR(vrs[:2])
	e := Entry{VR: vr, VRs: vrs, VM: f[2], Keyword: f[3]}
	if t, ok := ParseTag(f[0]); ok {
		e.Tag = t
		d.byTag[t] = e
		if _, ok := d.byKeyword[e.Keyword]; !ok {
			d.byKeyword[e.Keyword] = t
		}
		return
	}
	var r repeat
	for _, c := range f[0] {
		r.mask, r.value = r.mask<<4, r.value<<4
		if c == 'x' {
			continue
		}
		v, _ := ParseTag("0000000" + string(c))
		r.mask |= 15
		r.value |= v
	}
	e.Tag = r.value
	r.entry = e
	d.repeating = append(d.repeating, r)
	if _, ok := d.byKeyword[e.Keyword]; !ok {
		d.byKeyword[e.Keyword] = e.Tag
	}
}

// Lookup returns the dictionary's entry of a tag. Private tags have none, but for
// the creators of private blocks (LO) and group lengths (UL).
func Lookup(t Tag) (Entry, bool) {
	d := load()
	if e, ok := d.byTag[t]; ok {
		return e, true
	}
	switch {
	case t&0xFFFF == 0:
		return Entry{Tag: t, VR: UL, VRs: "UL", VM: "1", Keyword: "GenericGroupLength"}, true
	case t.Creator():
		return Entry{Tag: t, VR: LO, VRs: "LO", VM: "1", Keyword: "PrivateCreator"}, true
	case t.Private():
		return Entry{}, false
	}
	for _, r := range d.repeating {
		if t&r.mask == r.value {
			e := r.entry
			e.Tag = t
			return e, true
		}
	}
	return Entry{}, false
}

// Keyword returns the tag of an attribute's keyword (PatientName).
func Keyword(s string) (Tag, bool) {
	t, ok := load().byKeyword[s]
	return t, ok
}

// ParseAttribute reads an attribute as DICOMweb names it: a keyword or eight
// hexadecimal digits.
func ParseAttribute(s string) (Tag, bool) {
	if t, ok := ParseTag(s); ok {
		return t, true
	}
	return Keyword(s)
}

// Name returns what to call a tag in a message: "(0010,0020) PatientID".
func (t Tag) Name() string {
	if e, ok := Lookup(t); ok {
		return fmt.Sprintf("%s %s", t, e.Keyword)
	}
	return t.String()
}
