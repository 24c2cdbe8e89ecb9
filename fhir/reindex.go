package fhir

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Reindexer is a Store that can make the index rows of what is stored anew,
// while others read and write.
type Reindexer interface {
	// Reindex makes the rows of the next resources, a few at a time, and says
	// where to go on. A resource that is written meanwhile gets its rows from
	// the write. It may be repeated from any place that it returned. A resource
	// whose stored form cannot be read is counted and passed over.
	Reindex(ctx context.Context, from ReindexFrom) (next ReindexFrom, err error)
	// ReindexOne makes the rows of one resource.
	ReindexOne(ctx context.Context, k Key) error
	// Size counts the current resources of some types, of all without any.
	Size(ctx context.Context, types []string) (int64, error)
}

// ReindexFrom is a place on the way through all resources. The zero value, with
// Types if not all are meant, is the beginning.
type ReindexFrom struct {
	Types []string
	Limit int   // resources in one turn at most; 0 leaves it to the store
	After int64 // the store's own
	Done  int64 // resources indexed so far, and those that failed
	More  bool  // whether there are more

	Failed int64    // resources whose stored form cannot be read
	Unread []string `json:",omitempty"` // the first of them as Type/id, up to MaxUnread
}

// MaxUnread bounds ReindexFrom.Unread.
const MaxUnread = 100

// Pass notes a resource that cannot be read.
func (f *ReindexFrom) Pass(k Key) {
	if f.Failed++; len(f.Unread) < MaxUnread {
		f.Unread = append(slices.Clip(f.Unread), k.String())
	}
}

// IndexEntry is one value that a resource is found by.
type IndexEntry struct{ Code, Value string }

// IndexOf returns the index entries that the current definitions find in a
// resource. With POST they are also written; else it is the dry run of that.
func (s *Service) IndexOf(ctx context.Context, in *Interaction) ([]IndexEntry, error) {
	read := *in
	read.Verb, read.Operation, read.Method = VerbRead, "", "GET"
	if err := s.Allow(ctx, VerbReindex); err != nil {
		return nil, err
	}
	resp, err := s.Do(ctx, &read)
	if err != nil {
		return nil, err
	}
	var d resource.Doc
	rec := resp.Record
	if err := d.Parse(resource.AppendResource(nil, resource.Header{Type: rec.Type, ID: rec.ID}, rec.Stored), resource.Options{}); err != nil {
		return nil, err
	}
	var v search.Values
	if err := s.reg.Extract(d.Root(), nil, &v); err != nil {
		return nil, err
	}
	if in.Method == "POST" {
		store, ok := s.store.(Reindexer)
		if !ok {
			return nil, fault.New(fault.NotImplemented, "this store cannot be indexed again")
		}
		if err := s.defined(ctx, s.FollowParams, func() error { return store.ReindexOne(ctx, rec.Key) }); err != nil {
			return nil, err
		}
	}
	return entries(&v), nil
}

// entries writes index entries as a search would name them. Those that only chains
// into contained resources use are left out: no search can name them.
func entries(v *search.Values) (out []IndexEntry) {
	add := func(p *search.Param, value string) {
		if !strings.Contains(p.Code, "#") {
			out = append(out, IndexEntry{p.Code, value})
		}
	}
	day := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
	for _, e := range v.Tokens {
		if e.System+e.Code != "" {
			add(e.Param, e.System+"|"+e.Code)
		} else if !strings.Contains(e.Param.Code, "#") {
			out = append(out, IndexEntry{e.Param.Code + ":text", e.Text})
		}
	}
	for _, e := range v.References {
		if e.URL != "" {
			add(e.Param, e.URL)
			continue
		}
		add(e.Param, e.Type+"/"+e.ID)
	}
	for _, e := range v.Dates {
		add(e.Param, day(e.Lo)+"/"+day(e.Hi))
	}
	for _, e := range v.Numbers {
		text := strconv.FormatFloat(e.Lo, 'g', -1, 64)
		if e.Hi != e.Lo {
			text += "/" + strconv.FormatFloat(e.Hi, 'g', -1, 64)
		}
		if e.System+e.Code != "" {
			text += "|" + e.System + "|" + e.Code
		}
		add(e.Param, text)
	}
	for _, e := range v.Strings {
		add(e.Param, e.Text)
	}
	for _, e := range v.URIs {
		add(e.Param, e.URI)
	}
	for _, e := range v.Composites {
		var parts []string
		for i := range e.Parts {
			var values []string // of one element: any of them
			for _, x := range entries(&e.Parts[i]) {
				values = append(values, x.Value)
			}
			parts = append(parts, strings.Join(values, ","))
		}
		add(e.Param, strings.Join(parts, "$"))
	}
	slices.SortStableFunc(out, func(a, b IndexEntry) int { return strings.Compare(a.Code, b.Code) })
	return out
}
