package imaging

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// owned are the elements of an ImagingStudy that come from the study.
var owned = []string{"resourceType", "id", "identifier", "status", "modality", "subject", "started", "endpoint", "numberOfSeries", "numberOfInstances", "procedureCode", "description", "series"}

// merge returns the text of an ImagingStudy: what is ours, and what others wrote
// into the one that is there, if there is one.
func (r *imagingStudy) merge(id string, old *resource.Doc) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := []byte(`{"resourceType":"ImagingStudy","id":"` + id + `",`)
	if old != nil {
		for c := range old.Root().Children() {
			if slices.Contains(owned, strings.TrimPrefix(string(c.Key()), "_")) && (len(r.Procedure) > 0 || !c.KeyIs("procedureCode")) {
				continue // those of others stay where the study has no codes
			}
			out = append(resource.AppendString(out, string(c.Key())), ':')
			out = append(c.AppendCompact(out), ',')
		}
	}
	return append(out, text[1:]...), nil
}

// foreign calls f with the members of a list that are there and not ours.
func foreign(old *resource.Doc, list string, ours func(resource.Node) bool) (out []json.RawMessage) {
	if old == nil {
		return nil
	}
	for c := range old.Root().Get(list).Children() {
		if !ours(c) {
			out = append(out, c.AppendCompact(nil))
		}
	}
	return out
}

// oursIdentifier reports an identifier that comes from a study.
func oursIdentifier(n resource.Node) bool {
	if n.Get("system").Is(systemUID) {
		return true
	}
	for c := range n.Get("type").Get("coding").Children() {
		if c.Get("system").Is(systemIdentifier) && c.Get("code").Is(accession) {
			return true
		}
	}
	return false
}

// points reports whether a Reference leads to a resource.
func points(n resource.Node, typ, id string) bool { return n.Get("reference").Is(typ + "/" + id) }

// marshal writes values that always can be written.
func marshal(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}

// same reports whether two texts are one resource, but for what the server says
// about its version.
func same(a, b []byte) bool {
	x, err := tree(a)
	if err != nil {
		return false
	}
	y, err := tree(b)
	return err == nil && reflect.DeepEqual(x, y)
}

func tree(text []byte) (map[string]any, error) {
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	if meta, ok := m["meta"].(map[string]any); ok {
		delete(meta, "versionId")
		delete(meta, "lastUpdated")
		if len(meta) == 0 {
			delete(m, "meta")
		}
	}
	return m, nil
}
