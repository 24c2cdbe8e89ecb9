package loader

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// job is one request: a transaction, or a batch.
type job struct {
	source      string
	transaction bool
	entries     []entry
	images      []image // files for the DICOM service; there are no entries then
}

// entry is one entry of the Bundle to send.
type entry struct {
	line, index int    // where it comes from: line of a file, or entry of a Bundle, from 1; 0 if neither
	key         string // "Patient/1", or the type alone
	method      string // of its request
	body        []byte // the JSON of Bundle.entry
}

// maxBatchBytes closes a batch early, so that large resources do not add up.
const maxBatchBytes = 4 << 20

// batch collects entries into jobs.
type batch struct {
	w     *walker
	job   job
	bytes int
}

func (b *batch) add(e entry) error {
	b.job.entries = append(b.job.entries, e)
	b.bytes += len(e.body)
	if len(b.job.entries) >= b.w.run.BatchSize || b.bytes >= maxBatchBytes {
		return b.flush()
	}
	return nil
}

func (b *batch) flush() error {
	j := b.job
	b.job.entries, b.bytes = nil, 0
	if len(j.entries) == 0 {
		return nil
	}
	return b.w.out(j)
}

// lines reads one resource per line.
func (w *walker) lines(in io.Reader, label string) error {
	r := bufio.NewReaderSize(in, 1<<16)
	out := batch{w: w, job: job{source: label}}
	var doc resource.Doc
	for number := 1; ; number++ {
		line, end := readLine(r, w.run.MaxDocument)
		if end != nil && !errors.Is(end, io.EOF) && !errors.Is(end, errTooLarge) {
			w.run.fail(Failure{Source: label, Line: number, Diagnostics: end.Error()}, 1)
			break
		}
		if errors.Is(end, errTooLarge) {
			w.run.fail(Failure{Source: label, Line: number, Diagnostics: end.Error()}, 1)
			continue
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			e, err := w.single(&doc, line)
			if err != nil {
				w.run.fail(Failure{Source: label, Line: number, Diagnostics: err.Error()}, 1)
			} else {
				e.line = number
				if err := out.add(e); err != nil {
					return err
				}
			}
		}
		if end != nil {
			break
		}
	}
	return out.flush()
}

