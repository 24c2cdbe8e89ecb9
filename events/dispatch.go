package events

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Bounds of a dispatcher.
const (
	window  = 2000 // events in its hands: on their way, or waiting to be tried again
	senders = 16   // requests at the same time
	// pageOfLog is how many events are looked at together.
	pageOfLog = 500
	saveTime  = 20 * time.Millisecond
	saveMany  = 500
	saveMost  = 5000             // tries in one save
	buryTime  = 10 * time.Second // between attempts to write dead letters
	againTime = time.Second      // between attempts to save
)

// item is an event in the hands of a dispatcher.
type item struct {
	event    *Event
	attempts int
	due      time.Time
	since    time.Time // when its time to live began
	last     time.Time
	outcome  Outcome
	saved    bool // it is among the tries of the store
	done     bool
	lane     *lane // ordered: that of its resource
	next     *item // ordered: the next event of the same resource
}

// dispatcher delivers for one subscription. All its state belongs to one
// goroutine; senders report to it.
type dispatcher struct {
	s       *Service
	sub     Subscription
	names   *Names
	match   *matcher
	carrier carrier
	ordered bool
	origin  string        // that CloudEvents webhooks have allowed
	pace    time.Duration // between two requests
	quiet   time.Time     // no request before
	created time.Time
	changed time.Time
	ttl     time.Duration

	cancel  context.CancelFunc
	running sync.WaitGroup
	more    chan struct{}
	results chan result

	read     int64          // position in the log up to which events were taken
	tried    int64          // position up to which the tries of a dispatcher before this one were taken
	resumed  bool           // all of them were taken
	known    map[int64]bool // those of them that the log has still to come to
	fresh    []*item        // never saved, in the order of the log
	ready    queue          // waiting for their time
	held     int            // items that wait for nothing but their time, or are on their way
	inFlight int
	lanes    lanes     // ordered
	letters  []Letter  // given up, not yet saved
	dying    []*item   // the items of letters
	buryAt   time.Time // nothing is saved before
	progress Progress
	dirty    int
	saved    time.Time

	mu        sync.Mutex // guards what report shows
	probation time.Time
	delivered int64
	failed    int64
	outcome   Outcome
	last      time.Time
}

// result is what a sender reports: there is one answer for each item, or one for all.
type result struct {
	items   []*item
	answers []answer
	at      time.Time
	gone    bool
}

// verdict is the answer to some of the items of a result.
type verdict struct {
	items  []*item
	answer answer
	at     time.Time
}

// verdicts puts the items together that have the same answer.
func (r *result) verdicts() []verdict {
	if len(r.answers) == 1 {
		return []verdict{{r.items, r.answers[0], r.at}}
	}
	var list []verdict
	for i, it := range r.items {
		j := slices.IndexFunc(list, func(v verdict) bool { return v.answer == r.answers[i] })
		if j < 0 {
			j, list = len(list), append(list, verdict{answer: r.answers[i], at: r.at})
		}
		list[j].items = append(list[j].items, it)
	}
	return list
}

func newDispatcher(s *Service, r *Record) (*dispatcher, error) {
	m, err := r.Filter.compile()
	if err != nil {
		return nil, err
	}
	c, err := s.carrier(&r.Subscription)
	if err != nil {
		return nil, err
	}
	var pace time.Duration
	if r.Rate > 0 {
		pace = time.Minute / time.Duration(r.Rate)
	}
	return &dispatcher{
		origin: r.Origin, pace: pace,
		s: s, sub: r.Subscription, names: &s.names, match: m, carrier: c, ordered: r.Ordered || r.Destination.EndpointType != webHook, created: r.Created.Truncate(time.Millisecond), changed: r.Changed,
		ttl:  time.Duration(r.RetryPolicy.EventTimeToLiveInMinutes) * time.Minute,
		more: make(chan struct{}, 1), results: make(chan result, senders), read: max(r.Position, r.From), known: map[int64]bool{}, lanes: lanes{of: map[string]*lane{}},
	}, nil
}

func (d *dispatcher) start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.running.Go(func() { d.run(ctx) })
}

// halt ends the dispatcher; what it was about to say to the store is said.
func (d *dispatcher) halt() {
	d.cancel()
	d.running.Wait()
}

