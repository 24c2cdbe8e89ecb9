package fhirsql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/db"
)

// The choice of the path. Ranges are compared by counting them, to small limits
// first: the smallest drives, all other clauses test its rows. What has to be
// sorted and is large is not sorted but found by walking an index that has the
// order already; a look at the beginning of the walk tells whether the matches
// are dense enough, else the driver is sorted after all (see dense).

const (
	probeFirst = 500     // rows that every driver is counted to
	probeLast  = 128_000 // and the most, as long as none is smaller
	probeRows  = 4000    // the most for ranges whose rows are looked up one by one
)

// Limits are the sizes at which the planner changes its mind.
type Limits struct {
	// Gather is how many resources at the far end of a chain are listed to
	// drive a search from there; when there are more, each candidate is tested
	// instead. Default 2,000.
	Gather int
	// Sort is how many rows are sorted without a second thought. Default 1,000.
	Sort int
	// Window is how many rows at the beginning of a walk are looked at to see
	// whether matches are dense. Default 1,000.
	Window int
	// List is from how many rows on a driver may be listed to test the rows of a
	// walk by that, instead of being sorted. Default 100.
	List int
}

func (l Limits) withDefaults() Limits {
	for v, def := range map[*int]int{&l.Gather: 2000, &l.Sort: 1000, &l.Window: 1000, &l.List: 100} {
		if *v <= 0 {
			*v = def
		}
	}
	return l
}

// Paths, as page tokens name them. A driver is "d" and its number.
const (
	pathType = "t" // all resources of the type in the order of rids
	// The index of the first sort key, at resources with a value and without.
	pathValues = "v"
	pathNulls  = "z"
	pathSorted = "s" // sorted, where an index of the sort key was not worth walking
)

// choose picks the driver. path is what the page before was found by, "" on the
// first.
func (pl *plan) choose(c *db.Conn, preds []*pred, path string) error {
	byRid := path == pathType && len(pl.sort) == 0
	if path != "" && len(pl.sort) == 0 && !byRid {
		pl.follow(preds, path)
		return nil
	}
	drivers := slices.DeleteFunc(slices.Clone(preds), func(p *pred) bool { return p.filterOnly })
	slices.SortStableFunc(drivers, func(a, b *pred) int { return a.rank - b.rank })
	switch patient := onePatient(drivers); {
	case len(drivers) == 0:
		pl.drive(preds, allOf(pl.walkIndex()))
		pl.path = pathType
		for _, p := range preds {
			if pl.others == nil {
				pl.others = p.others
			}
		}
		return nil
	case drivers[0].rank == rankID:
		pl.driveBy(preds, drivers[0])
		pl.few = true
		return nil
	case patient != nil:
		pl.ofPatient(preds, drivers, patient)
		pl.few = true
		return nil
	}
	best, err := pl.cheapest(c, drivers)
	if err != nil {
		return err
	}
	if best.unsure() && (len(drivers) > 1 || len(pl.sort) > 0 && pl.walkIndex() == "") {
		// It would drive the search, whatever a walk finds.
		if err := best.resolve(c, pl.limits.Gather); err != nil {
			return err
		}
		if best.filterOnly {
			return pl.choose(c, preds, path)
		}
	}
	pl.driveBy(preds, best)
	small := best.known && best.rows < int64(pl.limits.Sort)
	pl.few = small
	switch {
	case len(pl.sort) > 0 && small && path == "":
		return pl.list(c, preds)
	case len(pl.sort) > 0 && (small || pl.walkIndex() == ""):
		return nil
	case len(pl.sort) == 0 && !byRid && (small || best.streams()):
		return nil
	}
	driven := *pl
	driven.cols, driven.path = nil, pathType
	pl.fallback = &driven
	pl.drive(preds, allOf(pl.walkIndex()))
	pl.path = pathType
	return nil
}

// onePatient returns the predicate that names a single patient, or nil.
func onePatient(drivers []*pred) *pred {
	for _, p := range drivers {
		if len(p.alts) == 1 && p.alts[0].k.text == patientIs && drivers[0].rank >= rankPatient {
			return p
		}
	}
	return nil
}

// ofPatient drives by a patient, within the rows of a token if there is one:
// token rows carry the patient.
func (pl *plan) ofPatient(preds, drivers []*pred, patient *pred) {
	for _, p := range drivers {
		if n := p.narrowed(patient); n != nil {
			rest := slices.DeleteFunc(slices.Clone(preds), func(x *pred) bool { return x == p || x == patient })
			pl.drive(rest, n)
			pl.path = "n" + fmt.Sprint(slices.Index(preds, p))
			return
		}
	}
	pl.driveBy(preds, patient)
}

