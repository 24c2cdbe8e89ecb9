package server

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written as 32MiB, 500kB or 1024.
type Size int64

var sizeUnits = []struct {
	name string
	n    int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	t, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(t, u.name); ok {
			t, unit = strings.TrimSpace(rest), u.n
			break
		}
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is no size such as 32MiB", text)
	}
	*s = Size(n * unit)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns s with the largest unit that needs no fraction.
func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if int64(s) >= u.n && int64(s)%u.n == 0 {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// field is one key of the configuration.
type field struct {
	key   string // limits.body
	def   string
	doc   string
	flag  string
	mask  bool
	value reflect.Value
}

// env returns the name of the variable that sets f: HYGEIA_LIMITS_BODY.
func (f field) env() string {
	return "HYGEIA_" + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

// fields lists the keys of c in the order of the file. A list is one key.
func fields(c *Config) []field { return walkFields(reflect.ValueOf(c).Elem(), "") }

func walkFields(v reflect.Value, prefix string) []field {
	var out []field
	for i := range v.NumField() {
		t := v.Type().Field(i)
		key := yamlKey(t)
		if key == "" {
			continue
		}
		if t.Type.Kind() == reflect.Struct {
			out = append(out, walkFields(v.Field(i), prefix+key+".")...)
			continue
		}
		out = append(out, field{
			key: prefix + key, def: t.Tag.Get("default"), doc: t.Tag.Get("doc"), flag: t.Tag.Get("flag"),
			mask: t.Tag.Get("secret") != "", value: v.Field(i),
		})
	}
	return out
}

// yamlKey returns the key of a struct field; "" when the file has none for it.
func yamlKey(t reflect.StructField) string {
	key, _, _ := strings.Cut(t.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// set reads a value from the text of a variable, a flag or a default: a plain
// value as in the file, a list of strings separated by commas, a list of
// objects as YAML (or JSON, which is YAML).
func (f field) set(text string) error {
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*p = append(*p, part)
			}
		}
	case *Size:
		return p.UnmarshalText([]byte(text))
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 30s", text)
		}
		*p = d
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		*p = n
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		*p = n
	default:
		return decodeStrict([]byte(text), "", p)
	}
	return nil
}

// YAML returns c as a file, with secrets masked.
func (c *Config) YAML() ([]byte, error) {
	masked := *c
	for _, f := range fields(&masked) {
		if f.mask && f.value.Kind() == reflect.String {
			f.value.SetString(maskURL(f.value.String()))
		}
	}
	return yaml.Marshal(&masked)
}

// maskURL hides the password and the parameters of a URL; a text that is no URL
// is hidden whole.
func maskURL(s string) string {
	head, rest, ok := strings.Cut(s, "://")
	if !ok {
		if s == "" {
			return ""
		}
		return "***"
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, _, hasPassword := strings.Cut(rest[:i], ":")
		if hasPassword {
			rest = user + ":***" + rest[i:]
		}
	}
	if hasQuery && query != "" {
		rest += "?***"
	}
	return head + "://" + rest
}
