package bulk

import (
	"context"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// filter decides which resources of one type belong to an export, and shows
// them. One that lets everything through never looks into a resource.
type filter struct {
	s        *Service
	queries  []*search.Query        // one of them must match; none: all do
	within   *search.CompartmentRef // nil: anywhere
	patients map[string]bool        // with within: of these; nil: of any
	elements []string

	doc    resource.Doc
	text   []byte
	values search.Values
}

func (s *Service) newFilter(ctx context.Context, d *definition, typ string, patients map[string]bool) (*filter, error) {
	f := &filter{s: s, elements: d.elementsOf(typ), patients: patients}
	for _, text := range d.Filters[typ] {
		q, err := s.criteria(ctx, typ, text, d.Base, d.Asked)
		if err != nil {
			return nil, err
		}
		f.queries = append(f.queries, q)
	}
	if d.Level != "system" {
		var err error
		if f.within, err = s.d.FHIR.Registry().Compartment("Patient", "any", []string{typ}); err != nil {
			return nil, fault.Wrap("bulk: compartment", err)
		}
	}
	return f, nil
}

// open reports whether everything belongs to the export.
func (f *filter) open() bool { return f.queries == nil && f.within == nil }

// holds reports whether a version belongs to the export. The tree of the
// resource is in f.doc then, unless the filter is open.
func (f *filter) holds(rec *fhir.Record) (bool, error) {
	if f.open() {
		return true, nil
	}
	if err := f.parse(rec); err != nil {
		return false, err
	}
	f.values.Reset()
	if err := f.s.d.FHIR.Registry().Extract(f.doc.Root(), nil, &f.values); err != nil {
		return false, fault.Wrap("bulk: extract "+rec.Type, err)
	}
	if f.within != nil && !f.inside(rec) {
		return false, nil
	}
	subject := search.Subject{Type: rec.Type, ID: rec.ID, Millis: rec.Seq.Time().UnixMilli(), Values: &f.values}
	for _, q := range f.queries {
		if search.Match(q, subject, nil) {
			return true, nil
		}
	}
	return f.queries == nil, nil
}

// inside reports whether the resource is in the compartment of a patient.
func (f *filter) inside(rec *fhir.Record) bool {
	if rec.Type == "Patient" && (f.patients == nil || f.patients[rec.ID]) {
		return true
	}
	for id := range f.within.Owners(rec.Type, &f.values) {
		if f.patients == nil || f.patients[id] {
			return true
		}
	}
	return false
}

func (f *filter) parse(rec *fhir.Record) error {
	f.text = resource.AppendResource(f.text[:0], header(rec), rec.Stored)
	if err := f.doc.Parse(f.text, resource.Options{MaxDepth: maxDepth}); err != nil {
		return fault.Wrap("bulk: stored "+rec.Type, err)
	}
	return nil
}

// maxDepth is beyond anything that was let in.
const maxDepth = 10_000

func header(rec *fhir.Record) resource.Header {
	return resource.Header{Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time()}
}

// appendLine appends a version as a line of NDJSON.
func (f *filter) appendLine(dst []byte, rec *fhir.Record) ([]byte, error) {
	if f.elements == nil {
		return append(resource.AppendResource(dst, header(rec), rec.Stored), '\n'), nil
	}
	if f.open() { // else holds did it
		if err := f.parse(rec); err != nil {
			return dst, err
		}
	}
	return append(f.s.d.Subset(dst, f.doc.Root(), f.elements), '\n'), nil
}

// deletedMeta is the stored form of a resource that has nothing but that mark.
var deletedMeta = func() []byte {
	const meta = `"extension":[{"url":"` + fhir.DeletedExtension + `","valueString":"soft-deleted"}]`
	return append([]byte{0x80 | byte(len(meta)&0x7f), byte(len(meta) >> 7)}, meta...)
}()

// appendDeletion appends a deletion as a line: a resource without content that
// is marked, or a Bundle that does it again.
func appendDeletion(dst []byte, rec *fhir.Record, bundle bool) []byte {
	if !bundle {
		return append(resource.AppendResource(dst, header(rec), deletedMeta), '\n')
	}
	dst = append(dst, `{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":`...)
	dst = resource.AppendString(dst, rec.Key.String())
	return append(dst, "}}]}\n"...)
}

// before returns the version that a deletion ended, for filters that look into
// resources; ok is false when it is not kept.
func (f *filter) before(ctx context.Context, rec *fhir.Record) (fhir.Record, bool, error) {
	old, err := f.s.d.Store.ReadVersion(ctx, rec.Key, rec.Version-1)
	if fault.Is(err, fault.NotFound) {
		return old, false, nil
	}
	return old, err == nil && !old.Deleted, err
}
