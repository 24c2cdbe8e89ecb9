package dcm

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// Charset is the value of Specific Character Set (PS3.3 section C.12.1.1.2).
type Charset struct {
	first   *codeSet
	utf8    bool              // ISO_IR 192
	whole   encoding.Encoding // GB18030, GBK: one multi-byte code without escapes
	escapes bool              // ISO 2022 code extension
	unknown string
}

// codeSet is one code that G0 or G1 can hold.
type codeSet struct {
	g1    bool // designated to the upper half
	pairs bool // two bytes a character
	one   func(byte) rune
	two   encoding.Encoding // decodes pairs with the high bits set
	lead  []byte            // put in front of a pair
}

func latin(m *charmap.Charmap) *codeSet {
	return &codeSet{g1: true, one: m.DecodeByte}
}

func ascii(b byte) rune { return rune(b) }

// katakana is the upper half of JIS X 0201.
func katakana(b byte) rune {
	if b >= 0xA1 && b <= 0xDF {
		return rune(b) - 0xA1 + 0xFF61
	}
	return utf8.RuneError
}

// The codes by the final characters of their escape sequences
// (PS3.3 tables C.12-3 and C.12-4).
var (
	setASCII   = &codeSet{one: ascii}
	setRomaji  = &codeSet{one: ascii} // the yen sign stands where the backslash does: in DICOM it is the delimiter
	setKana    = &codeSet{g1: true, one: katakana}
	setJIS0208 = &codeSet{pairs: true, two: japanese.EUCJP}
	setJIS0212 = &codeSet{pairs: true, two: japanese.EUCJP, lead: []byte{0x8F}}
	setKorean  = &codeSet{g1: true, pairs: true, two: korean.EUCKR}
	setGB2312  = &codeSet{g1: true, pairs: true, two: simplifiedchinese.GBK}
	setLatin1  = latin(charmap.ISO8859_1)

	designations = []struct {
		seq string
		set *codeSet
	}{
		{"(B", setASCII}, {"(J", setRomaji}, {")I", setKana},
		{"$B", setJIS0208}, {"$@", setJIS0208}, {"$(D", setJIS0212},
		{"$)C", setKorean}, {"$)A", setGB2312},
		{"-A", setLatin1}, {"-B", latin(charmap.ISO8859_2)}, {"-C", latin(charmap.ISO8859_3)},
		{"-D", latin(charmap.ISO8859_4)}, {"-L", latin(charmap.ISO8859_5)}, {"-G", latin(charmap.ISO8859_6)},
		{"-F", latin(charmap.ISO8859_7)}, {"-H", latin(charmap.ISO8859_8)}, {"-M", latin(charmap.ISO8859_9)},
		{"-T", latin(charmap.Windows874)}, {"-b", latin(charmap.ISO8859_15)},
	}
	// registrations are the codes by their ISO registration number.
	registrations = map[string]string{
		"6": "(B", "13": ")I", "87": "$B", "159": "$(D", "149": "$)C", "58": "$)A",
		"100": "-A", "101": "-B", "109": "-C", "110": "-D", "144": "-L", "127": "-G",
		"126": "-F", "138": "-H", "148": "-M", "166": "-T", "203": "-b",
	}
	defaultCharset = &Charset{}
)

func designated(seq string) *codeSet {
	for i := range designations {
		if designations[i].seq == seq {
			return designations[i].set
		}
	}
	return nil
}

// CharsetOf returns the character set for the values of Specific Character Set.
// Spellings that are common in the wild are understood; an unknown term is as if
// there was none.
func CharsetOf(terms []string) *Charset {
	c := &Charset{}
	for i, t := range terms {
		t = strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToUpper(strings.TrimSpace(t)))
		switch t {
		case "", "ISO_IR_6", "ISO_2022_IR_6", "ASCII":
			continue
		case "ISO_IR_192", "ISO_2022_IR_192", "UTF_8", "UTF8":
			c.utf8 = i == 0
			continue
		case "GB18030", "GBK", "ISO_2022_GB18030", "ISO_2022_GBK":
			if i == 0 {
				c.whole = simplifiedchinese.GB18030
			}
			continue
		}
		num, ok := strings.CutPrefix(t, "ISO_IR_")
		if !ok {
			num, ok = strings.CutPrefix(t, "ISO_2022_IR_")
			c.escapes = c.escapes || ok
		}
		set := designated(registrations[num])
		if set == nil || !ok {
			c.unknown = t
			continue
		}
		if i == 0 {
			c.first = set
		}
	}
	c.escapes = c.escapes || len(terms) > 1
	return c
}

