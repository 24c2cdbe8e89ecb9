package imaging

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Deps are what a Follower is made of.
type Deps struct {
	Store       Store
	Destination Destination
	Config      Config
	// Address returns the URL of the DICOM service with its version, or "" while it
	// is not known.
	Address func() string
	Meter   Meter
	Log     *slog.Logger
	Now     func() time.Time
}

// Outcome is what became of one study.
type Outcome string

// The outcomes.
const (
	Created   Outcome = "created"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Deleted   Outcome = "deleted"
	Absent    Outcome = "absent"   // the study is gone and has no resource
	Unlinked  Outcome = "unlinked" // written, but there is no Patient
	Refused   Outcome = "refused"  // the FHIR service does not take it
)

// Meter counts what a Follower does.
type Meter interface {
	Worked(o Outcome)
	// Lag sets the function that tells how far the resources are behind.
	Lag(func() Lag)
}

// Lag is how far the resources are behind the studies.
type Lag struct {
	// Pending are studies that have changed, Waiting those that were tried in vain.
	Pending, Waiting int
	Age              time.Duration // of the oldest change of those that are pending
}

// Times of a Follower.
const (
	gather    = 100 * time.Millisecond // after a commit, so that many share one look at the feed
	pollTime  = 500 * time.Millisecond // between looks at the feed when other nodes write
	quietTime = time.Minute            // when none can
	pageSize  = 2000                   // changes in one transaction
	batchSize = 128                    // notes that are worked off together
	workers   = 4
	firstWait = time.Second // after the FHIR service did not answer, doubled each time
	longWait  = 30 * time.Second
	firstTry  = time.Minute // after a study was tried in vain, doubled each time
	lastTry   = 6 * time.Hour
	putOff    = 30 * time.Second // for a study during which the FHIR service could not answer
	lagTime   = 2 * time.Second  // for those who read the metrics
)

// Follower keeps the resources in step from New to Close.
type Follower struct {
	store   Store
	dest    Destination
	cfg     Config
	address func() string
	meter   Meter
	log     *slog.Logger
	now     func() time.Time

	wake    chan struct{}
	leading atomic.Bool // this node has the turn
	checked checked

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// New starts a Follower.
func New(d Deps) *Follower {
	d.Config.defaults()
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Meter == nil {
		d.Meter = noMeter{}
	}
	ctx, stop := context.WithCancel(auth.WithPrincipal(context.Background(), auth.Internal("imaging")))
	f := &Follower{
		store: d.Store, dest: d.Destination, cfg: d.Config, address: d.Address, meter: d.Meter, log: d.Log, now: d.Now,
		wake: make(chan struct{}, 1), stop: stop,
	}
	f.meter.Lag(f.lag)
	f.stopped.Go(func() { f.store.Lead(ctx, f.lead) })
	return f
}

// Close ends the work and waits for it. What was not done is done by the next one.
func (f *Follower) Close() {
	f.stop()
	f.stopped.Wait()
}

// Wake says that the feed may have more.
func (f *Follower) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

type noMeter struct{}

func (noMeter) Worked(Outcome)   {}
func (noMeter) Lag(f func() Lag) {}

func (f *Follower) lag() Lag {
	if !f.leading.Load() {
		return Lag{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lagTime)
	defer cancel()
	b, err := f.store.Backlog(ctx)
	if err != nil {
		return Lag{} // readiness tells of a store that does not answer
	}
	l := Lag{Pending: b.Pending, Waiting: b.Waiting}
	if b.Pending > 0 {
		l.Age = max(f.now().Sub(b.Oldest), 0)
	}
	return l
}

// lead follows the feed for as long as it is this node's turn.
func (f *Follower) lead(ctx context.Context) {
	f.leading.Store(true)
	defer f.leading.Store(false)
	f.checked.forget()
	every := quietTime
	if f.store.Shared() {
		every = pollTime
	}
	begun, failures := false, 0
	for ctx.Err() == nil {
		var err error
		if !begun {
			err = f.store.Begin(ctx, f.cfg.settings())
			begun = err == nil
		}
		wait := every
		if err == nil {
			wait, err = f.step(ctx, every)
		}
		if err != nil && ctx.Err() == nil {
			f.troubled(ctx, err, failures)
			wait = min(firstWait<<min(failures, 10), longWait)
			failures++
		} else if ctx.Err() == nil {
			if failures > 1 {
				f.log.LogAttrs(ctx, slog.LevelInfo, "ImagingStudies are written again")
			}
			failures = 0
		}
		f.pause(ctx, wait, err == nil)
	}
}

// troubled logs a row of failures once, and none that is over at the next try: at
// a start the FHIR service may be there a moment later.
func (f *Follower) troubled(ctx context.Context, err error, before int) {
	if before == 1 {
		f.log.LogAttrs(ctx, slog.LevelWarn, "ImagingStudies cannot be written now", slog.Any("err", err))
	}
}

// pause waits for the next commit or the time.
func (f *Follower) pause(ctx context.Context, d time.Duration, wakeable bool) {
	wake := f.wake
	if !wakeable {
		wake = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-wake:
		t.Reset(min(gather, f.cfg.Settle))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// step takes notes of what is new and works off what is due. It returns how long
// there is nothing to do.
func (f *Follower) step(ctx context.Context, every time.Duration) (time.Duration, error) {
	for more := true; more; {
		var err error
		if more, err = f.store.Collect(ctx, f.now(), f.cfg.Settle, f.cfg.Patience, pageSize); err != nil {
			return 0, err
		}
	}
	for {
		list, err := f.store.Due(ctx, f.now(), batchSize)
		if err != nil {
			return 0, err
		}
		if len(list) == 0 {
			break
		}
		done, err := f.work(ctx, list)
		if err := errors.Join(err, f.store.Done(ctx, done)); err != nil {
			return 0, err
		}
	}
	next, err := f.store.NextDue(ctx)
	if err != nil || next.IsZero() {
		return every, err
	}
	return max(min(every, next.Sub(f.now())), time.Millisecond), nil
}

// work works off notes, several at a time. An error says that the FHIR service
// or the store cannot answer now. It may be that they cannot answer for some
// studies only: these are put off, so that they do not stand in front of the others,
// and where any other study could be worked off the rest goes on at once.
func (f *Follower) work(ctx context.Context, list []Note) ([]Done, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	done := make([]Done, len(list))
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				done[i], errs[w] = f.workOff(ctx, list[i])
			}
		})
	}
	wg.Wait()
	err := cmp.Or(errs...)
	out := done[:0]
	for _, d := range done {
		if d.Study != "" {
			out = append(out, d)
		}
		if d.Study != "" && !d.Passing && ctx.Err() == nil {
			err = nil
		}
	}
	return out, err
}

