package fhirsql

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
)

// cache keeps current versions that were read, so that a hot resource costs no
// database access. It is never older than the last acknowledged write: the
// writer takes out what a transaction changed before it tells the callers, and
// a reader may put in only what it read since the last commit.
//
// A search asks more: what it takes from here must be what its snapshot holds.
// That is so as long as no commit has begun since before the snapshot (see at).
//
// Records live in two generations; when the young one is full it becomes the
// old one, and what was not asked for in the meantime is dropped with it.
type cache struct {
	mu         sync.RWMutex
	young, old generation
	size       int    // bytes in young
	limit      int    // bytes of one generation
	epoch      uint64 // commits seen
	committing bool   // a commit is under way
	changed    []fhir.Key
	// ending are the changed ones during the commit of a shared store: others may
	// have seen what it writes before this node knows that it succeeded.
	ending  map[fhir.Key]struct{}
	settled time.Time    // when a transaction of this node ended last
	found   atomic.Int32 // of thousand bodies that searches showed lately, how many were here; see note
}

// generation finds a record by its name and by its rid. A rid of 0 is not known.
type generation struct {
	keys map[fhir.Key]*cached
	rids map[int64]*cached
}

type cached struct {
	rec fhir.Record
	rid int64
}

func (x *cached) size() int { return len(x.rec.Stored) + recordOverhead }

func newGeneration() generation {
	return generation{map[fhir.Key]*cached{}, map[int64]*cached{}}
}

// drop returns how much memory is free then.
func (g generation) drop(k fhir.Key) int {
	x := g.keys[k]
	if x == nil {
		return 0
	}
	delete(g.keys, k)
	delete(g.rids, x.rid)
	return x.size()
}

func newCache(limit int) *cache {
	return &cache{limit: limit / 2, young: newGeneration()}
}

// recordOverhead is what a record takes besides its body, roughly.
const recordOverhead = 400

// get returns the record of a key, and the epoch to give to put when there is none.
func (c *cache) get(k fhir.Key) (rec fhir.Record, ok bool, epoch uint64) {
	c.mu.RLock()
	if len(c.ending) > 0 {
		if _, ends := c.ending[k]; ends {
			epoch = c.epoch
			c.mu.RUnlock()
			return rec, false, epoch
		}
	}
	if x := c.young.keys[k]; x != nil {
		c.mu.RUnlock()
		return x.rec, true, 0
	}
	x := c.old.keys[k]
	epoch = c.epoch
	c.mu.RUnlock()
	if x == nil {
		return rec, false, epoch
	}
	c.keep(x, epoch)
	return x.rec, true, epoch
}

// at returns the record of a rid in a snapshot that began when the epoch was
// the given one, or later. It knows none as soon as a commit has begun.
func (c *cache) at(rid int64, epoch uint64) (rec fhir.Record, ok bool) {
	c.mu.RLock()
	if c.epoch != epoch || c.committing {
		c.mu.RUnlock()
		return rec, false
	}
	x := c.young.rids[rid]
	if x != nil {
		c.mu.RUnlock()
		return x.rec, true
	}
	x = c.old.rids[rid]
	c.mu.RUnlock()
	if x == nil {
		return rec, false
	}
	c.keep(x, epoch)
	return x.rec, true
}

// same returns the record of a rid if it is the version of a seq, which is the
// same whatever was committed since.
func (c *cache) same(rid int64, seq fhir.Seq) (rec fhir.Record, ok bool) {
	c.mu.RLock()
	x, epoch := c.young.rids[rid], c.epoch
	if x != nil {
		c.mu.RUnlock()
		return x.rec, x.rec.Seq == seq
	}
	x = c.old.rids[rid]
	c.mu.RUnlock()
	if x == nil || x.rec.Seq != seq {
		return rec, false
	}
	c.keep(x, epoch)
	return x.rec, true
}

// still reports whether nothing was committed by this node since an epoch, and
// nothing is about to be.
func (c *cache) still(epoch uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch == epoch && !c.committing
}

// calmTime is how long nobody must have committed to expect that nobody will
// during a search.
const calmTime = 10 * time.Millisecond

// calm is still, if that is likely to last for a search.
func (c *cache) calm(epoch uint64) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch == epoch && !c.committing && time.Since(c.settled) > calmTime
}

// note learns from a search of a shared store how many of the bodies that it
// shows were in the cache.
func (c *cache) note(asked, found int) {
	if asked > 0 {
		was := c.found.Load()
		c.found.Store(was + (int32(found*1000/asked)-was)/8)
	}
}

// warm reports whether bodies are better sought in the cache than read with
// the rows that lead to them: each that is missing there costs a second statement.
func (c *cache) warm() bool { return c.found.Load() >= 850 }

// put keeps a record that was read when the epoch was the given one.
func (c *cache) put(rec fhir.Record, rid int64, epoch uint64) {
	c.keep(&cached{rec, rid}, epoch)
}

func (c *cache) keep(x *cached, epoch uint64) {
	size := x.size()
	if size > c.limit/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.size += size - c.young.drop(x.rec.Key); c.size > c.limit {
		c.old, c.young, c.size = c.young, newGeneration(), size
	}
	c.young.keys[x.rec.Key] = x
	if x.rid != 0 {
		c.young.rids[x.rid] = x
	}
}

// change notes a key that the open transaction writes. Writer only.
func (c *cache) change(k fhir.Key) { c.changed = append(c.changed, k) }

// drop takes out keys that other nodes changed; all of them when keys is nil.
func (c *cache) drop(keys []fhir.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if keys == nil {
		c.young, c.old, c.size = newGeneration(), generation{}, 0
		return
	}
	for _, k := range keys {
		c.size -= c.young.drop(k)
		c.old.drop(k)
	}
}

// begin says that a transaction is about to be committed. Writer only.
func (c *cache) begin(shared bool) {
	c.mu.Lock()
	c.committing = true
	if shared {
		if c.ending == nil {
			c.ending = map[fhir.Key]struct{}{}
		}
		for _, k := range c.changed {
			c.ending[k] = struct{}{}
		}
	}
	c.mu.Unlock()
}

// settle ends a transaction, committed or not: what it wrote is taken out.
// Writer only.
func (c *cache) settle() {
	c.mu.Lock()
	c.epoch++
	c.committing = false
	c.settled = time.Now()
	c.ending = nil
	for _, k := range c.changed {
		c.size -= c.young.drop(k)
		c.old.drop(k)
	}
	c.mu.Unlock()
	clear(c.changed)
	c.changed = c.changed[:0]
}
