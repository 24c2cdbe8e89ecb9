package fhirsql

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Search implements fhir.Store.
func (s *Store) Search(ctx context.Context, q *search.Query) (*fhir.Page, error) {
	within, cancel := context.WithTimeout(ctx, s.opt.SearchTime)
	defer cancel()
	begin := time.Now()
	r := s.newRun(within, nil, q)
	epoch := s.cache.now()
	err := s.attempt(within, epoch, func(c *db.Conn, cached bool) error {
		if r.c != nil { // it runs again
			r = s.newRun(within, nil, q)
		}
		r.c, r.epoch, r.cached, r.keeps = c, epoch, cached, true
		r.bodies = s.shared && !(cached && s.cache.warm())
		return r.do()
	})
	s.cache.note(r.lookups, r.found)
	took := time.Since(begin)
	r.slow(took)
	if err != nil {
		return nil, r.limited(ctx, err)
	}
	if q.Explain {
		r.page.Explain = r.explain(took)
	}
	return r.page, nil
}

// search runs on the connection of the writer, for a guard.
func (s *Store) search(ctx context.Context, c *db.Conn, q *search.Query) (*fhir.Page, error) {
	r := s.newRun(ctx, c, q)
	err := r.do()
	return r.page, err
}

func (s *Store) newRun(ctx context.Context, c *db.Conn, q *search.Query) *run {
	return &run{s: s, ctx: ctx, c: c, q: q, page: &fhir.Page{Total: -1}}
}

// do plans and runs the search.
func (r *run) do() error {
	s, q := r.s, r.q
	types := q.Types
	if len(types) == 0 {
		types = s.types.all()
	}
	types = slices.Clone(types)
	slices.Sort(types)
	typ, path, after, err := r.cursor()
	if err != nil {
		return err
	}
	for _, t := range types {
		found := ""
		if t == typ {
			found = path
		}
		pl, err := s.plan(r.ctx, r.c, q, t, found)
		if err != nil {
			return err
		}
		if pl != nil {
			r.plans = append(r.plans, pl)
		}
	}
	if err := r.total(); err != nil {
		return err
	}
	if q.Count > 0 {
		if len(q.Sort) > 0 && len(r.plans) > 1 {
			err = r.merged(after)
		} else {
			err = r.listed(typ, after)
		}
	}
	return err
}

// run is one search under way.
type run struct {
	s     *Store
	ctx   context.Context
	c     *db.Conn
	q     *search.Query
	plans []*plan
	page  *fhir.Page
	seen  int // candidates looked at
	kept  int // bytes of the bodies that hits hold
	look  reader

	printed string // see print

	epoch  uint64 // of the cache, before the snapshot
	cached bool   // what is in the cache of that epoch is what the snapshot holds
	keeps  bool   // what is read may be put into the cache

	bodies   bool                  // are read together with the candidates of a page, where that saves a round trip
	expected []int64               // resources whose bodies are going to be read
	shows    bool                  // the answer shows those
	lookups  int                   // bodies that the cache of a shared store was asked for
	found    int                   // that it had
	fetched  map[int64]fhir.Record // those of them that were read together
}

// row is one candidate: the values it is ordered by, rid last.
type row []any

func (r row) rid() int64 { return r[len(r)-1].(int64) }

// cursor splits q.After into the type, the path by which the page was found and
// the row behind which to go on.
func (r *run) cursor() (typ, path string, after row, err error) {
	if r.q.After == "" {
		return "", "", nil, nil
	}
	vals, err := decodeCursor(r.q.After, r.print(), -1)
	if err != nil {
		return "", "", nil, err
	}
	bad := fault.At(fault.Invalid, "invalid", "", "the page token is not valid for this request: start again at the first page")
	if len(vals) < 3 {
		return "", "", nil, bad
	}
	typ, ok1 := vals[0].(string)
	path, ok2 := vals[1].(string)
	if _, rid := vals[len(vals)-1].(int64); !ok1 || !ok2 || !rid {
		return "", "", nil, bad
	}
	return typ, path, vals[2:], nil
}

// hit is an answer: its plan, the row that it is ordered by, and the record.
type hit struct {
	pl  *plan
	row row
	rec fhir.Record
}

// listed fills the page type by type, each in the order of its plan. One hit
// more than the page holds tells that there is a next one.
func (r *run) listed(typ string, after row) error {
	var hits []hit
	var err error
	for _, pl := range r.plans {
		if pl.typ < typ {
			continue
		}
		at := after
		if pl.typ != typ {
			at = nil
		}
		if hits, err = r.fill(hits, pl, at, r.q.Count+1-len(hits)); err != nil {
			return err
		}
		if len(hits) > r.q.Count {
			break
		}
	}
	return r.finish(hits)
}

// merged fills the page from several types in one order.
func (r *run) merged(after row) error {
	var hits []hit
	for _, pl := range r.plans {
		more, err := r.fill(nil, pl, after, r.q.Count+1)
		if err != nil {
			return err
		}
		hits = append(hits, more...)
	}
	slices.SortFunc(hits, func(a, b hit) int { return r.compare(a, b) })
	return r.finish(hits)
}

