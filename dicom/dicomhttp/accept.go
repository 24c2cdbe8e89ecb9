package dicomhttp

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// mediaRange is one element of an Accept header.
type mediaRange struct {
	full   string // type/subtype in lower case
	typ    string // the parameter type of multipart/related, in lower case
	syntax string // the parameter transfer-syntax; "" when there is none
	q      float64
}

// accepts reads all Accept headers, and the query parameter accept
// (PS3.18 section 8.3.3.1), best first. None at all means anything.
func accepts(r *http.Request) []mediaRange {
	var out []mediaRange
	values := r.Header["Accept"]
	if strings.Contains(r.URL.RawQuery, "accept=") {
		if v := r.URL.Query()["accept"]; len(v) > 0 {
			values = v
		}
	}
	for _, v := range values {
		for _, part := range splitQuoted(v, ',') {
			if m, ok := parseRange(part); ok {
				out = append(out, m)
			}
		}
	}
	if strings.TrimSpace(strings.Join(values, "")) == "" {
		out = append(out, mediaRange{full: "*/*", q: 1})
	}
	slices.SortStableFunc(out, func(a, b mediaRange) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		}
		return 0
	})
	return out
}

func parseRange(s string) (mediaRange, bool) {
	parts := splitQuoted(s, ';')
	m := mediaRange{full: strings.ToLower(strings.TrimSpace(parts[0])), q: 1}
	if m.full == "" {
		return m, false
	}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "type":
			m.typ = strings.ToLower(value)
		case "transfer-syntax":
			m.syntax = value
		case "q":
			if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
				m.q = q
			}
		}
	}
	return m, m.q > 0
}

// splitQuoted splits at a character outside of quotation marks. Clients that do
// not quote type=application/dicom are understood too, because neither a comma
// nor a semicolon is part of a media type.
func splitQuoted(s string, sep byte) []string {
	var out []string
	quoted, start := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

const (
	typeDICOM     = "application/dicom"
	typeDICOMJSON = "application/dicom+json"
	typeJSON      = "application/json"
	typeOctets    = "application/octet-stream"
	typeMultipart = "multipart/related"
)

// wantsJSON reports whether one of the ranges takes DICOM JSON.
func wantsJSON(list []mediaRange) bool {
	for _, m := range list {
		switch m.full {
		case typeDICOMJSON, typeJSON, "application/*", "*/*":
			return true
		}
	}
	return false
}
