package fhirsql

import (
	"sync"

	"github.com/hygeia-health/hygeia/fhir"
)

// cache keeps current versions that were read, so that a hot resource costs no
// database access. It is never older than the last acknowledged write: the
// writer takes out what a transaction changed before it tells the callers, and
// a reader may put in only what it read since the last commit.
//
// Records live in two generations; when the young one is full it becomes the
// old one, and what was not asked for in the meantime is dropped with it.
type cache struct {
	mu         sync.RWMutex
	young, old map[fhir.Key]fhir.Record
	size       int    // bytes in young
	limit      int    // bytes of one generation
	epoch      uint64 // commits seen
	changed    []fhir.Key
}

func newCache(limit int) *cache {
	return &cache{limit: limit / 2, young: map[fhir.Key]fhir.Record{}}
}

// recordOverhead is what a record takes besides its body, roughly.
const recordOverhead = 256

// get returns the record of a key, and the epoch to give to put when there is none.
func (c *cache) get(k fhir.Key) (rec fhir.Record, ok bool, epoch uint64) {
	c.mu.RLock()
	if rec, ok = c.young[k]; ok {
		c.mu.RUnlock()
		return rec, true, 0
	}
	rec, ok = c.old[k]
	epoch = c.epoch
	c.mu.RUnlock()
	if ok {
		c.put(rec, epoch)
	}
	return rec, ok, epoch
}

// put keeps a record that was read when the epoch was the given one.
func (c *cache) put(rec fhir.Record, epoch uint64) {
	size := len(rec.Stored) + recordOverhead
	if size > c.limit/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.size += size; c.size > c.limit {
		c.old, c.young, c.size = c.young, make(map[fhir.Key]fhir.Record), size
	}
	c.young[rec.Key] = rec
}

// change notes a key that the open transaction writes. Writer only.
func (c *cache) change(k fhir.Key) { c.changed = append(c.changed, k) }

// drop takes out keys that other nodes changed; all of them when keys is nil.
func (c *cache) drop(keys []fhir.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	if keys == nil {
		c.young, c.old, c.size = map[fhir.Key]fhir.Record{}, nil, 0
		return
	}
	for _, k := range keys {
		delete(c.young, k)
		delete(c.old, k)
	}
}

// settle ends a transaction, committed or not: what it wrote is taken out.
// Writer only.
func (c *cache) settle() {
	c.mu.Lock()
	c.epoch++
	for _, k := range c.changed {
		delete(c.young, k)
		delete(c.old, k)
	}
	c.mu.Unlock()
	clear(c.changed)
	c.changed = c.changed[:0]
}