func (r *run) compare(a, b hit) int {
	desc := false
	for i, k := range a.pl.sort {
		desc = k.desc
		if c := compareValues(a.row[i], b.row[i]); c != 0 {
			if desc {
				return -c
			}
			return c
		}
	}
	c := cmp.Compare(a.row.rid(), b.row.rid())
	if desc {
		return -c
	}
	return c
}

// compareValues orders as the database does: NULL, numbers, text, blobs.
func compareValues(a, b any) int {
	class := func(v any) int {
		switch v.(type) {
		case nil:
			return 0
		case int64, float64:
			return 1
		case string:
			return 2
		}
		return 3
	}
	if c := cmp.Compare(class(a), class(b)); c != 0 {
		return c
	}
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(float64(x), b.(float64))
	case float64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, float64(y))
		}
		return cmp.Compare(x, b.(float64))
	case string:
		return cmp.Compare(x, b.(string))
	case []byte:
		return bytes.Compare(x, b.([]byte))
	}
	return 0
}

// finish puts the hits into the page and makes the token of the next one.
func (r *run) finish(hits []hit) (err error) {
	if len(hits) > r.q.Count {
		hits = hits[:r.q.Count]
		r.page.Next = r.behind(&hits[len(hits)-1])
	}
	var missing []int64
	for i := range hits {
		if hits[i].rec.Version == 0 {
			missing = append(missing, hits[i].row.rid())
		}
	}
	r.show(missing)
	r.page.Records = make([]fhir.Record, 0, len(hits))
	size := 0
	for i := range hits {
		if hits[i].rec.Version == 0 {
			if hits[i].rec, err = r.shown(hits[i].row.rid()); err != nil {
				return err
			}
		}
		if size += len(hits[i].rec.Stored); fullPage(i, size) {
			hits = hits[:i]
			r.page.Next = r.behind(&hits[i-1])
			break
		}
		r.page.Records = append(r.page.Records, hits[i].rec)
	}
	return r.include(hits)
}

// behind is the token of the page that goes on behind h.
func (r *run) behind(h *hit) string {
	return encodeCursor(r.print(), append([]any{h.pl.typ, h.pl.path}, h.row...))
}

// pageBytes is where a page of large resources ends before it has as many
// entries as were asked for (R4 section 3.1.1.5.4), so that the memory of an
// answer does not depend on what is stored.
const pageBytes = 16 << 20

// fullPage reports whether a page with n records has no room for one more that
// makes it size bytes. Two always fit, so that a condition finds out that it
// has several matches.
func fullPage(n, size int) bool { return n >= 2 && size > pageBytes }

// fill appends up to want hits of a plan and of those that go on behind it.
func (r *run) fill(hits []hit, pl *plan, after row, want int) ([]hit, error) {
	begin := len(hits)
	hits = slices.Grow(hits, min(want, 128))
	for pl != nil && len(hits) < begin+want {
		var err error
		if hits, pl, err = r.stretch(hits, pl, after, begin, want); err != nil {
			return nil, err
		}
		after = nil
	}
	return hits, nil
}

// stretch appends hits of one plan until there are want behind begin, and
// returns the plan that goes on.
func (r *run) stretch(hits []hit, pl *plan, after row, begin, want int) ([]hit, *plan, error) {
	if pl.fresh {
		after = nil
	}
	if after != nil && len(after) != pl.width() {
		// Another path is the best one now; the token holds the columns of the old one.
		return nil, nil, fault.At(fault.Invalid, "invalid", "", "the page token has expired: start again at the first page")
	}
	used, rows, more, err := r.start(pl, after, begin+want-len(hits))
	if err != nil {
		return nil, nil, err
	}
	if used != pl && used.path == pathSorted {
		hits = hits[:begin] // it begins anew
	}
	pl = used
	for batch := want; ; {
		if len(pl.post) > 0 {
			rids := make([]int64, len(rows))
			for i := range rows {
				rids[i] = rows[i].rid()
			}
			r.expect(rids)
		}
		for _, x := range rows {
			h := hit{pl: pl, row: x}
			ok, err := r.holds(&h)
			if err != nil {
				return nil, nil, err
			}
			if ok {
				if r.kept += len(h.rec.Stored); r.kept > pageBytes {
					h.rec = fhir.Record{} // read again if the page has room for it
				}
				if hits = append(hits, h); len(hits) == begin+want {
					return hits, pl, nil
				}
			}
			after = x
		}
		if !more {
			return hits, pl.then, nil
		}
		batch = min(batch*4, 2000)
		if rows, err = r.rows(pl, after, nil, batch); err != nil {
			return nil, nil, err
		}
		more = len(rows) == batch
	}
}

