package r4

import (
	_ "embed"
	"encoding/binary"
	"strings"
	"unsafe"

	"github.com/klauspost/compress/zstd"
)

//go:embed r4.bin.zst
var embedded []byte

// formatVersion is the version of the file; tools/genr4 writes the same.
const formatVersion = 2

// definitions is the whole content of the file.
type definitions struct {
	types            map[string]*Type
	resources        []string
	params           []*SearchParam
	compartments     map[string]*CompartmentDef
	compartmentNames []string
	codes            map[string]map[string]struct{}
}

// decodeEmbedded reads the embedded file. The file is part of the program, so
// a damaged one is a defect of the build and there is nothing to return.
func decodeEmbedded() *definitions {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic("r4: " + err.Error())
	}
	defer dec.Close()
	data, err := dec.DecodeAll(embedded, nil)
	if err != nil {
		panic("r4: embedded definitions: " + err.Error())
	}
	return decode(data)
}

// decode reads the file: "HYR4", the version, a table of strings (their number,
// their lengths, their text) and then the sections, in which every string is an
// index into the table. All numbers are unsigned varints.
func decode(data []byte) *definitions {
	if !strings.HasPrefix(string(data[:4]), "HYR4") {
		panic("r4: embedded definitions: wrong magic")
	}
	r := &reader{data: data[4:]}
	if v := r.num(); v != formatVersion {
		panic("r4: embedded definitions: wrong version")
	}
	r.readTable()
	d := &definitions{}
	d.readTypes(r)
	d.readParams(r)
	d.readCompartments(r)
	d.readCodes(r)
	return d
}

type reader struct {
	data  []byte
	table []string
}

func (r *reader) num() int {
	n, w := binary.Uvarint(r.data)
	r.data = r.data[w:]
	return int(n)
}

func (r *reader) str() string { return r.table[r.num()] }

func (r *reader) strs() []string {
	n := r.num()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.str()
	}
	return list
}

// readTable makes the strings. All share one copy of the text, so that they
// cost no allocation each and the rest of the file can be freed.
func (r *reader) readTable() {
	n := r.num()
	lens, total := make([]int, n), 0
	for i := range lens {
		lens[i] = r.num()
		total += lens[i]
	}
	text := make([]byte, total)
	r.data = r.data[copy(text, r.data[:total]):]
	all := unsafe.String(unsafe.SliceData(text), total) // text is never written again
	r.table = make([]string, n)
	for i, l := range lens {
		r.table[i], all = all[:l], all[l:]
	}
}

func (d *definitions) readTypes(r *reader) {
	types := make([]Type, r.num())
	elements := make([]Element, r.num())
	refs := make([]TypeRef, r.num())
	pointers := make([]*Element, len(elements))
	bindings := make(map[Binding]*Binding)
	d.types = make(map[string]*Type, len(types))
	for i := range types {
		t := &types[i]
		t.Name, t.Base, t.URL, t.Regex = r.str(), r.str(), r.str(), r.str()
		t.Kind, t.Index = Kind(r.num()), i
		t.Abstract = r.num()&1 != 0
		n, members := r.num(), 0
		t.Elements, pointers = pointers[:n:n], pointers[n:]
		for j := range n {
			e := &elements[0]
			elements, t.Elements[j], e.Index = elements[1:], e, j
			refs = e.read(r, types, refs, bindings)
			members += len(e.Types)
		}
		t.byJSON = newMemberTable(t.Elements, members)
		d.types[t.Name] = t
		if t.Kind == Resource && !t.Abstract {
			d.resources = append(d.resources, t.Name)
		}
	}
	for i := range types {
		for _, e := range types[i].Elements {
			for k := range e.Types {
				e.Types[k].Name = e.Types[k].Type.Name
			}
		}
	}
}

// read reads one element. It takes its TypeRefs from refs and returns what is left.
func (e *Element) read(r *reader, types []Type, refs []TypeRef, bindings map[Binding]*Binding) []TypeRef {
	e.Name, e.Path = r.str(), r.str()
	e.Min, e.Max, e.MaxLength = r.num(), r.num()-1, r.num()
	flags := r.num()
	e.Choice, e.Summary, e.Modifier = flags&1 != 0, flags&2 != 0, flags&4 != 0
	if flags&8 != 0 {
		b := Binding{Strength: r.str(), ValueSet: r.str()}
		if bindings[b] == nil {
			bindings[b] = &b
		}
		e.Binding = bindings[b]
	}
	n := r.num()
	e.Types, refs = refs[:n:n], refs[n:]
	for k := range e.Types {
		e.Types[k] = TypeRef{Type: &types[r.num()], JSONName: r.str(), Profile: r.str(), TargetProfiles: r.strs()}
	}
	return refs
}

func (d *definitions) readParams(r *reader) {
	params := make([]SearchParam, r.num())
	d.params = make([]*SearchParam, len(params))
	for i := range params {
		p := &params[i]
		d.params[i] = p
		p.ID, p.URL, p.Code, p.Type, p.Expression = r.str(), r.str(), r.str(), r.str(), r.str()
		p.Base, p.Target = r.strs(), r.strs()
		if n := r.num(); n > 0 {
			p.Components = make([]Component, n)
			for k := range p.Components {
				p.Components[k] = Component{Definition: r.str(), Expression: r.str()}
			}
		}
	}
}

func (d *definitions) readCompartments(r *reader) {
	n := r.num()
	d.compartments = make(map[string]*CompartmentDef, n)
	for range n {
		c := &CompartmentDef{Code: r.str()}
		resources := r.num()
		c.Resources = make(map[string][]string, resources)
		for range resources {
			name := r.str()
			if codes := r.strs(); codes != nil {
				c.Resources[name] = codes
			}
		}
		d.compartments[c.Code] = c
		d.compartmentNames = append(d.compartmentNames, c.Code)
	}
}

func (d *definitions) readCodes(r *reader) {
	n := r.num()
	d.codes = make(map[string]map[string]struct{}, n)
	for range n {
		url, size := r.str(), r.num()
		set := make(map[string]struct{}, size)
		for range size {
			set[r.str()] = struct{}{}
		}
		d.codes[url] = set
	}
}
