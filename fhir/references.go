package fhir

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// references knows where the references of one interaction, or of one
// transaction, point to: entries of the same Bundle by their fullUrl, resources
// of this server by their absolute URL, and the matches of search URLs
// (conditional references, R4 section 3.1.0.11.2). After targets are filled it
// may be used by several goroutines.
type references struct {
	s    *Service
	in   *Interaction // any one of the transaction: for the parse options
	base string       // with a trailing slash, or ""

	targets map[string]target // by fullUrl
	urn     bool              // some fullUrl is a urn:
	abs     bool              // some fullUrl is an absolute URL

	// written returns the resources of a type that the transaction writes as the
	// entries have them, and deletes, as absent nodes; nil outside of one.
	written func(typ string) map[Key]resource.Node
	wmu     sync.Mutex
	changed map[string]*changes // by type, what written returned

	compared atomic.Int64 // resources of the transaction that references were compared with

	closed bool // a reference that is a search is an error
	asIs   bool // a reference that is a search stays one

	mu    sync.Mutex
	found map[string]*conditional
}

// target is the resource behind a fullUrl, with the text that replaces it.
type target struct {
	Key
	json []byte

	// canonical is set when the fullUrl is the url that the resource itself has,
	// as in packages of definitions. In an element that is not a Reference it then
	// names what is defined, as the system of a code does, and stays.
	canonical bool
}

// conditional is a search URL that was, or is being, resolved.
type conditional struct {
	once sync.Once
	target
	err error
}

// references returns the resolver of an interaction that stands alone.
func (s *Service) references(in *Interaction) *references {
	r := &references{s: s, in: in}
	if in.Base != "" {
		r.base = in.Base + "/"
	}
	return r
}

func newTarget(k Key) target {
	return target{Key: k, json: resource.AppendString(nil, k.String())}
}

// add makes fullURL a name of k, whose body may be absent.
func (r *references) add(fullURL string, k Key, body resource.Node) {
	if r.targets == nil {
		r.targets = map[string]target{}
	}
	t := newTarget(k)
	t.canonical = body.Kind() == resource.Object && body.Get("url").Is(fullURL)
	r.targets[fullURL] = t
	if strings.HasPrefix(fullURL, "urn:") {
		r.urn = true
	} else if strings.Contains(fullURL, "://") {
		r.abs = true
	}
}

// resolve maps the text of a reference to a resource of this server, for the
// index. It is not ok for relative references, which the index reads itself,
// and for those that point elsewhere.
func (r *references) resolve(ref string) (typ, id string, ok bool) {
	if strings.IndexByte(ref, '?') > 0 {
		r.mu.Lock()
		c := r.found[ref]
		r.mu.Unlock()
		if c != nil && c.err == nil {
			return c.Type, c.ID, true
		}
	}
	return r.named(ref)
}

// named is resolve for what is no search.
func (r *references) named(ref string) (typ, id string, ok bool) {
	if t, ok := r.targets[ref]; ok {
		return t.Type, t.ID, true
	}
	return r.own(ref)
}

// own splits the absolute URL of a resource, or of a version, of this service.
func (r *references) own(ref string) (typ, id string, ok bool) {
	if r.base == "" || !strings.HasPrefix(ref, r.base) {
		return "", "", false
	}
	typ, rest, ok := strings.Cut(ref[len(r.base):], "/")
	if !ok || !r4.IsResource(typ) {
		return "", "", false
	}
	id, version, versioned := strings.Cut(rest, "/")
	if !ValidID(id) {
		return "", "", false
	}
	if versioned {
		if version, versioned = strings.CutPrefix(version, "_history/"); !versioned || !ValidID(version) {
			return "", "", false
		}
	}
	return typ, id, true
}

// rewrite finds what must change in the resource n and appends the edits. uris
// is true when an element that is not a Reference was among them.
func (r *references) rewrite(ctx context.Context, n resource.Node, edits []resource.Edit) (_ []resource.Edit, uris bool, err error) {
	w := walk{r: r, ctx: ctx, edits: edits}
	err = w.children(n)
	return w.edits, w.uris, err
}

// walk goes once over all strings of a resource, contained ones and extensions included.
type walk struct {
	r     *references
	ctx   context.Context
	edits []resource.Edit
	uris  bool
}