// rows fetches candidates, up to the row end if it is not nil.
//
// Of a resource that is in a range twice the first row counts, which takes a look
// into the index for each row. The beginning of a range shows it without.
func (r *run) rows(pl *plan, after, end row, n int) (out []row, err error) {
	if after != nil || end != nil || !pl.repeats() || n > firstRows {
		return r.fetchRows(pl, after, end, n)
	}
	first := *pl
	first.twice = true
	all, err := r.fetchRows(&first, nil, nil, n)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, nil
	}
	last := all[len(all)-1]
	out = all[:0]
	for _, x := range all {
		if !slices.ContainsFunc(out, func(y row) bool { return y.rid() == x.rid() }) {
			out = append(out, x)
		}
	}
	if len(all) < n || len(out) == n {
		return out, nil
	}
	more, err := r.fetchRows(pl, last, nil, n-len(out))
	return append(out, more...), err
}

// firstRows is up to how many rows are compared with each other.
const firstRows = 128

// repeats reports whether the rows of a plan are those of one range, in its
// order, in which a resource may be twice.
func (pl *plan) repeats() bool {
	return len(pl.sort) == 0 && len(pl.cols) > 0 && len(pl.driver.alts) == 1 && !pl.driver.alts[0].unique && !pl.driver.inOrder
}

func (r *run) fetchRows(pl *plan, after, end row, n int) (out []row, err error) {
	if err := r.ctx.Err(); err != nil {
		return nil, &fault.Error{Kind: fault.Timeout, Op: "fhirsql: search", Msg: "the search took too long", Err: err}
	}
	width := pl.width()
	for _, part := range pl.parts(after) {
		b := pl.keys(after, end, part, n-len(out))
		text, bodies := string(b.text), r.bodies && !pl.looks() && n <= fetchChunk+1
		if bodies {
			text = withBodies(text)
		}
		var room []any // for several rows
		err = r.c.Query(text, func(st *db.Stmt) (err error) {
			if len(room) < width {
				room = make([]any, width*min(n-len(out), 32))
			}
			x := r.read(st, room[:width:width])
			room = room[width:]
			if out == nil {
				out = make([]row, 0, min(n, 32))
			}
			out = append(out, x)
			if bodies {
				err = r.keep(x.rid(), st, width, true)
			}
			return err
		}, b.args...)
		if err != nil || len(out) == n {
			break
		}
	}
	if r.seen += len(out); r.seen > r.s.opt.ScanLimit {
		return nil, r.tooCostly(fmt.Sprintf("the search looks at more than %d resources", r.s.opt.ScanLimit))
	}
	return out, err
}

// read copies the row of a statement into x.
func (r *run) read(st *db.Stmt, x row) row {
	for i := range x {
		x[i] = st.ColValue(i)
	}
	return x
}

// holds checks the clauses that the index does not decide. Without any, the
// body is not read yet.
func (r *run) holds(h *hit) (bool, error) {
	if !h.pl.looks() {
		return true, nil
	}
	if err := r.load(h); err != nil {
		return false, err
	}
	if err := r.s.extract(h.rec.Key, h.rec.Stored, &r.look); err != nil {
		return false, err
	}
	q := search.Query{Where: h.pl.post, Access: h.pl.access}
	return search.Match(&q, search.Subject{Type: h.rec.Type, ID: h.rec.ID, Millis: h.rec.Seq.Time().UnixMilli(), Values: &r.look.values, Doc: r.look.doc.Root}, nil), nil
}

// looks reports whether the bodies of the candidates decide.
func (pl *plan) looks() bool { return len(pl.post) > 0 || pl.access != nil }

// load reads the current version of a hit.
func (r *run) load(h *hit) (err error) {
	h.rec, err = r.record(h.row.rid())
	return err
}

// shown is record for what the answer shows: it may be in the cache, and is
// kept there. Candidates are not, of which a search may read very many.
func (r *run) shown(rid int64) (rec fhir.Record, err error) {
	if !r.cached || r.s.shared { // see show
		return r.record(rid)
	}
	rec, ok := r.s.cache.at(rid, r.epoch)
	if !ok {
		if rec, err = r.record(rid); err == nil {
			r.s.cache.put(rec, rid, r.epoch)
		}
	}
	return rec, err
}

// record reads the current version of a resource.
func (r *run) record(rid int64) (rec fhir.Record, err error) {
	if rec, ok, err := r.take(rid); ok || err != nil {
		return rec, err
	}
	st, err := r.c.Prepare("SELECT ver, seq, op, z, id, t FROM body WHERE rid=$1")
	if err != nil {
		return rec, err
	}
	defer st.Reset()
	st.Int(0, rid)
	ok, err := st.Step()
	if err != nil {
		return rec, err
	}
	if !ok {
		return rec, fault.Wrap("fhirsql: search", fmt.Errorf("index row without a body: rid %d", rid))
	}
	return r.body(st, 0)
}

// body reads the columns ver, seq, op, z, id, t from column i on.
func (r *run) body(st *db.Stmt, i int) (rec fhir.Record, err error) {
	id := zPool.get()
	defer zPool.put(id)
	*id = st.ColBlob(i+4, (*id)[:0])
	rec.Key = fhir.Key{Type: r.s.types.name(st.ColInt(i + 5)), ID: idText(*id)}
	return rec, r.s.version(st, i, &rec)
}

// width is the number of values in a row of pl.
func (pl *plan) width() int {
	if len(pl.sort) > 0 {
		return len(pl.sort) + 1
	}
	return len(pl.cols) + 1
}