// drive sets the driver; all other predicates are filters.
func (pl *plan) drive(preds []*pred, driver *pred) {
	pl.driver, pl.filters = driver, nil
	for _, p := range preds {
		if p != driver {
			pl.filters = append(pl.filters, p)
		}
	}
	pl.cols = nil
	if len(pl.sort) == 0 {
		pl.cols = driver.order()
	}
}

func (pl *plan) driveBy(preds []*pred, driver *pred) {
	pl.drive(preds, driver)
	pl.path = "d" + fmt.Sprint(slices.Index(preds, driver))
}

// follow takes the path of the page before, so that its token means the same
// place even if another path would be chosen now.
func (pl *plan) follow(preds []*pred, path string) {
	n := -1
	if len(path) > 1 {
		_, _ = fmt.Sscan(path[1:], &n)
	}
	if n < 0 || n >= len(preds) || preds[n].filterOnly {
		pl.drive(preds, allOf(""))
		pl.path = pathType
		return
	}
	p := preds[n]
	if strings.HasPrefix(path, "n") {
		if patient := onePatient(preds); patient != nil {
			if narrow := p.narrowed(patient); narrow != nil {
				pl.drive(slices.DeleteFunc(slices.Clone(preds), func(x *pred) bool { return x == p || x == patient }), narrow)
				pl.path = path
				return
			}
		}
	}
	pl.driveBy(preds, p)
}

// allOf is the predicate of all resources of the type, walked in an index.
func allOf(index string) *pred {
	a := everything()
	name := "all"
	if index != "" {
		a.index, name = index, "all by "+index
	}
	return &pred{name: name, whole: true, rank: rankWide, alts: []alt{a}}
}

// walkIndex returns the index that has the order of the first sort key, "" if
// none. What further keys order are the few rows that are equal in the first.
func (pl *plan) walkIndex() string {
	if len(pl.sort) == 0 {
		return ""
	}
	switch pl.sort[0].expr {
	case "r.d1":
		return "res_d1"
	case "r.seq":
		return "res_seq"
	}
	return ""
}

// streams reports whether a walk of the path gives its resources in a fixed
// order without sorting them first.
func (p *pred) streams() bool {
	if len(p.alts) == 1 && p.alts[0].nest == nil && !p.alts[0].list {
		return p.alts[0].unique || p.alts[0].again != ""
	}
	return p.byRid || p.order() != nil
}

// cheapest counts the drivers, deeper as long as none is below the limit.
func (pl *plan) cheapest(c *db.Conn, drivers []*pred) (*pred, error) {
	if len(drivers) == 1 && len(pl.sort) == 0 && drivers[0].streams() {
		return drivers[0], nil
	}
	best := drivers[0]
	first := int64(probeFirst)
	if len(drivers) == 1 { // the question is only whether to sort it
		first = int64(pl.limits.Sort)
	}
	for limit := first; limit <= probeLast; limit *= 4 {
		least := limit
		for _, p := range drivers {
			if far := p.gathered(); far >= manyFar {
				p.rows = max(p.rows, far) // to list them again for a count costs too much
				continue
			}
			if p.rows >= probeRows && p.looksUp() {
				continue
			}
			n, err := pl.estimate(c, p, least)
			if err != nil {
				return nil, err
			}
			p.rows = max(p.rows, n)
			if n < least {
				least, best = n, p
				p.known = true
			}
		}
		if least < limit || len(drivers) == 1 && limit >= int64(pl.limits.Sort) {
			break
		}
	}
	return best, nil
}

// manyFar is from how many resources at the far end of a chain on its rows are
// not counted; the beginning of a walk tells more.
const manyFar = 100

// gathered returns how many resources the chains of p list.
func (p *pred) gathered() (n int64) {
	for i := range p.alts {
		if nest := p.alts[i].nest; nest != nil {
			n += int64(nest.size)
		}
	}
	return n
}

// looksUp reports whether an index does not hold all that a range asks for.
func (p *pred) looksUp() bool {
	return slices.ContainsFunc(p.alts, func(a alt) bool { return a.table == "res" || a.nest != nil })
}

// estimate counts the rows of a path, up to limit.
func (pl *plan) estimate(c *db.Conn, p *pred, limit int64) (n int64, err error) {
	key := p.key(pl.t)
	if key == "" || pl.s == nil || limit < probeFirst {
		return pl.countRows(c, p, limit)
	}
	now := pl.s.opt.Now()
	if n, ok := pl.s.larges.rows(key, limit, now); ok {
		return n, nil
	}
	// To count a small range is a round trip at worst.
	if n, err = pl.countRows(c, p, limit); err == nil && (n >= probeFirst || pl.s.shared) {
		pl.s.larges.add(key, n, limit, now)
	}
	return n, err
}

