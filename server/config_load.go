package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Source says where a configuration comes from.
type Source struct {
	File  string            // YAML file; "" = none
	Env   []string          // NAME=value, as of os.Environ
	Flags map[string]string // key to value, for the flags that were given
}

// Load reads the configuration: the defaults, over them the file, over it the
// environment, over it the flags. It does not validate, so that config print
// can show what a refused configuration amounts to.
func Load(src Source) (Config, error) {
	c := Defaults()
	if src.File != "" {
		text, err := os.ReadFile(src.File)
		if err != nil {
			return c, err
		}
		if err := decodeStrict(text, src.File, &c); err != nil {
			return c, err
		}
	}
	if err := loadEnv(&c, src.Env); err != nil {
		return c, err
	}
	for _, f := range fields(&c) {
		if text, ok := src.Flags[f.key]; ok {
			if err := f.set(text); err != nil {
				return c, fmt.Errorf("%s: %w", f.flag, err)
			}
		}
	}
	return c, nil
}

// clientVariables belong to the client commands, not to the configuration of a server.
var clientVariables = []string{"HYGEIA_CONFIG", "HYGEIA_URL", "HYGEIA_TOKEN", "HYGEIA_CLIENT_SECRET"}

// loadEnv sets the keys that have a variable; an empty one counts as absent. An unknown HYGEIA_ variable is an
// error as an unknown key is, except those that Kubernetes and Docker links put
// beside every container for a service that happens to be called hygeia, and those that the configuration
// itself refers to as secrets.
func loadEnv(c *Config, env []string) error {
	byName := map[string]field{}
	var names, unknown []string
	for _, f := range fields(c) {
		byName[f.env()] = f
		names = append(names, f.env())
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "HYGEIA_") || value == "" || slices.Contains(clientVariables, name) {
			continue
		}
		f, ok := byName[name]
		if !ok {
			if strings.HasPrefix(name, "HYGEIA_SERVICE_") || strings.HasPrefix(name, "HYGEIA_PORT") {
				continue
			}
			unknown = append(unknown, name) // the keys that may refer to it need not all be set yet
			continue
		}
		if err := f.set(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	secrets := append(newReferences(c), c.Identity.Key, c.Encryption.Keys)
	for _, name := range unknown {
		if !secrets.allow("env:" + name) {
			return fmt.Errorf("unknown variable %s%s", name, didYouMean(name, names))
		}
	}
	return nil
}

// decodeStrict reads YAML into the value that into points to. Unknown and
// repeated keys are errors with the line. name is for the messages.
func decodeStrict(text []byte, name string, into any) error {
	at := func(line int, format string, args ...any) error {
		msg := fmt.Sprintf(format, args...)
		if name == "" {
			return fmt.Errorf("line %d: %s", line, strings.TrimPrefix(msg, ": "))
		}
		return fmt.Errorf("%s:%d: %s", name, line, msg)
	}
	fail := func(err error) error {
		if name == "" {
			return oneLine(err)
		}
		return fmt.Errorf("%s: %w", name, oneLine(err))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fail(err)
	}
	if len(doc.Content) == 0 {
		return nil // an empty file changes nothing
	}
	if line, msg := unknownKey(doc.Content[0], reflect.TypeOf(into).Elem(), 0); msg != "" {
		return at(line, "%s", msg)
	}
	if line, msg := wrongValue(doc.Content[0], reflect.TypeOf(into).Elem(), "", 0); msg != "" {
		return at(line, "%s", msg)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return fail(errors.New("more than one document in the file"))
	}
	return nil
}

// unknownKey returns the line and a message for the first mapping key that the
// Go type does not know; "" when there is none. Aliases are followed to a
// bounded depth, because an alias may point to its own parent.
func unknownKey(n *yaml.Node, t reflect.Type, depth int) (int, string) {
	if depth > 32 {
		return n.Line, "nested too deeply"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return unknownKey(n.Alias, t, depth+1)
	}
	switch {
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for _, item := range n.Content {
			if line, msg := unknownKey(item, t.Elem(), depth+1); msg != "" {
				return line, msg
			}
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		return unknownMember(n, t, depth)
	}
	return 0, ""
}

func unknownMember(n *yaml.Node, t reflect.Type, depth int) (int, string) {
	known := map[string]reflect.Type{}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if key := yamlKey(f); key != "" {
			known[key] = f.Type
			names = append(names, key)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		inner, ok := known[key.Value]
		if !ok {
			return key.Line, fmt.Sprintf("unknown key %q%s", key.Value, didYouMean(key.Value, names))
		}
		if line, msg := unknownKey(value, inner, depth+1); msg != "" {
			return line, msg
		}
	}
	return 0, ""
}

// wrongValue returns the line and a message for the first value that does not
// fit its key; "" when there is none. What comes from yaml names Go types and
// sometimes no line.
func wrongValue(n *yaml.Node, t reflect.Type, key string, depth int) (int, string) {
	if n.Kind == yaml.AliasNode || depth > 32 {
		return 0, ""
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return 0, "" // an empty value leaves the default
	case t.Kind() == reflect.Struct:
		if n.Kind != yaml.MappingNode {
			return n.Line, strings.TrimPrefix(key+": keys and values are expected", ": ")
		}
		for _, f := range reflect.VisibleFields(t) {
			name := yamlKey(f)
			for j := 0; name != "" && j+1 < len(n.Content); j += 2 {
				if n.Content[j].Value != name {
					continue
				}
				if line, msg := wrongValue(n.Content[j+1], f.Type, strings.TrimPrefix(key+"."+name, "."), depth+1); msg != "" {
					return line, msg
				}
			}
		}
		return 0, ""
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if line, msg := wrongValue(item, t.Elem(), key, depth+1); msg != "" {
				return line, msg
			}
		}
		return 0, ""
	case t.Kind() == reflect.Slice:
		return n.Line, key + ": a list is expected"
	}
	if t.Kind() == reflect.Int && n.Tag == "!!float" {
		return n.Line, fmt.Sprintf("%s: %q is not a whole number", key, n.Value) // yaml would cut it
	}
	if err := n.Decode(reflect.New(t).Interface()); err != nil {
		return n.Line, key + ": " + plainError(n, t, err)
	}
	return 0, ""
}

// plainError says without Go types why a value does not fit.
func plainError(n *yaml.Node, t reflect.Type, err error) string {
	if _, ok := errors.AsType[*yaml.TypeError](err); !ok {
		return strings.TrimPrefix(err.Error(), "yaml: ")
	}
	want := map[reflect.Kind]string{
		reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Float64: "a number",
		reflect.Int64: "a size such as 32MiB", reflect.Map: "a mapping of names to values",
	}[t.Kind()]
	if t == reflect.TypeFor[time.Duration]() {
		want = "a duration such as 30s"
	}
	if n.Kind != yaml.ScalarNode {
		return want + " is expected"
	}
	return fmt.Sprintf("%q is not %s", n.Value, want)
}

// oneLine puts the several lines of a YAML error into one.
func oneLine(err error) error {
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		return errors.New(strings.Join(te.Errors, "; "))
	}
	return errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
}

// didYouMean returns `; did you mean "x"?` with the nearest of the known names.
func didYouMean(name string, known []string) string {
	best, distance := "", 1<<30
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance is the distance of Levenshtein over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
