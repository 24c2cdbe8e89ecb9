package profile

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// format is the format of a primitive type
// (http://hl7.org/fhir/R4/datatypes.html#primitive).
type format uint8

const (
	formatNone format = iota
	formatBoolean
	formatInteger
	formatUnsignedInt
	formatPositiveInt
	formatDecimal
	formatString // also markdown
	formatCode
	formatID
	formatURI // also url and canonical
	formatOID
	formatUUID
	formatBase64
	formatDate
	formatDateTime
	formatInstant
	formatTime
	formatXHTML
	formatReference // Reference.reference, a string that must be a reference
)

// wrongKind is the problem of a value that has the wrong JSON type.
const wrongKind = "wrong kind"

// maxString is the greatest length of a string, in characters.
const maxString = 1 << 20

func formatOf(typeName string) format {
	switch typeName {
	case "boolean":
		return formatBoolean
	case "integer":
		return formatInteger
	case "unsignedInt":
		return formatUnsignedInt
	case "positiveInt":
		return formatPositiveInt
	case "decimal":
		return formatDecimal
	case "code":
		return formatCode
	case "id":
		return formatID
	case "uri", "url", "canonical":
		return formatURI
	case "oid":
		return formatOID
	case "uuid":
		return formatUUID
	case "base64Binary":
		return formatBase64
	case "date":
		return formatDate
	case "dateTime":
		return formatDateTime
	case "instant":
		return formatInstant
	case "time":
		return formatTime
	case "xhtml":
		return formatXHTML
	}
	return formatString
}

// kind returns the JSON type of the format.
func (f format) kind() resource.Kind {
	switch f {
	case formatBoolean:
		return resource.Bool
	case formatInteger, formatUnsignedInt, formatPositiveInt, formatDecimal:
		return resource.Number
	}
	return resource.String
}

// check returns what is wrong with v, or "".
func (f format) check(v resource.Node) string {
	if v.Kind() != f.kind() {
		return wrongKind
	}
	switch f {
	case formatBoolean:
		return ""
	case formatInteger:
		return checkInteger(v.Raw(), -1<<31)
	case formatUnsignedInt:
		return checkInteger(v.Raw(), 0)
	case formatPositiveInt:
		return checkInteger(v.Raw(), 1)
	case formatDecimal:
		return checkDecimal(v.Raw())
	case formatString:
		return checkString(v.Raw())
	}
	return f.checkText(v.Bytes())
}

// checkText checks the formats that are an unescaped string.
func (f format) checkText(b []byte) string {
	if len(b) == 0 {
		return "must not be empty"
	}
	switch f {
	case formatCode:
		return checkCode(b)
	case formatID:
		return checkID(b)
	case formatURI:
		return checkURI(b)
	case formatOID:
		return checkOID(b)
	case formatUUID:
		return checkUUID(b)
	case formatBase64:
		return checkBase64(b)
	case formatDate:
		return checkDate(b)
	case formatDateTime:
		return checkDateTime(b)
	case formatInstant:
		return checkInstant(b)
	case formatTime:
		return checkTime(b)
	case formatXHTML:
		return checkXHTML(b)
	case formatReference:
		return checkReference(b)
	}
	return ""
}

// checkInteger checks a JSON number for an integer of 32 bits, at least least.
func checkInteger(b []byte, least int64) string {
	digits, v := b, int64(0)
	if b[0] == '-' {
		if digits = b[1:]; least >= 0 {
			return "must not be negative"
		}
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return "must have neither a fraction nor an exponent"
		}
	}
	if len(digits) > 10 {
		return "must fit in 32 bits"
	}
	for _, c := range digits {
		v = v*10 + int64(c-'0')
	}
	if b[0] == '-' {
		v = -v
	}
	switch {
	case v > 1<<31-1 || v < -1<<31:
		return "must fit in 32 bits"
	case v < least:
		return "must be greater than 0"
	}
	return ""
}

// checkDecimal accepts every JSON number but those no one can hold: R4 sets no
// limit to the digits, but a magnitude beyond a double is a mistake.
func checkDecimal(b []byte) string {
	if len(b) < 64 && bytes.IndexByte(b, 'e') < 0 && bytes.IndexByte(b, 'E') < 0 {
		return ""
	}
	if len(b) > 1024 {
		return "has too many digits"
	}
	if _, err := strconv.ParseFloat(string(b), 64); err != nil {
		return "is beyond the range of numbers"
	}
	return ""
}

// checkString checks a string by its JSON text, quotes included, so that
// escapes need no copy. Control characters are not allowed besides tab, line
// feed and carriage return; in JSON they can only be escapes.
func checkString(raw []byte) string {
	if len(raw) == 2 {
		return "must not be empty"
	}
	if len(raw)-2 > maxString && utf8.RuneCount(raw)-2 > maxString {
		return "must not be longer than 1 MB"
	}
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 >= len(raw) {
			return ""
		}
		switch c := raw[i+1]; {
		case c == 'b', c == 'f', c == 'u' && controlEscape(raw[i+2:]):
			return "must not have control characters"
		}
		raw = raw[i+2:]
	}
}

