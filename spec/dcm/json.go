package dcm

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSONOptions say how a data set becomes DICOM JSON. The zero value leaves out
// the values of bulk VRs.
type JSONOptions struct {
	// Bulk, when set, is what BulkDataURI begins with; the path of the element
	// follows: 7FE00010, or 54000100/0/54001010 inside item 0 of a sequence. It is
	// written as it is, so it must be text of a JSON string.
	Bulk string
	// Inline is the longest bulk value that is written as InlineBinary.
	Inline int64
}

// AppendJSON appends the DICOM JSON model of a data set (PS3.18 section F.2).
// Group lengths and the meta information are no part of it. The Specific
// Character Set is that of the text, UTF-8, whatever the data set had.
func (d *Dataset) AppendJSON(dst []byte, opt JSONOptions) []byte {
	return d.appendJSON(dst, &opt, nil)
}

func (d *Dataset) appendJSON(dst []byte, opt *JSONOptions, path []byte) []byte {
	dst = append(dst, '{')
	first := true
	for i := range d.Elements {
		e := &d.Elements[i]
		if e.Tag&0xFFFF == 0 || e.Tag.Group() == 2 || e.Tag == TagDataSetTrailingPadding {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = d.appendElement(dst, e, opt, path)
	}
	return append(dst, '}')
}

// AppendElementJSON appends one attribute: "00100010":{"vr":"PN",...}.
func (d *Dataset) AppendElementJSON(dst []byte, e *Element, opt JSONOptions) []byte {
	return d.appendElement(dst, e, &opt, nil)
}

func (d *Dataset) appendElement(dst []byte, e *Element, opt *JSONOptions, path []byte) []byte {
	dst = append(dst, '"')
	dst = appendHex(dst, e.Tag)
	dst = append(dst, `":{"vr":"`...)
	dst = append(dst, byte(e.VR>>8), byte(e.VR), '"')
	switch {
	case e.VR == SQ:
		if len(e.Items) > 0 {
			dst = d.appendItems(append(dst, `,"Value":[`...), e, opt, path)
			dst = append(dst, ']')
		}
	case e.Empty():
	case e.Tag == TagSpecificCharacterSet:
		dst = append(dst, `,"Value":["ISO_IR 192"]`...)
	case e.VR.Bulk() || e.Bulk():
		dst = appendBulk(dst, e, opt, path)
	case e.VR.isString():
		dst = d.appendTexts(dst, e)
	default:
		dst = e.appendNumbers(dst)
	}
	return append(dst, '}')
}

func appendHex(dst []byte, t Tag) []byte {
	for i := range 8 {
		dst = append(dst, upperHex[t>>(28-4*i)&15])
	}
	return dst
}

func (d *Dataset) appendItems(dst []byte, e *Element, opt *JSONOptions, path []byte) []byte {
	n := len(path)
	for i, it := range e.Items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if opt.Bulk != "" {
			path = appendHex(path[:n], e.Tag)
			path = append(path, '/')
			path = strconv.AppendInt(path, int64(i), 10)
			path = append(path, '/')
		}
		dst = it.appendJSON(dst, opt, path)
	}
	return dst
}

func appendBulk(dst []byte, e *Element, opt *JSONOptions, path []byte) []byte {
	if !e.Bulk() && e.Length <= opt.Inline {
		dst = append(dst, `,"InlineBinary":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, e.Value)
		return append(dst, '"')
	}
	if opt.Bulk == "" {
		return dst
	}
	dst = append(dst, `,"BulkDataURI":"`...)
	dst = append(dst, opt.Bulk...)
	dst = append(dst, path...)
	dst = appendHex(dst, e.Tag)
	return append(dst, '"')
}

func (d *Dataset) appendTexts(dst []byte, e *Element) []byte {
	s := d.Text(e)
	if trim(s, UI) == "" {
		return dst // nothing but padding
	}
	dst = append(dst, `,"Value":[`...)
	for more := true; more; {
		v := s
		if e.VR.multi() {
			v, s, more = strings.Cut(s, `\`)
		} else {
			more = false
		}
		dst = appendText(dst, trim(v, e.VR), e.VR)
		if more {
			dst = append(dst, ',')
		}
	}
	return append(dst, ']')
}

func appendText(dst []byte, v string, vr VR) []byte {
	switch {
	case v == "":
		return append(dst, "null"...)
	case vr == PN:
		return appendPN(dst, v)
	case vr == IS, vr == DS:
		if n := jsonNumber(v); n != "" {
			return append(dst, n...)
		}
	}
	return appendString(dst, v)
}

var groupNames = [3]string{"Alphabetic", "Ideographic", "Phonetic"}

func appendPN(dst []byte, v string) []byte {
	dst = append(dst, '{')
	first := true
	for _, name := range groupNames {
		var g string
		g, v, _ = strings.Cut(v, "=")
		if g = strings.TrimRight(g, " "); g == "" {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		dst = append(dst, name...)
		dst = append(dst, `":`...)
		dst = appendString(dst, g)
	}
	return append(dst, '}')
}

// jsonNumber returns the text of a decimal or integer string as a JSON number
// with the same digits; "" when it is none.
func jsonNumber(s string) string {
	sign := ""
	switch {
	case strings.HasPrefix(s, "-"):
		sign, s = "-", s[1:]
	case strings.HasPrefix(s, "+"):
		s = s[1:]
	}
	mantissa, exp := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exp = s[:i], s[i+1:]
		if !digits(strings.TrimLeft(exp[:min(1, len(exp))], "+-") + exp[min(1, len(exp)):]) {
			return ""
		}
		exp = "e" + exp
	}
	whole, frac, dot := strings.Cut(mantissa, ".")
	if whole == "" && frac == "" || whole != "" && !digits(whole) || frac != "" && !digits(frac) {
		return ""
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if dot && frac != "" {
		frac = "." + frac
	}
	return sign + whole + frac + exp
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// appendString appends a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, `\u00`...)
			dst = append(dst, upperHex[c>>4], upperHex[c&15])
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

func (e *Element) appendNumbers(dst []byte) []byte {
	n := e.Count()
	if n == 0 {
		return dst
	}
	dst = append(dst, `,"Value":[`...)
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.appendNumber(dst, i)
	}
	return append(dst, ']')
}

func (e *Element) appendNumber(dst []byte, i int) []byte {
	switch e.VR {
	case AT:
		v, _ := e.Uint(i)
		dst = append(dst, '"')
		dst = appendHex(dst, Tag(v))
		return append(dst, '"')
	case FL:
		v, _ := e.Number(i)
		return appendFloat(dst, v, 32)
	case FD:
		v, _ := e.Number(i)
		return appendFloat(dst, v, 64)
	}
	v, _ := e.Uint(i)
	switch e.VR {
	case SS:
		return strconv.AppendInt(dst, int64(int16(v)), 10)
	case SL:
		return strconv.AppendInt(dst, int64(int32(v)), 10)
	case SV:
		return strconv.AppendInt(dst, int64(v), 10)
	}
	return strconv.AppendUint(dst, v, 10)
}

// appendFloat writes what JSON has no number for as a string (PS3.18 section F.2.2).
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"inf"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-inf"`...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}
