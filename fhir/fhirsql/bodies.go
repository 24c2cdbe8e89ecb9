package fhirsql

import (
	"slices"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/db"
)

// expect says which bodies record is going to be asked for, in this order.
// Where each statement is a round trip, they are read a chunk at a time.
func (r *run) expect(rids []int64) {
	if r.s.shared && len(rids) > 1 {
		r.expected, r.shows = rids, false
	}
}

// show is expect for bodies that the answer shows: what the cache has of them is
// taken from there, and what is read is put there.
func (r *run) show(rids []int64) {
	if !r.s.shared {
		return
	}
	left := rids
	if r.cached {
		left = make([]int64, 0, len(rids))
		for _, rid := range rids {
			if _, ok := r.fetched[rid]; ok {
				continue
			}
			r.lookups++
			if rec, ok := r.s.cache.at(rid, r.epoch); ok {
				r.hold(rid, rec)
				r.found++
			} else {
				left = append(left, rid)
			}
		}
	}
	r.expected, r.shows = left, true
}

// hold notes a record that is going to be taken.
func (r *run) hold(rid int64, rec fhir.Record) {
	if r.fetched == nil {
		r.fetched = map[int64]fhir.Record{}
	}
	r.fetched[rid] = rec
}

// fetchChunk is how many bodies are read together.
const fetchChunk = 100

// take returns an expected record, reading it with those that follow.
func (r *run) take(rid int64) (rec fhir.Record, ok bool, err error) {
	if rec, ok = r.fetched[rid]; ok {
		delete(r.fetched, rid)
		return rec, true, nil
	}
	i := slices.Index(r.expected, rid)
	if i < 0 {
		return rec, false, nil
	}
	chunk := r.expected[i:min(i+fetchChunk, len(r.expected))]
	r.expected = r.expected[i+len(chunk):]
	if err := r.fetch(chunk); err != nil {
		return rec, false, err
	}
	rec, ok = r.fetched[rid]
	delete(r.fetched, rid)
	return rec, ok, nil
}

// withBodies adds the bodies to a statement that yields rids. The order stays,
// because sessions join along indexes only, from the left row by row.
func withBodies(text string) string {
	return "SELECT q.*, b.ver, b.seq, b.op, b.z, b.id, b.t FROM (" + text + ") q LEFT JOIN body b ON b.rid=q.rid"
}

// keep notes a record that came with a candidate, from column i on. One that the
// cache has in the same version needs not be unpacked. The cache gets it if the answer shows it.
func (r *run) keep(rid int64, st *db.Stmt, i int, shown bool) error {
	if st.ColNull(i) { // record says what is wrong
		return nil
	}
	if rec, ok := r.s.cache.same(rid, fhir.Seq(st.ColInt(i+1))); ok {
		if shown {
			r.lookups++
			r.found++
		}
		r.hold(rid, rec)
		return nil
	}
	rec, err := r.body(st, i)
	if err != nil {
		return err
	}
	if shown {
		r.lookups++
		if r.keeps {
			r.s.cache.put(rec, rid, r.epoch)
		}
	}
	r.hold(rid, rec)
	return nil
}

func (r *run) fetch(rids []int64) error {
	st, err := r.c.Prepare("SELECT b.ver, b.seq, b.op, b.z, b.id, b.t, b.rid FROM unnest($1::bigint[]) q(rid) CROSS JOIN body b WHERE b.rid=q.rid")
	if err != nil {
		return err
	}
	defer st.Reset()
	st.Array(0, rids)
	for {
		ok, err := st.Step()
		if err != nil || !ok {
			return err
		}
		if err := r.keep(st.ColInt(6), st, 0, r.shows); err != nil {
			return err
		}
	}
}