func (d *dispatcher) nudge() {
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// report fills in what a dispatcher knows.
func (d *dispatcher) report(st *Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st.Delivered, st.Failed, st.LastOutcome = d.delivered, d.failed, d.outcome
	if !d.last.IsZero() {
		t := d.last
		st.LastAttempt = &t
	}
	if d.probation.After(d.s.now()) {
		t := d.probation
		st.ProbationUntil = &t
	}
}

func (d *dispatcher) run(ctx context.Context) {
	defer d.finish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := d.s.now()
		if e := d.sub.ExpirationTimeUTC; e != nil && now.After(*e) {
			return
		}
		again := d.fill(ctx, now)
		d.launch(ctx, now)
		d.save(ctx, now, false)
		timer.Reset(min(again, d.pause(now)))
		select {
		case <-ctx.Done():
		case <-d.more:
		case <-timer.C:
		case r := <-d.results:
			d.settle(r)
			for more := true; more; {
				select {
				case r := <-d.results:
					d.settle(r)
				default:
					more = false
				}
			}
		}
	}
}

// finish waits for the senders and saves.
func (d *dispatcher) finish() {
	d.cancel()
	for d.inFlight > 0 {
		d.settle(<-d.results)
	}
	d.carrier.close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d.save(ctx, d.s.now(), true)
}

func sleep(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}

// resume takes over what was to be tried again when the last dispatcher ended, as
// far as there is room. It is false when the store does not answer.
func (d *dispatcher) resume(ctx context.Context) bool {
	for !d.resumed && d.room() {
		tries, err := d.s.store.Tries(ctx, d.sub.Name, d.tried, pageOfLog)
		if err != nil {
			return false
		}
		d.resumed = len(tries) < pageOfLog
		at, err := d.events(ctx, tries)
		if err != nil {
			return false
		}
		for _, t := range tries {
			d.tried = t.Seq
			e := at[t.Seq]
			if e == nil {
				d.pruned(t.Seq)
				continue
			}
			if t.Seq > d.read {
				d.known[t.Seq] = true
			}
			d.add(&item{event: e, attempts: t.Attempts, due: t.Due, since: t.Since, last: t.Last, outcome: t.Outcome, saved: true})
		}
	}
	return true
}

// events reads those of tries from the log.
func (d *dispatcher) events(ctx context.Context, tries []Try) (map[int64]*Event, error) {
	seqs := make([]int64, len(tries))
	for i := range tries {
		seqs[i] = tries[i].Seq
	}
	list, err := d.s.store.Get(ctx, seqs)
	at := make(map[int64]*Event, len(list))
	for i := range list {
		at[list[i].Seq] = &list[i]
	}
	return at, err
}

// pruned ends an event that the log does not have any more.
func (d *dispatcher) pruned(seq int64) {
	d.progress.Done = append(d.progress.Done, seq)
	d.dirty++
}

// room reports whether more events can be taken.
func (d *dispatcher) room() bool {
	return d.held < window && d.lanes.parked < parkedMost && len(d.progress.Put) < saveMost
}

// add takes an item into the hands of the dispatcher.
func (d *dispatcher) add(it *item) {
	if d.ordered {
		if !d.lanes.add(d, it) {
			return // it waits for the one before
		}
	} else {
		d.note(it)
	}
	d.take(it)
}

// take takes an item that waits for nothing but its time.
func (d *dispatcher) take(it *item) {
	d.held++
	heap.Push(&d.ready, it)
}

// note remembers an item that the store does not know, so that the position stays
// before it.
func (d *dispatcher) note(it *item) {
	if !it.saved {
		d.fresh = append(d.fresh, it)
	}
}

// release ends an item; in order, the next of its resource becomes ready.
func (d *dispatcher) release(it *item) {
	it.done = true
	d.held--
	if it.lane != nil {
		d.lanes.release(d, it)
	}
}