// workOff works off one note. The error is one that says nothing about the study;
// the note is put off then, unless ctx has ended.
func (f *Follower) workOff(ctx context.Context, n Note) (Done, error) {
	var o Outcome
	err := fault.Guard("imaging: sync", func() (err error) {
		o, err = f.sync(ctx, n)
		return err
	})
	d := Done{Note: n}
	switch {
	case err != nil && ctx.Err() != nil:
		return Done{}, err
	case err != nil && passing(err):
		d.Again, d.Passing = f.now().Add(putOff), true
		return d, err
	case err != nil:
		o = Refused
		e := fault.From(err)
		attrs := []slog.Attr{slog.String("resource", "ImagingStudy/"+f.cfg.studyID(n)), slog.Int64("sequence", n.Sequence), slog.String("reason", reason(e)), slog.Int("tries", n.Tries+1)}
		for i := range e.Issues {
			attrs = append(attrs, slog.String("expression", e.Issues[i].Expression))
		}
		f.log.LogAttrs(ctx, slog.LevelWarn, "an ImagingStudy is not taken by the FHIR service", attrs...)
		d.Again = f.again(n)
	case o == Unlinked:
		d.Again = f.again(n)
	}
	f.meter.Worked(o)
	return d, nil
}

// again is when a note is tried once more.
func (f *Follower) again(n Note) time.Time {
	return f.now().Add(min(firstTry<<min(n.Tries, 10), lastTry))
}

// passing reports whether an error is one of the service as a whole: no other
// study would fare better now.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	switch fault.From(err).Kind {
	case fault.Transient, fault.Throttled, fault.Timeout:
		return true
	}
	return false
}

// reason says in a word why a resource was not taken. The text of an error may
// hold values, which are not for the log.
func reason(e *fault.Error) string {
	switch e.Kind {
	case fault.Invalid, fault.Unprocessable:
		return "invalid"
	case fault.Forbidden, fault.Unauthenticated:
		return "forbidden"
	case fault.TooLarge, fault.TooCostly:
		return "too large"
	case fault.Internal:
		return "internal error in " + e.Op
	}
	return "refused"
}
