package events

import (
	"context"
	"time"
)

// Bounds of what waits for another event of its resource.
const (
	laneMost   = 64      // of one resource, in the hands of a dispatcher
	parkedMost = 100_000 // of all resources, in the store
)

// lanes keep the events of each resource in their order: the next is ready when
// the one before has ended. What waits so takes no room in the window, or else a
// resource that changes often and cannot be delivered would hold up the others:
// some are in the hands of the dispatcher, the rest is parked.
//
// What is parked is among the tries of the store, and with it all events of its
// resource before it: a dispatcher that resumes takes the tries before the log.
type lanes struct {
	of      map[string]*lane // by resource
	waiting int              // items behind a head
	parked  int
	thin    []*lane // those that have room for what is parked
}

// lane is what waits of one resource.
type lane struct {
	resource   string
	head, tail *item
	waiting    int // items behind head
	parked     []spot
	thin       bool // it is among those that are thin
}

// spot is an event that is parked.
type spot struct{ seq, since int64 }

// add takes an item into its lane. It is false when the item has to wait.
func (ls *lanes) add(d *dispatcher, it *item) bool {
	resource := it.event.Source + "/" + it.event.Ref
	l := ls.of[resource]
	if l == nil {
		l = &lane{resource: resource}
		ls.of[resource] = l
	}
	if len(l.parked) > 0 || l.head != nil && (l.waiting >= laneMost || ls.waiting >= window) {
		ls.park(d, l, it)
		return false
	}
	d.note(it)
	return ls.push(l, it)
}

// push puts an item at the end of a lane. It is false when the item has to wait.
func (ls *lanes) push(l *lane, it *item) bool {
	it.lane = l
	if l.head == nil {
		l.head, l.tail = it, it
		return true
	}
	l.tail.next, l.tail = it, it
	l.waiting++
	ls.waiting++
	return false
}

// park leaves an event to the store, with those that are before it.
func (ls *lanes) park(d *dispatcher, l *lane, it *item) {
	if len(l.parked) == 0 {
		for x := l.head; x != nil; x = x.next {
			d.keep(x)
		}
	}
	d.keep(it)
	l.parked = append(l.parked, spot{it.event.Seq, it.since.UnixMilli()})
	ls.parked++
	ls.check(l)
}

// release takes the head out of its lane.
func (ls *lanes) release(d *dispatcher, it *item) {
	l := it.lane
	if l.head = it.next; l.head != nil {
		l.waiting--
		ls.waiting--
		d.take(l.head)
	}
	ls.check(l)
}

// check notes a lane that has room for what is parked, and forgets one that is empty.
func (ls *lanes) check(l *lane) {
	switch {
	case len(l.parked) > 0 && l.waiting <= laneMost/2 && !l.thin:
		l.thin = true
		ls.thin = append(ls.thin, l)
	case len(l.parked) == 0 && l.head == nil:
		delete(ls.of, l.resource)
	}
}

// refill takes parked events back. It is false when the store does not answer.
func (ls *lanes) refill(ctx context.Context, d *dispatcher, now time.Time) bool {
	var full []*lane // those that have to wait for room behind their head
	for len(ls.thin) > 0 {
		l := ls.thin[0]
		if l.head != nil && ls.waiting >= window {
			full, ls.thin = append(full, l), ls.thin[1:]
			continue
		}
		n := min(laneMost-l.waiting, len(l.parked))
		tries := make([]Try, n)
		for i, p := range l.parked[:n] {
			tries[i].Seq, tries[i].Since = p.seq, time.UnixMilli(p.since)
		}
		at, err := d.events(ctx, tries)
		if err != nil {
			ls.thin = append(ls.thin, full...)
			return false
		}
		for _, t := range tries {
			if e := at[t.Seq]; e == nil {
				d.pruned(t.Seq)
			} else if it := (&item{event: e, due: now, since: t.Since, saved: true}); ls.push(l, it) {
				d.take(it)
			}
		}
		if l.parked = l.parked[n:]; len(l.parked) == 0 {
			l.parked = nil
		}
		ls.parked -= n
		l.thin, ls.thin = false, ls.thin[1:]
		if l.head == nil { // all of them were pruned
			ls.check(l)
		}
	}
	ls.thin = full
	return true
}