// fill takes events while there is room: those that wait for their resource, those
// that were tried before, then the log. It returns when to come again.
func (d *dispatcher) fill(ctx context.Context, now time.Time) (again time.Duration) {
	if !d.lanes.refill(ctx, d, now) || !d.resume(ctx) {
		return time.Second
	}
	for d.resumed && d.room() {
		list, ok := d.s.recent.after(d.read, pageOfLog)
		if !ok {
			var err error
			if list, err = d.s.store.Read(ctx, d.read, pageOfLog); err != nil {
				return time.Second
			}
		}
		if len(list) == 0 {
			return time.Minute
		}
		matched := 0
		for i := range list {
			e := &list[i]
			d.read = e.Seq
			if d.known[e.Seq] {
				delete(d.known, e.Seq)
				continue
			}
			if e.Time.Before(d.created) || !d.match.match(d.names, e) {
				continue
			}
			matched++
			d.add(&item{event: e, due: now, since: e.Time})
		}
		d.s.meter.Matched(d.sub.Name, matched)
		d.s.meter.Unmatched(d.sub.Name, len(list)-matched)
		d.dirty++
	}
	if len(d.progress.Put) >= saveMost {
		return saveTime
	}
	return time.Minute // an event that ends makes room
}

// launch sends what is due.
func (d *dispatcher) launch(ctx context.Context, now time.Time) {
	d.mu.Lock()
	waiting := d.probation.After(now)
	d.mu.Unlock()
	if waiting {
		return
	}
	limit := d.sub.Destination.Properties.PreferredBatchSizeInKilobytes << 10
	var scratch []byte
	for d.inFlight < senders && !now.Before(d.quiet) {
		var items []*item
		size := 0
		for len(d.ready) > 0 && len(items) < d.sub.Destination.Properties.MaxEventsPerBatch && !d.ready[0].due.After(now) {
			it := d.ready[0]
			if now.Sub(it.since) > d.ttl {
				heap.Pop(&d.ready)
				d.giveUp(it, reasonTime, now)
				continue
			}
			if limit > 0 && d.sub.Destination.Properties.MaxEventsPerBatch > 1 {
				scratch = d.names.appendEvent(scratch[:0], it.event, d.sub.EventDeliverySchema)
				if size += len(scratch) + 1; size > limit && len(items) > 0 {
					break
				}
			}
			heap.Pop(&d.ready)
			items = append(items, it)
		}
		if len(items) == 0 {
			return
		}
		d.inFlight++
		d.quiet = now.Add(d.pace)
		go d.send(ctx, items)
	}
}

// send is the work of a sender.
func (d *dispatcher) send(ctx context.Context, items []*item) {
	dl := delivery{sub: &d.sub, origin: d.origin, names: d.names, events: make([]*Event, len(items)), tries: make([]int, len(items))}
	for i, it := range items {
		dl.events[i], dl.tries[i] = it.event, it.attempts
	}
	answers := []answer{{outcome: GenericError}} // of a defect: an attempt like others, so that there is an end to them
	err := fault.Guard("events: send", func() error {
		answers = d.carrier.send(ctx, &dl, d.s.now())
		return nil
	})
	if err != nil {
		d.s.log.LogAttrs(ctx, slog.LevelError, "sending events failed", slog.String("subscription", d.sub.Name), slog.Any("err", err))
	}
	failed := slices.ContainsFunc(answers, func(a answer) bool { return a.outcome != Delivered })
	d.results <- result{items: items, answers: answers, at: d.s.now(), gone: ctx.Err() != nil && failed}
}

// settle takes the result of a request.
func (d *dispatcher) settle(r result) {
	d.inFlight--
	if r.gone { // we ended, not the destination: the attempt does not count
		for _, it := range r.items {
			heap.Push(&d.ready, it)
		}
		return
	}
	for _, v := range r.verdicts() {
		d.conclude(v)
	}
}

// conclude does what an answer says.
func (d *dispatcher) conclude(r verdict) {
	n, o := len(r.items), r.answer.outcome
	d.mu.Lock()
	d.outcome, d.last = o, r.at
	if o == Delivered {
		d.delivered += int64(n)
		d.probation = time.Time{}
	} else {
		d.failed += int64(n)
		if p := max(o.probation(), r.answer.after); p > 0 {
			d.probation = r.at.Add(p)
		}
	}
	d.mu.Unlock()
	if o == Delivered {
		d.s.meter.Delivered(d.sub.Name, n, r.at.Sub(r.items[0].event.Time))
		for _, it := range r.items {
			d.complete(it)
		}
		return
	}
	d.s.meter.DeliveryFailed(d.sub.Name, n, string(o))
	if o == Gone && d.sub.EventDeliverySchema == CloudEvent {
		for _, it := range r.items {
			heap.Push(&d.ready, it)
		}
		d.s.running.Go(func() { d.s.disable(d, "the destination answered 410: it is gone") })
		d.cancel()
		return
	}
	for _, it := range r.items {
		d.again(it, r)
	}
}