func (w *walk) children(n resource.Node) error {
	for c := n.First(); c.Valid(); c = c.Next() {
		switch c.Kind() {
		case resource.Object, resource.Array:
			if err := w.children(c); err != nil {
				return err
			}
		case resource.String:
			if c.KeyIs("reference") {
				if err := w.reference(c); err != nil {
					return err
				}
			} else if c.KeyIs("div") && n.KeyIs("text") {
				w.narrative(c)
			} else if w.r.mayName(c.Raw()) {
				w.uri(c)
			}
		}
	}
	return nil
}

// mayName is a cheap test of a JSON string: could it be one of the fullUrls?
func (r *references) mayName(raw []byte) bool {
	return r.urn && bytes.HasPrefix(raw, []byte(`"urn:`)) || r.abs && bytes.HasPrefix(raw, []byte(`"http`))
}

// reference handles Reference.reference.
func (w *walk) reference(c resource.Node) error {
	ref := c.Bytes()
	if t, ok := w.r.targets[string(ref)]; ok {
		w.edit(c, t)
		return nil
	}
	if w.r.base != "" && bytes.HasPrefix(ref, []byte(w.r.base)) {
		// Stored relative, it stays right when the service gets another address,
		// and a store can read it without knowing the address.
		if _, _, ok := w.r.own(string(ref)); ok {
			start, end := c.Offsets()
			w.edits = append(w.edits, resource.Edit{Start: start, End: end, With: resource.AppendString(nil, string(ref[len(w.r.base):]))})
			return nil
		}
	}
	if bytes.IndexByte(ref, '?') <= 0 || w.r.asIs {
		return nil
	}
	typ, query, ok := w.r.searchURL(string(ref))
	if !ok {
		return nil
	}
	t, err := w.r.lookup(w.ctx, string(ref), typ, query)
	if err != nil {
		return locate(err, c.Path())
	}
	w.edit(c, t)
	return nil
}

// uri handles an element that holds a fullUrl and is not a Reference: it is
// rewritten if its type is uri or one derived from it, but not canonical (R4
// section 3.1.0.11.2).
func (w *walk) uri(c resource.Node) {
	t, ok := w.r.targets[string(c.Bytes())]
	if !ok || t.canonical {
		return
	}
	switch elementType(c) {
	case "uri", "url", "oid", "uuid":
		w.edit(c, t)
		w.uris = true
	}
}

func (w *walk) edit(c resource.Node, t target) {
	start, end := c.Offsets()
	w.edits = append(w.edits, resource.Edit{Start: start, End: end, With: t.json})
}

// searchURL splits a conditional reference "Patient?identifier=x", relative or below our base.
func (r *references) searchURL(ref string) (typ, query string, ok bool) {
	if r.base != "" {
		ref = strings.TrimPrefix(ref, r.base)
	}
	typ, query, ok = strings.Cut(ref, "?")
	return typ, query, ok && r4.IsResource(typ)
}

// lookup resolves a conditional reference, once for all that ask.
func (r *references) lookup(ctx context.Context, ref, typ, query string) (target, error) {
	if r.closed {
		return target{}, fault.At(fault.Invalid, "not-supported", "", "the reference %q is a search, which is not possible here", clip(ref))
	}
	r.mu.Lock()
	if r.found == nil {
		r.found = map[string]*conditional{}
	}
	c := r.found[ref]
	if c == nil {
		c = &conditional{}
		r.found[strings.Clone(ref)] = c
	}
	r.mu.Unlock()
	c.once.Do(func() {
		var k Key
		if k, c.err = r.search(ctx, ref, typ, query); c.err == nil {
			c.target = newTarget(k)
		}
	})
	return c.target, c.err
}

func (r *references) search(ctx context.Context, ref, typ, query string) (Key, error) {
	params, err := search.ParseQuery(query)
	if err != nil {
		return Key{}, fault.At(fault.Invalid, "value", "", "the reference %q is not a valid search: %v", clip(ref), err)
	}
	as := Interaction{Type: typ, Base: r.in.Base}
	q, err := r.s.criteria(ctx, &as, params, query)
	if err != nil {
		return Key{}, err
	}
	keys, err := r.matches(ctx, typ, q)
	if err != nil {
		return Key{}, err
	}
	switch len(keys) {
	case 0:
		return Key{}, fault.At(fault.Invalid, "not-found", "", "the reference %q matches no resource", clip(ref))
	case 1:
		return keys[0], nil
	}
	return Key{}, fault.At(fault.Invalid, "multiple-matches", "", "the reference %q matches more than one resource", clip(ref))
}

