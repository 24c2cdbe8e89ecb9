package fhir

import (
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// parseETag reads a version from an entity tag as FHIR writes it, W/"3" (R4
// section 3.1.0.1.3). The strong form "3" is taken too.
func parseETag(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	s = strings.TrimPrefix(s, "W/")
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return 0, false
	}
	v, ok := parseVersion(s[1 : len(s)-1])
	return v, ok && v > 0
}

// weakTag reports whether s is a well-formed weak entity tag (RFC 9110 section
// 8.8.3). One that names no version of ours is not malformed: it matches nothing.
func weakTag(s string) bool {
	s, ok := strings.CutPrefix(strings.TrimSpace(s), `W/"`)
	return ok && len(s) > 1 && strings.IndexByte(s, '"') == len(s)-1
}

// parseVersion reads a version id of this server: a decimal number without
// leading zeros. Only imports make negative ones, and they are never current.
func parseVersion(s string) (int64, bool) {
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil && v != 0 && s[0] != '0' && s[0] != '+' && (v > 0 || s[1] != '0')
}

// ifMatch returns the version that a write demands, 0 for none.
func ifMatch(in *Interaction) (int64, error) {
	if in.IfMatch == "" {
		return 0, nil
	}
	v, ok := parseETag(in.IfMatch)
	if !ok && weakTag(in.IfMatch) {
		return 0, fault.New(fault.Precondition, "If-Match %q is no version that this server gave out", clip(in.IfMatch))
	}
	if !ok {
		return 0, fault.At(fault.Invalid, "value", "", "If-Match %q is not a weak entity tag such as W/\"1\"", clip(in.IfMatch))
	}
	return v, nil
}

// parseInstant reads the value of a time parameter: an instant, or a date or
// dateTime of lower precision, which means its first moment. Without an offset
// the time is UTC.
func parseInstant(param, s string) (time.Time, error) {
	// A plus sign that was not escaped arrives as a blank.
	t := strings.Replace(s, " ", "+", 1)
	for _, layout := range []string{
		"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02", "2006-01", "2006",
	} {
		if v, err := time.Parse(layout, t); err == nil {
			return v.UTC(), nil
		}
	}
	return time.Time{}, fault.At(fault.Invalid, "value", "", "%s: %q is not a date or an instant", param, clip(s))
}