// again plans the next attempt, if there is one.
func (d *dispatcher) again(it *item, r verdict) {
	it.attempts++
	it.last, it.outcome = r.at, r.answer.outcome
	switch {
	case r.answer.final():
		d.giveUp(it, reasonFinal, r.at)
	case it.attempts >= d.sub.RetryPolicy.MaxDeliveryAttempts:
		d.giveUp(it, reasonAttempts, r.at)
	default:
		it.due = next(r.at, it.attempts, r.answer)
		it.saved = false
		d.keep(it)
		heap.Push(&d.ready, it)
	}
}

// keep puts an item among the tries of the store.
func (d *dispatcher) keep(it *item) {
	if it.saved {
		return
	}
	it.saved = true
	d.progress.Put = append(d.progress.Put, it.try())
	d.dirty++
}

func (it *item) try() Try {
	return Try{Seq: it.event.Seq, Attempts: it.attempts, Due: it.due, Since: it.since, Last: it.last, Outcome: it.outcome}
}

// complete ends an item that was delivered.
func (d *dispatcher) complete(it *item) {
	if it.saved {
		d.progress.Done = append(d.progress.Done, it.event.Seq)
	}
	d.dirty++
	d.release(it)
}

// giveUp makes an item a dead letter.
func (d *dispatcher) giveUp(it *item, reason string, now time.Time) {
	d.letters = append(d.letters, Letter{Seq: it.event.Seq, Reason: reason, Try: it.try(), Time: now})
	d.dying = append(d.dying, it)
	d.dirty++
}

// pause is how long there is nothing to do.
func (d *dispatcher) pause(now time.Time) time.Duration {
	p := time.Minute
	if d.dirty > 0 {
		p = saveTime
	}
	if d.buryAt.After(now) {
		p = d.buryAt.Sub(now)
	}
	if len(d.ready) > 0 && d.inFlight < senders {
		d.mu.Lock()
		at := d.ready[0].due
		for _, t := range []time.Time{d.probation, d.quiet} {
			if t.After(at) {
				at = t
			}
		}
		d.mu.Unlock()
		p = min(p, max(at.Sub(now), time.Millisecond))
	}
	return p
}

// save tells the store, when there is enough to tell or it is time.
func (d *dispatcher) save(ctx context.Context, now time.Time, force bool) {
	if d.dirty == 0 || !force && d.dirty < saveMany && now.Sub(d.saved) < saveTime {
		return
	}
	if !force && now.Before(d.buryAt) {
		return
	}
	if !d.bury(ctx, now) && !force {
		d.buryAt = now.Add(buryTime) // the letters wait, and what else is to be saved
		return
	}
	for len(d.fresh) > 0 && (d.fresh[0].done || d.fresh[0].saved) {
		d.fresh[0] = nil
		d.fresh = d.fresh[1:]
	}
	d.progress.Position = d.read
	if len(d.fresh) > 0 {
		d.progress.Position = d.fresh[0].event.Seq - 1
	}
	d.saved = now
	if err := d.s.store.Save(ctx, d.sub.Name, &d.progress); err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // finish saves once more
			d.s.log.Warn("event deliveries cannot be saved now", slog.String("subscription", d.sub.Name), slog.Any("err", err))
		}
		d.buryAt = now.Add(againTime)
		return
	}
	d.progress = Progress{}
	d.dirty = 0
}

// queue is a heap of items by time, then by position.
type queue []*item

// Len implements heap.Interface, as the methods after it.
func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if c := q[i].due.Compare(q[j].due); c != 0 {
		return c < 0
	}
	return q[i].event.Seq < q[j].event.Seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*item)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return x
}
