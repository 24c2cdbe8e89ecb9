package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// invariants are what every answer has.
func invariants(t testing.TB, r request, a answer) {
	t.Helper()
	at := r.method + " " + r.url
	if len(at) > 200 {
		at = at[:200] + "..."
	}
	if a.status >= 500 && a.status != 501 {
		t.Errorf("%s: status %d\n%s", at, a.status, a.body)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Errorf("%s: the answer has no X-Request-Id", at)
	}
	if r.method == "HEAD" || a.status < 400 {
		return
	}
	ct := a.header.Get("Content-Type")
	if strings.Contains(ct, "xml") && bytes.Contains(a.body, []byte(`<OperationOutcome xmlns="http://hl7.org/fhir">`)) {
		return
	}
	if !strings.Contains(ct, "json") {
		t.Errorf("%s: Content-Type %q", at, ct)
	}
	if strings.Contains(r.url, "/manage/") {
		return
	}
	var o struct {
		ResourceType string
		Issue        []struct{ Severity, Code, Diagnostics string }
	}
	if err := json.Unmarshal(a.body, &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) == 0 {
		t.Errorf("%s: status %d without an OperationOutcome: %v\n%.500s", at, a.status, err, a.body)
	}
	for _, i := range o.Issue {
		if i.Severity == "" || i.Code == "" || i.Diagnostics == "" {
			t.Errorf("%s: an issue without severity, code or diagnostics\n%.500s", at, a.body)
		}
		if strings.Contains(i.Diagnostics, ".go:") || strings.Contains(i.Diagnostics, "goroutine") {
			t.Errorf("%s: diagnostics show the inside: %s", at, i.Diagnostics)
		}
	}
}

// check returns what is wrong, or "".
func (e expectation) check(a answer) string {
	if e.place == "body" && e.op == "empty" {
		if len(a.body) > 0 {
			return "the body is not empty"
		}
		return ""
	}
	var text string
	if e.place[0] == '.' {
		v, ok, err := a.at(e.place)
		switch {
		case err != nil:
			return err.Error()
		case e.op == "absent" && ok:
			return e.place + " is there"
		case e.op == "absent":
			return ""
		case !ok:
			return e.place + " is not there"
		case e.op == "=":
			return e.equal(v)
		case e.op == "count":
			list, _ := v.([]any)
			if n, err := strconv.Atoi(e.operand); err != nil || n != len(list) {
				return fmt.Sprintf("%s has %d elements, want %s", e.place, len(list), e.operand)
			}
			return ""
		}
		text = plain(v)
	} else if e.place == "body" {
		text = string(a.body)
	} else {
		vals, ok := a.header[e.place]
		if e.op == "absent" {
			if ok {
				return fmt.Sprintf("header %s is there: %q", e.place, vals)
			}
			return ""
		}
		if !ok {
			return "header " + e.place + " is not there"
		}
		text = strings.Join(vals, ", ")
	}
	switch e.op {
	case "=":
		if text != e.operand {
			return fmt.Sprintf("%s is %q, want %q", e.place, text, e.operand)
		}
	case "~":
		re, err := regexp.Compile(e.operand)
		if err != nil {
			return err.Error()
		}
		if !re.MatchString(text) {
			return fmt.Sprintf("%s is %q, want %q", e.place, text, e.operand)
		}
	default:
		return "cannot ask " + e.op + " of " + e.place
	}
	return ""
}

func (e expectation) equal(got any) string {
	want, err := decode([]byte(e.operand))
	if err != nil {
		return fmt.Sprintf("%q is no JSON: %v", e.operand, err)
	}
	if reflect.DeepEqual(got, want) {
		return ""
	}
	text, _ := json.Marshal(got)
	return fmt.Sprintf("%s is %s, want %s", e.place, text, e.operand)
}

// decode reads JSON and keeps the text of numbers.
func decode(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// value returns a value as text: of a place, or of a header.
func (a answer) value(place string) (string, error) {
	if place[0] != '.' {
		v := a.header.Get(place)
		if v == "" {
			return "", fmt.Errorf("header %s is not there", place)
		}
		return v, nil
	}
	v, ok, err := a.at(place)
	if err == nil && !ok {
		err = fmt.Errorf("%s is not there", place)
	}
	return plain(v), err
}

// plain is a string as it is, and everything else as JSON.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// at walks to a place of the body.
func (a answer) at(place string) (any, bool, error) {
	v, err := decode(a.body)
	if err != nil {
		return nil, false, fmt.Errorf("the body is no JSON: %w", err)
	}
	out, ok := walk(v, place)
	return out, ok, nil
}

func walk(v any, place string) (any, bool) {
	if place == "" || place == "." {
		return v, true
	}
	if place[0] == '.' {
		end := strings.IndexAny(place[1:], ".[") + 1
		if end == 0 {
			end = len(place)
		}
		m, _ := v.(map[string]any)
		child, ok := m[place[1:end]]
		if !ok {
			return nil, false
		}
		return walk(child, place[end:])
	}
	end := strings.IndexByte(place, ']')
	list, isList := v.([]any)
	if place[0] != '[' || end < 0 || !isList {
		return nil, false
	}
	index, rest := place[1:end], place[end+1:]
	if index == "*" {
		out := []any{}
		for _, c := range list {
			if w, ok := walk(c, rest); ok {
				out = append(out, w)
			}
		}
		return out, true
	}
	if name, want, ok := strings.Cut(index, "="); ok {
		for _, c := range list {
			if m, _ := c.(map[string]any); plain(m[name]) == want {
				return walk(c, rest)
			}
		}
		return nil, false
	}
	i, err := strconv.Atoi(index)
	if err != nil || i >= len(list) {
		return nil, false
	}
	return walk(list[i], rest)
}
