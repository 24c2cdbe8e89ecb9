package dicomsql

import (
	"sync"

	"github.com/hygeia-health/hygeia/dicom"
)

// recent remembers the rows of instances that were read lately. A viewer reads
// the instances of a series one after another, and frame by frame: the second
// one that is asked for brings those that were stored after it along.
//
// It holds for the one process that has the file. An instance that is not there
// is not remembered, so that a store need not be told; whatever changes or removes
// rows says so in its transaction (changed), and when that is committed all is forgotten.
type recent struct {
	mu    sync.Mutex
	off   bool  // other processes write too
	turn  int64 // counts how often all was forgotten
	young map[recentKey]*found
	old   map[recentKey]*found // young ones of before; who is asked for again becomes young
	lone  [8]recentKey         // series of which one instance was read, a ring
	next  int

	changed bool // the writer's own: this transaction changes or removes rows
}

// recentKey names an instance, or a series.
type recentKey struct {
	part dicom.Partition
	dicom.UIDs
}

// found is an instance with its encoded frame table, if that was asked for and is small.
type found struct {
	in     dicom.Instance
	table  []byte
	tabled bool
}

const (
	// maxRecent is how many instances are young; as many are old.
	maxRecent = 4096
	// maxRecentTable is the size of a frame table that is remembered.
	maxRecentTable = 2 << 10
	// ahead is how many instances are read along.
	ahead = 64
)

// get returns what is known of an instance, and the turn to remember it with if it is nothing.
// series says that another one of its series was looked for before.
func (r *recent) get(k recentKey, table bool) (f *found, turn int64, series bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f = r.young[k]; f == nil {
		if f = r.old[k]; f != nil {
			r.keep(k, f)
		}
	}
	if f != nil && (f.tabled || !table) {
		return f, 0, false
	}
	if r.off {
		return nil, 0, false
	}
	k.SOP = ""
	for _, l := range r.lone {
		if l == k {
			return nil, r.turn, true
		}
	}
	r.lone[r.next] = k
	r.next = (r.next + 1) % len(r.lone)
	return nil, r.turn, false
}

// add remembers what was read since get returned a turn.
func (r *recent) add(part dicom.Partition, turn int64, list []*found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off || turn != r.turn {
		return // what was read may be what was changed
	}
	for _, f := range list {
		if len(f.table) > maxRecentTable {
			f = &found{in: f.in}
		}
		r.keep(recentKey{part, f.in.UIDs}, f)
	}
}

// keep makes an instance young; mu is held.
func (r *recent) keep(k recentKey, f *found) {
	if len(r.young) >= maxRecent {
		r.young, r.old = r.old, r.young
		clear(r.young)
	}
	if r.young == nil {
		r.young = map[recentKey]*found{}
	}
	r.young[k] = f
}

// end follows a transaction.
func (r *recent) end(committed bool) {
	changed := r.changed
	r.changed = false
	if !changed || !committed {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	clear(r.young)
	clear(r.old)
}