func (pl *plan) countRows(c *db.Conn, p *pred, limit int64) (n int64, err error) {
	for i := range p.alts {
		b := &sqlb{d: pl.dialect}
		b.w("SELECT count(*) FROM (SELECT 1 FROM ")
		a := &p.alts[i]
		if a.table == "res" {
			b.as("res", "r", a.index)
			b.w(" WHERE r.t=? AND ", pl.t)
		} else {
			b.as(a.table, "k", a.index)
			b.w(" WHERE ")
		}
		b.walk(a)
		b.w(" LIMIT ?+0) n", limit)
		err := c.Query(string(b.text), func(st *db.Stmt) error { n += st.ColInt(0); return nil }, b.args...)
		if err != nil || n >= limit {
			return limit, err
		}
	}
	return n, nil
}

// start finds the first matches of a page, and decides between a walk and its
// fallback: the rows are those of the plan that it returns. more says that there
// may be others behind them.
func (r *run) start(pl *plan, after row, want int) (_ *plan, rows []row, more bool, err error) {
	if pl.listed != nil && after == nil && pl.dense(want) {
		if rows, err = r.rows(pl.listed, nil, nil, want); err != nil || len(rows) == want {
			return pl, rows, true, err
		}
	}
	if pl.fallback == nil && pl.others != nil {
		few, rows, done, err := r.sparse(pl, after, want)
		if err != nil || few == nil && (done || len(rows) == want) {
			return pl, rows, !done, err
		}
		if few != nil {
			rows, err = r.rows(few, after, nil, want)
			return few, rows, len(rows) == want, err
		}
	}
	if pl.fallback == nil {
		rows, err = r.rows(pl, after, nil, want)
		return pl, rows, len(rows) == want, err
	}
	driven := pl.fallback.driver
	cost := driven.rows // how many rows the driver has to test and sort
	if !driven.known {
		cost *= 2
	}
	var end row
	sparse := true
	for window := pl.firstWindow(want); ; {
		if end, err = r.boundary(pl, after, window); err != nil {
			return nil, nil, false, err
		}
		if rows, err = r.rows(pl, after, end, want); err != nil || len(rows) == want {
			return pl, rows, true, err
		}
		if end != nil && window < pl.limits.Window {
			window = pl.limits.Window // nothing is decided before it
			continue
		}
		if end != nil && !driven.known && cost < probeLast && driven.gathered() == 0 { // how large is it really?
			n, err := pl.estimate(r.c, driven, probeLast)
			if err != nil {
				return nil, nil, false, err
			}
			cost = max(cost, n)
		}
		// The walk would go on for about window*want/hits rows.
		sparse = end != nil && int64(want*window) > cost*int64(len(rows))
		further := int(cost / 4) // costs little beside the driver
		if !sparse || further < 2*window {
			break
		}
		window = further
	}
	if sparse {
		if err := driven.resolve(r.c, pl.limits.Gather); err != nil {
			return nil, nil, false, err
		}
		if driven.filterOnly {
			return pl, rows, true, nil
		}
		rows, err = r.rows(pl.fallback, after, nil, want)
		return pl.fallback, rows, len(rows) == want, err
	}
	return pl, rows, end != nil, nil
}

// firstWindow is how many rows of a walk are looked at first: where matches are dense
// they are enough, and to find the end of a window costs as much as a small search.
// With round trips a second look costs more.
func (pl *plan) firstWindow(want int) int {
	if !pl.dialect.pins {
		return pl.limits.Window
	}
	return min(pl.limits.Window, max(200, 4*want))
}

// boundary returns the row at the end of a window, nil when the walk is shorter.
func (r *run) boundary(pl *plan, after row, window int) (end row, err error) {
	whole := *pl
	whole.filters = nil
	if whole.driver.inOrder { // a resource that comes twice does no harm here
		driver := *pl.driver
		driver.alts = slices.Clone(driver.alts)
		driver.alts[0].unique = true
		whole.driver = &driver
	}
	for _, part := range whole.parts(after) {
		b := whole.keys(after, nil, part, 1)
		b.w(" OFFSET ?", window)
		err := r.c.Query(string(b.text), func(st *db.Stmt) error {
			end = r.read(st, make(row, pl.width()))
			return nil
		}, b.args...)
		if err != nil || end != nil {
			return end, err
		}
		// The rows of this part are fewer than the window; the next part holds
		// those without a value, and is rarely reached.
	}
	return nil, nil
}