// changes are the resources of a type that the transaction writes or deletes, as
// a search sees them.
type changes struct {
	bodies  map[Key]resource.Node // absent: it is deleted
	written []search.Subject
	index   *search.Index // of written
}

// changes returns the resources of a type that the transaction changes.
func (r *references) changes(typ string) (*changes, error) {
	if r.written == nil {
		return &changes{}, nil
	}
	r.wmu.Lock()
	defer r.wmu.Unlock()
	if all, ok := r.changed[typ]; ok {
		return all, nil
	}
	all := &changes{bodies: r.written(typ)}
	now := time.Now().UnixMilli()
	for k, body := range all.bodies {
		if body.Kind() != resource.Object {
			continue
		}
		values := new(search.Values)
		if err := r.s.reg.Extract(body, r.named, values); err != nil {
			return nil, fault.Wrap("fhir: extract "+k.String(), err)
		}
		all.written = append(all.written, search.Subject{
			Type: k.Type, ID: k.ID, Millis: now, Values: values, Doc: func() resource.Node { return body },
		})
	}
	all.index = search.NewIndex(all.written)
	if r.changed == nil {
		r.changed = map[string]*changes{}
	}
	r.changed[typ] = all
	return all, nil
}

// maxCompared bounds how many resources of a transaction its references may be
// compared with one by one, where no index of what they ask for is there.
const maxCompared = 3_000_000

// among appends those of the written resources that q finds to keys, until there
// are more than one.
func (r *references) among(ctx context.Context, all *changes, q *search.Query, keys []Key) ([]Key, error) {
	candidates := all.index.Candidates(q)
	if r.compared.Add(int64(len(candidates))) > maxCompared {
		return nil, fault.At(fault.TooCostly, "too-costly", "", "the references of the transaction that are searches have to be compared with too many of its resources; ask for an identifier")
	}
	for n, i := range candidates {
		if n%1024 == 1023 && ctx.Err() != nil {
			break
		}
		s := &all.written[i]
		if k := (Key{s.Type, s.ID}); len(keys) < 2 && !slices.Contains(keys, k) && search.Match(q, *s, nil) {
			keys = append(keys, k)
		}
	}
	return keys, ctx.Err()
}

// matches returns what q finds when the transaction is done: its references are
// resolved after its writes (R4 section 3.1.0.11.2, step 5). A search that follows
// references finds what it found before them, as far as that is not deleted, and
// a patch counts as if it was not done.
func (r *references) matches(ctx context.Context, typ string, q *search.Query) ([]Key, error) {
	all, err := r.changes(typ)
	if err != nil {
		return nil, err
	}
	q.Count += len(all.bodies)
	recs, _, err := r.s.matches(ctx, q)
	if err != nil {
		return nil, err
	}
	follows := slices.ContainsFunc(q.Where, (*search.Clause).Follows)
	var keys []Key
	for i := range recs {
		if body, ok := all.bodies[recs[i].Key]; !ok || follows && body.Kind() == resource.Object {
			keys = append(keys, recs[i].Key)
		}
	}
	if follows || len(all.written) == 0 {
		return keys, nil
	}
	return r.among(ctx, all, q, keys)
}

// locate puts a place into the issues of err that have none.
func locate(err error, path string) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	c := *e
	c.Issues = append([]fault.Issue(nil), e.Issues...)
	for i := range c.Issues {
		if c.Issues[i].Expression == "" {
			c.Issues[i].Expression = path
		}
	}
	return &c
}

// elementType returns the FHIR type of a primitive value, "" if the definitions
// do not know the element. It is slow, and only asked about values that equal a
// fullUrl of the Bundle.
func elementType(c resource.Node) string {
	var path [][]byte // names from the value up to its resource
	n := c
	for ; n.Valid(); n = n.Parent() {
		if n.Kind() == resource.Object && n.Get("resourceType").Valid() {
			break
		}
		if key := n.Key(); key != nil {
			path = append(path, key)
		}
	}
	t := r4.Lookup(n.Get("resourceType").Text())
	for i := len(path) - 1; i >= 0; i-- {
		if t == nil {
			return ""
		}
		name, extended := bytes.CutPrefix(path[i], []byte("_"))
		_, ref, ok := t.Element(name)
		if !ok {
			return ""
		}
		if i == 0 {
			return ref.Name
		}
		t = ref.Type
		if extended {
			t = r4.Lookup("Element")
		}
	}
	return ""
}