// readLine returns the next line. A line over the limit is skipped.
func readLine(r *bufio.Reader, limit int64) ([]byte, error) {
	var line []byte
	tooLarge := false
	for {
		part, err := r.ReadSlice('\n')
		if !tooLarge {
			line = append(line, part...)
		}
		if int64(len(line)) > limit {
			line, tooLarge = nil, true
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if tooLarge && (err == nil || errors.Is(err, io.EOF)) {
			return nil, errTooLarge
		}
		return line, err
	}
}

// single makes the entry for the text of one resource.
func (w *walker) single(doc *resource.Doc, text []byte) (entry, error) {
	if err := doc.Parse(text, resource.Options{}); err != nil {
		return entry{}, err
	}
	return w.resource(doc.Root(), "")
}

// document reads a .json file.
func (w *walker) document(text []byte, label string) error {
	var doc resource.Doc
	if err := doc.Parse(text, resource.Options{}); err != nil {
		w.bad(label, err)
		return nil
	}
	n := doc.Root()
	kind := n.Get("type").Text()
	if !n.Get("resourceType").Is("Bundle") || kind == "document" || kind == "message" {
		e, err := w.resource(n, "")
		if err != nil {
			w.bad(label, err)
			return nil
		}
		return w.out(job{source: label, entries: []entry{e}})
	}
	switch kind {
	case "transaction":
		return w.requests(n, label, true)
	case "batch":
		return w.requests(n, label, false)
	case "collection", "searchset":
		return w.contents(n, label)
	}
	w.bad(label, fmt.Errorf("a Bundle of type %q cannot be loaded", kind))
	return nil
}

// requests sends the entries of a transaction or a batch.
func (w *walker) requests(bundle resource.Node, label string, transaction bool) error {
	out := batch{w: w, job: job{source: label, transaction: transaction}}
	index := 0
	for n := range bundle.Get("entry").Children() {
		index++
		e := w.request(n)
		e.index = index
		if transaction {
			out.job.entries = append(out.job.entries, e)
		} else if err := out.add(e); err != nil {
			return err
		}
	}
	return out.flush()
}

// request takes over one entry; a POST that can be repeated safely becomes a PUT.
func (w *walker) request(n resource.Node) entry {
	req, res := n.Get("request"), n.Get("resource")
	method, typ := req.Get("method"), res.Get("resourceType").Text()
	e := entry{method: method.Text(), key: key(typ, res.Get("id").Text())}
	if e.key == "" {
		e.key = req.Get("url").Text()
	}
	url := req.Get("url")
	if w.run.AsIs || !isType(typ) || !method.Is("POST") || !url.Is(typ) || req.Get("ifNoneExist").Valid() {
		e.body = n.AppendCompact(nil)
		return e
	}
	id := res.Get("id").Text()
	var edits []resource.Edit
	if id == "" {
		id = strings.TrimPrefix(n.Get("fullUrl").Text(), "urn:uuid:")
		edits = append(edits, setID(res, id)...)
	}
	if !isID(id) {
		e.body = n.AppendCompact(nil)
		return e
	}
	edits = append(edits, replace(method, "PUT"), replace(url, typ+"/"+id))
	slices.SortFunc(edits, func(a, b resource.Edit) int { return a.Start - b.Start })
	e.method, e.key = "PUT", key(typ, id)
	e.body = n.AppendEdited(nil, edits)
	return e
}

// contents sends the resources of a collection or a search result.
func (w *walker) contents(bundle resource.Node, label string) error {
	out := batch{w: w, job: job{source: label}}
	for n := range bundle.Get("entry").Children() {
		if strings.HasPrefix(n.Get("fullUrl").Text(), "urn:uuid:") {
			out.job.transaction = true
			break
		}
	}
	index := 0
	for n := range bundle.Get("entry").Children() {
		index++
		res := n.Get("resource")
		if !res.Valid() || n.Get("search").Get("mode").Is("outcome") {
			continue
		}
		e, err := w.resource(res, n.Get("fullUrl").Text())
		if err != nil {
			w.run.fail(Failure{Source: label, Entry: index, Diagnostics: err.Error()}, 1)
			continue
		}
		e.index = index
		if out.job.transaction {
			out.job.entries = append(out.job.entries, e)
		} else if err := out.add(e); err != nil {
			return err
		}
	}
	return out.flush()
}

// resource makes the entry for a resource that came without a request.
func (w *walker) resource(n resource.Node, fullURL string) (entry, error) {
	typ := n.Get("resourceType").Text()
	if !isType(typ) {
		return entry{}, errors.New("not a FHIR resource: resourceType is missing or no name")
	}
	id := n.Get("id").Text()
	var edits []resource.Edit
	if id == "" && !w.run.AsIs {
		if id = strings.TrimPrefix(fullURL, "urn:uuid:"); id == fullURL || !isID(id) {
			id = derivedID(n)
		}
		edits = setID(n, id)
	}
	e := entry{method: "PUT", key: key(typ, id)}
	url := e.key
	if id == "" {
		e.method = "POST"
	} else if !isID(id) {
		return entry{}, fmt.Errorf("%s: the id must be 1 to 64 letters, digits, '-' and '.'", typ)
	}
	b := []byte{'{'}
	if fullURL != "" {
		b = append(resource.AppendString(append(b, `"fullUrl":`...), fullURL), ',')
	}
	b = append(b, `"resource":`...)
	b = n.AppendEdited(b, edits)
	b = append(b, `,"request":{"method":"`+e.method+`","url":`...)
	b = resource.AppendString(b, url)
	e.body = append(b, `}}`...)
	return e, nil
}

// setID returns the edit that gives an id to a resource without one.
func setID(n resource.Node, id string) []resource.Edit {
	if have := n.Get("id"); have.Valid() {
		return []resource.Edit{replace(have, id)}
	}
	start, _ := n.Offsets()
	with := resource.AppendString([]byte(`"id":`), id)
	if n.Len() > 0 {
		with = append(with, ',')
	}
	return []resource.Edit{{Start: start + 1, End: start + 1, With: with}}
}

func replace(n resource.Node, by string) resource.Edit {
	start, end := n.Offsets()
	return resource.Edit{Start: start, End: end, With: resource.AppendString(nil, by)}
}

// derivedID names a resource by its content, in the form of a UUID (RFC 9562
// version 8), so that the same content gets the same id in every run.
func derivedID(n resource.Node) string {
	sum := sha256.Sum256(n.AppendCompact(nil))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func key(typ, id string) string {
	if id == "" || typ == "" {
		return typ
	}
	return typ + "/" + id
}

// isID checks the grammar of the FHIR type id (R4 section 2.24.0.1).
func isID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func isType(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
