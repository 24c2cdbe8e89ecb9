package dcm

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CheckUID reports whether s can identify something: at most 64 digits and
// periods that end with a digit. Leading zeros of components, which PS3.5 section
// 9.1 forbids, are so common that they are let through.
func CheckUID(s string) bool {
	if s == "" || len(s) > 64 || s[len(s)-1] == '.' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '.' {
			return false
		}
	}
	return true
}

// Check says what is wrong with the values of one of d's elements; nil when
// nothing is. It looks at length, form and characters as far as they decide
// whether the value can be used (PS3.5 section 6.2), not at the multiplicity.
// The message repeats no value, which may identify a patient.
func (d *Dataset) Check(e *Element) error {
	if e.Empty() || e.Bulk() || e.VR == SQ {
		return nil
	}
	if !e.VR.isString() {
		w := e.VR.width()
		if e.VR == AT {
			w = 4
		}
		if !e.VR.Bulk() && len(e.Value)%w != 0 {
			return fmt.Errorf("%d bytes are no multiple of %d, the size of VR %s", len(e.Value), w, e.VR)
		}
		return nil
	}
	for _, s := range d.StringsOf(e) {
		if s == "" {
			continue
		}
		if err := CheckText(e.VR, s); err != nil {
			return err
		}
	}
	return nil
}

// maxChars is the longest value in characters; the others have no limit here.
var maxChars = map[VR]int{AE: 16, CS: 16, SH: 16, LO: 64, ST: 1024, LT: 10240}

// CheckText checks one value of a text VR.
func CheckText(vr VR, s string) error {
	if n := maxChars[vr]; n > 0 && utf8.RuneCountInString(s) > n {
		return fmt.Errorf("the value has more than %d characters, the most of VR %s", n, vr)
	}
	bad := false
	switch vr {
	case UI:
		bad = !CheckUID(s)
	case AS:
		bad = len(s) != 4 || !digits(s[:3]) || !strings.Contains("DWMY", s[3:])
	case DA:
		bad = !validDate(s)
	case TM:
		bad = !validTime(s)
	case DT:
		bad = !validDateTime(s)
	case IS:
		bad = !digits(strings.TrimLeft(s[:1], "+-")+s[1:]) || len(s) > 12
	case DS:
		bad = jsonNumber(s) == ""
	case PN:
		return checkName(s)
	}
	if bad {
		return fmt.Errorf("the value does not have the form of VR %s", vr)
	}
	if vr == LO || vr == SH || vr == AE || vr == CS {
		for i := range len(s) {
			if c := s[i]; c < 0x20 && c != 0x1B || c == '\\' {
				return fmt.Errorf("the value holds a control character, which VR %s does not allow", vr)
			}
		}
	}
	return nil
}

func checkName(s string) error {
	groups := strings.Split(s, "=")
	if len(groups) > 3 {
		return fmt.Errorf("the name has more than 3 component groups")
	}
	for _, g := range groups {
		if utf8.RuneCountInString(g) > 64 {
			return fmt.Errorf("a component group of the name has more than 64 characters")
		}
		if strings.Count(g, "^") > 4 {
			return fmt.Errorf("a component group of the name has more than 5 components")
		}
		for i := range len(g) {
			if g[i] < 0x20 && g[i] != 0x1B {
				return fmt.Errorf("the name holds a control character")
			}
		}
	}
	return nil
}

// between reads two digits as a number and checks its range.
func between(s string, lo, hi int) bool {
	if len(s) < 2 || !digits(s[:2]) {
		return false
	}
	v := atoi(s[:2])
	return v >= lo && v <= hi
}

// validDate accepts YYYYMMDD.
func validDate(s string) bool {
	return len(s) == 8 && digits(s) && between(s[4:], 1, 12) && between(s[6:], 1, daysIn(s))
}

func daysIn(s string) int {
	y, m := atoi(s[:4]), atoi(s[4:6])
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

func atoi(s string) int {
	v := 0
	for _, c := range s {
		v = v*10 + int(c-'0')
	}
	return v
}

// validTime accepts HH[MM[SS[.F{1,6}]]].
func validTime(s string) bool {
	s, frac, dot := strings.Cut(s, ".")
	if dot && (len(s) != 6 || len(frac) > 6 || !digits(frac)) {
		return false
	}
	return (len(s) == 2 || len(s) == 4 || len(s) == 6) && between(s, 0, 23) &&
		(len(s) < 4 || between(s[2:], 0, 59)) && (len(s) < 6 || between(s[4:], 0, 60))
}

// validDateTime accepts YYYY[MM[DD[HH[MM[SS[.F{1,6}]]]]]][&ZZXX].
func validDateTime(s string) bool {
	if i := strings.LastIndexAny(s, "+-"); i >= 4 {
		if zone := s[i+1:]; len(zone) != 4 || !between(zone, 0, 14) || !between(zone[2:], 0, 59) {
			return false
		}
		s = s[:i]
	}
	whole, _, _ := strings.Cut(s, ".")
	switch {
	case len(whole) == 4:
		return digits(whole) && s == whole
	case len(whole) == 6:
		return digits(whole) && between(whole[4:], 1, 12) && s == whole
	case len(whole) < 8 || !validDate(whole[:8]):
		return false
	}
	return len(s) == 8 || validTime(s[8:])
}