// controlEscape reports whether the four digits of a \u escape are a control
// character that is not allowed.
func controlEscape(hex []byte) bool {
	if len(hex) < 4 || hex[0] != '0' || hex[1] != '0' || hex[2] > '1' {
		return false
	}
	if hex[2] == '1' {
		return true
	}
	return hex[3] != '9' && hex[3]|0x20 != 'a' && hex[3]|0x20 != 'd'
}

// checkCode: no white space at the ends, single characters of it inside.
func checkCode(b []byte) string {
	space := true
	for i := 0; i < len(b); i++ {
		s := b[i] == ' ' || b[i]-'\t' < 5
		if s && space {
			return "must not have white space at its ends or twice in a row"
		}
		if b[i] < ' ' && !s {
			return "must not have control characters"
		}
		space = s
	}
	if space {
		return "must not have white space at its ends or twice in a row"
	}
	return ""
}

func checkID(b []byte) string {
	if len(b) > 64 {
		return "must not be longer than 64 characters"
	}
	for _, c := range b {
		if c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '-' && c != '.' {
			return "must have only letters, digits, '-' and '.'"
		}
	}
	return ""
}

func checkURI(b []byte) string {
	for i, c := range b {
		if c-'!' < 0x7F-'!' {
			continue
		}
		if c < utf8.RuneSelf {
			return "must not have white space"
		}
		if r, _ := utf8.DecodeRune(b[i:]); unicode.IsSpace(r) {
			return "must not have white space"
		}
	}
	return ""
}

// checkOID: urn:oid:[0-2](\.(0|[1-9][0-9]*))+
func checkOID(b []byte) string {
	const problem = "must be urn:oid: and numbers with dots between"
	rest, ok := bytes.CutPrefix(b, []byte("urn:oid:"))
	if !ok || len(rest) < 3 || rest[0] < '0' || rest[0] > '2' || rest[1] != '.' {
		return problem
	}
	begin := true
	for i := 2; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '.':
			if begin {
				return problem
			}
			begin = true
		case c < '0' || c > '9':
			return problem
		default:
			if begin && c == '0' && i+1 < len(rest) && rest[i+1] != '.' {
				return problem
			}
			begin = false
		}
	}
	if begin {
		return problem
	}
	return ""
}

func checkUUID(b []byte) string {
	const problem = "must be urn:uuid: and a UUID in lower case"
	rest, ok := bytes.CutPrefix(b, []byte("urn:uuid:"))
	if !ok || len(rest) != 36 {
		return problem
	}
	for i, c := range rest {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return problem
			}
		} else if c-'0' >= 10 && c-'a' >= 6 {
			return problem
		}
	}
	return ""
}

// checkBase64: groups of four of the standard alphabet; white space is allowed.
func checkBase64(b []byte) string {
	n, pad := 0, 0
	for _, c := range b {
		switch {
		case c == ' ' || c-'\t' < 5:
			continue
		case c == '=':
			pad++
		case c-'0' >= 10 && (c|0x20)-'a' >= 26 && c != '+' && c != '/':
			return "has a character that is not base64"
		case pad > 0:
			return "goes on after its padding"
		}
		n++
	}
	if n == 0 {
		return "must not be empty"
	}
	if n%4 != 0 || pad > 2 {
		return "must be groups of four characters"
	}
	return ""
}

// checkReference checks the shape of Reference.reference
// (http://hl7.org/fhir/R4/references.html#literal): "#id", an absolute URL, a
// relative URL "Type/id" with an optional version, or, in a transaction, a
// search "Type?criteria".
func checkReference(b []byte) string {
	if problem := checkURI(b); problem != "" {
		return problem
	}
	if b[0] == '#' {
		return ""
	}
	i := bytes.IndexAny(b, ":/?#")
	if i < 0 && checkID(b) == "" {
		return "" // a relative URL that leaves the type to the element
	}
	if i < 0 {
		return "must be Type/id, #id or an absolute URL"
	}
	if b[i] == ':' {
		if i == 0 {
			return "must be Type/id, #id or an absolute URL"
		}
		return ""
	}
	t := r4.LookupBytes(b[:i])
	if t == nil || t.Kind != r4.Resource || t.Abstract {
		return "must begin with a resource type, a scheme or '#'"
	}
	if b[i] == '?' {
		return ""
	}
	id, rest, found := bytes.Cut(b[i+1:], []byte("/"))
	if found {
		version, ok := bytes.CutPrefix(rest, []byte("_history/"))
		if !ok || len(version) == 0 || checkID(version) != "" {
			return "must be Type/id or Type/id/_history/version"
		}
	}
	id, _, _ = bytes.Cut(id, []byte("#"))
	if len(id) == 0 || checkID(id) != "" {
		return "must have an id of letters, digits, '-' and '.' after the type"
	}
	return ""
}
