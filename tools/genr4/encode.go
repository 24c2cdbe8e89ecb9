package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// version must be that of spec/r4/decode.go.
const version = 2

// writer collects numbers; strings become indexes into a table that stands
// before them in the file.
type writer struct {
	buf   []byte
	index map[string]int
	table []string
}

func (w *writer) num(n int) { w.buf = binary.AppendUvarint(w.buf, uint64(n)) }

func (w *writer) str(s string) {
	i, ok := w.index[s]
	if !ok {
		i = len(w.table)
		w.index[s] = i
		w.table = append(w.table, s)
	}
	w.num(i)
}

func (w *writer) strs(list []string) {
	w.num(len(list))
	for _, s := range list {
		w.str(s)
	}
}

func (w *writer) flags(bits ...bool) {
	n := 0
	for i, b := range bits {
		if b {
			n |= 1 << i
		}
	}
	w.num(n)
}

func encode(m *model) ([]byte, string) {
	w := &writer{index: map[string]int{"": 0}, table: []string{""}}
	w.types(m)
	w.params(m.params)
	w.rest(m)
	var head []byte
	head = append(head, "HYR4"...)
	head = binary.AppendUvarint(head, version)
	head = binary.AppendUvarint(head, uint64(len(w.table)))
	for _, s := range w.table {
		head = binary.AppendUvarint(head, uint64(len(s)))
	}
	all := append(append(head, strings.Join(w.table, "")...), w.buf...)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // the options above are constant
	}
	out := enc.EncodeAll(all, nil)
	return out, fmt.Sprintf("%d types, %d search parameters, %d compartments, %d value sets; %d bytes, %d compressed",
		len(m.types), len(m.params), len(m.compartments), len(m.codes), len(all), len(out))
}

func (w *writer) types(m *model) {
	index := map[string]int{}
	elements, refs := 0, 0
	for i, t := range m.types {
		index[t.name] = i
		elements += len(t.elements)
		for _, e := range t.elements {
			refs += len(e.types)
		}
	}
	w.num(len(m.types))
	w.num(elements)
	w.num(refs)
	for _, t := range m.types {
		w.str(t.name)
		w.str(t.base)
		w.str(t.url)
		w.str(t.regex)
		w.num(t.kind)
		w.flags(t.abstract)
		w.num(len(t.elements))
		for _, e := range t.elements {
			w.element(e, index)
		}
	}
}

func (w *writer) element(e *element, index map[string]int) {
	w.str(e.name)
	w.str(e.path)
	w.num(e.min)
	w.num(e.max + 1)
	w.num(e.maxLength)
	w.flags(e.choice, e.summary, e.modifier, e.strength != "")
	if e.strength != "" {
		w.str(e.strength)
		w.str(e.valueSet)
	}
	w.num(len(e.types))
	for _, r := range e.types {
		w.num(index[r.name])
		w.str(r.jsonName)
		w.str(r.profile)
		w.strs(r.targets)
	}
}

func (w *writer) params(list []searchParameter) {
	w.num(len(list))
	for _, p := range list {
		for _, s := range []string{p.ID, p.URL, p.Code, p.Type, p.Expression} {
			w.str(s)
		}
		for _, l := range [][]string{p.Base, p.Target} {
			w.strs(l)
		}
		w.num(len(p.Component))
		for _, c := range p.Component {
			w.str(c.Definition)
			w.str(c.Expression)
		}
	}
}

func (w *writer) rest(m *model) {
	w.num(len(m.compartments))
	for _, c := range m.compartments {
		w.str(c.Code)
		w.num(len(c.Resource))
		for _, r := range c.Resource {
			w.str(r.Code)
			w.strs(r.Param)
		}
	}
	w.num(len(m.codes))
	for _, url := range slices.Sorted(maps.Keys(m.codes)) {
		w.str(url)
		w.strs(m.codes[url])
	}
}