// Decode turns the bytes of a value into UTF-8. In names (pn) the delimiters of
// components end a code extension too. Bytes that the set does not have become
// U+FFFD, but for the default repertoire: there they are taken as UTF-8 or
// Latin-1, which is what broken writers mean.
func (c *Charset) Decode(b []byte, pn bool) string {
	if c == nil {
		c = defaultCharset
	}
	if isASCII(b, c.escapes) {
		return string(b)
	}
	switch {
	case c.utf8:
		return strings.ToValidUTF8(string(b), "\uFFFD")
	case c.whole != nil:
		s, err := c.whole.NewDecoder().Bytes(b)
		if err != nil {
			return strings.ToValidUTF8(string(b), "\uFFFD")
		}
		return string(s)
	case c.first == nil && !c.escapes:
		if utf8.Valid(b) {
			return string(b)
		}
		return oneByte(b, setLatin1)
	case !c.escapes && c.first != nil && !c.first.pairs:
		return oneByte(b, c.first)
	}
	return c.iso2022(b, pn)
}

func isASCII(b []byte, escapes bool) bool {
	for _, x := range b {
		if x >= 0x80 || x == 0x1B && escapes {
			return false
		}
	}
	return true
}

func oneByte(b []byte, set *codeSet) string {
	var s strings.Builder
	s.Grow(len(b) + len(b)/4)
	for _, x := range b {
		if x < 0x80 {
			s.WriteByte(x)
			continue
		}
		s.WriteRune(set.one(x))
	}
	return s.String()
}

// iso2022 decodes text with code extensions (PS3.5 section 6.1.2.5).
func (c *Charset) iso2022(b []byte, pn bool) string {
	var s strings.Builder
	g0, g1 := setASCII, setLatin1
	reset := func() {
		g0, g1 = setASCII, setLatin1
		if c.first != nil && c.first.g1 {
			g1 = c.first
		}
	}
	reset()
	for i := 0; i < len(b); {
		x := b[i]
		if x == 0x1B {
			set, n := escape(b[i+1:])
			if set != nil && set.g1 {
				g1 = set
			} else if set != nil {
				g0 = set
			}
			i += 1 + n
			continue
		}
		set := g0
		if x >= 0x80 {
			set = g1
		}
		if set.pairs && x > 0x20 && x != 0x7F {
			n := run(b[i:], x >= 0x80)
			set.decodePairs(&s, b[i:i+n])
			i += n
			continue
		}
		if set.pairs {
			set = setASCII
		}
		if x < 0x20 || x == '\\' || pn && (x == '^' || x == '=') {
			reset()
		}
		s.WriteRune(set.one(x))
		i++
	}
	return s.String()
}

// escape returns the code that the bytes after ESC designate, and their number.
func escape(b []byte) (*codeSet, int) {
	for _, d := range designations {
		if strings.HasPrefix(string(b[:min(len(b), 3)]), d.seq) {
			return d.set, len(d.seq)
		}
	}
	return nil, 0
}

// run is how many bytes from the beginning are in one half of the code table.
func run(b []byte, upper bool) int {
	for i, x := range b {
		if x >= 0x80 != upper || x < 0x21 {
			return i
		}
	}
	return len(b)
}

func (set *codeSet) decodePairs(s *strings.Builder, b []byte) {
	raw := make([]byte, 0, len(b)*3/2)
	for ; len(b) >= 2; b = b[2:] {
		raw = append(raw, set.lead...)
		raw = append(raw, b[0]|0x80, b[1]|0x80)
	}
	text, err := set.two.NewDecoder().Bytes(raw)
	if err != nil {
		text = []byte("\uFFFD")
	}
	s.Write(text)
	if len(b) == 1 {
		s.WriteRune(utf8.RuneError)
	}
}

// ToUTF8 brings the text of the data set into UTF-8, unless it is that already
// or needs no character set.
func (d *Dataset) ToUTF8() {
	if d.charset != nil && d.charset.utf8 {
		return
	}
	utf := &Charset{utf8: true}
	d.toUTF8(utf)
	d.Put(NewText(TagSpecificCharacterSet, CS, "ISO_IR 192"))
}

func (d *Dataset) toUTF8(utf *Charset) {
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.VR.kind() == kindCharset && !e.Bulk() && len(e.Value) > 0 {
			b := []byte(d.charset.Decode(e.Value, e.VR == PN))
			if len(b)&1 == 1 {
				b = append(b, ' ')
			}
			e.Value, e.Length = b, int64(len(b))
		}
		for _, it := range e.Items {
			it.toUTF8(utf)
			if it.Get(TagSpecificCharacterSet) != nil {
				it.Remove(TagSpecificCharacterSet)
			}
		}
	}
	d.charset = utf
}
