package events

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/bus"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Source is the change sequence of one service.
type Source interface {
	// Since returns the position before the first change at or after an instant.
	Since(ctx context.Context, t time.Time) (int64, error)
	// Changes returns up to limit changes after a position, in order, and the
	// position of the last one that it looked at.
	Changes(ctx context.Context, after int64, limit int) ([]Change, int64, error)
}

// Meter counts what happens, under the names of the metrics of Event Grid.
type Meter interface {
	Matched(subscription string, n int)
	Unmatched(subscription string, n int)
	Delivered(subscription string, n int, latency time.Duration)
	DeliveryFailed(subscription string, n int, outcome string)
	DeadLettered(subscription string, n int)
	Dropped(subscription string, n int)
	Published(n int)
}

// Deps are what a Service needs.
type Deps struct {
	Workspace string
	Store     Store
	Names     Names
	Blobs     blob.Store // dead letters
	Outbound  Outbound
	Client    *http.Client // nil: NewClient(Outbound)
	// Writers connects to brokers; nil: bus.NewWriter. Secret resolves a reference
	// to a password; nil: there are none.
	Writers func(bus.Options) (bus.Writer, error)
	Secret  func(ref string) (string, error)
	Guard   *auth.Guard // of the workspace
	Meter   Meter       // nil: none
	Log     *slog.Logger
	Now     func() time.Time
	// Shared says that other nodes have the same store: then what they change is
	// looked for.
	Shared    bool
	Retention time.Duration // of the log; 0: seven days
}

// defaultRetention is how long events can be pulled and tried again.
const defaultRetention = 7 * 24 * time.Hour

// Service is the events of one workspace.
type Service struct {
	workspace string
	store     Store
	names     Names
	blobs     blob.Store
	guardian  *guard
	client    *http.Client
	writers   func(bus.Options) (bus.Writer, error)
	secret    func(ref string) (string, error)
	guard     *auth.Guard
	meter     Meter
	log       *slog.Logger
	now       func() time.Time
	shared    bool
	retention time.Duration

	stop    context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // sources have changes, or something else is to be done

	mu      sync.Mutex
	sources map[string]Source
	grown   chan struct{} // closed when the log grows
	subs    map[string]*dispatcher
	leader  bool
	active  bool
	recent  tail
	pending map[string]*pending // handshakes under way, by subscription
	change  sync.Mutex          // held while a subscription is changed; taken before mu
}

// New starts the service of a workspace.
func New(ctx context.Context, d Deps) (*Service, error) {
	s := &Service{
		workspace: d.Workspace, store: d.Store, names: d.Names, blobs: d.Blobs, client: d.Client, writers: d.Writers, secret: d.Secret, guard: d.Guard,
		meter: d.Meter, log: d.Log, now: d.Now, shared: d.Shared, retention: d.Retention,
		wake: make(chan struct{}, 1), sources: map[string]Source{}, grown: make(chan struct{}), subs: map[string]*dispatcher{}, pending: map[string]*pending{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.retention <= 0 {
		s.retention = defaultRetention
	}
	if s.meter == nil {
		s.meter = noMeter{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.writers == nil {
		s.writers = bus.NewWriter
	}
	if s.secret == nil {
		s.secret = func(string) (string, error) { return "", errors.New("there are no secrets here") }
	}
	var err error
	if s.guardian, err = d.Outbound.guard(); err != nil {
		return nil, err
	}
	if s.client == nil {
		if s.client, err = NewClient(d.Outbound); err != nil {
			return nil, err
		}
	}
	if s.active, err = s.store.Active(ctx); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.running.Go(func() { s.store.Lead(run, s.work) })
	if s.shared {
		s.running.Go(func() { s.watch(run) })
	}
	return s, nil
}

// Close ends deliveries and closes the store. Requests on their way are given up;
// what they carried is delivered again.
func (s *Service) Close() error {
	s.stop()
	s.running.Wait()
	s.client.CloseIdleConnections()
	return s.store.Close()
}

// AddSource adds or replaces the change sequence of a service.
func (s *Service) AddSource(name string, src Source) {
	s.mu.Lock()
	s.sources[name] = src
	s.mu.Unlock()
	s.Wake()
}

// RemoveSource forgets a service. Its events stay.
func (s *Service) RemoveSource(name string) {
	s.mu.Lock()
	delete(s.sources, name)
	s.mu.Unlock()
}

// Wake says that a source has changes. It never blocks.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Active reports whether somebody wants events.
func (s *Service) Active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// activate begins to collect.
func (s *Service) activate(ctx context.Context) error {
	if s.Active() {
		return nil
	}
	if err := s.store.Activate(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.active = true
	s.mu.Unlock()
	s.Wake()
	return nil
}

// Info is a subscription with how it stands.
type Info struct {
	*Subscription
	ID                string    `json:"id"`
	Topic             string    `json:"topic"`
	ProvisioningState State     `json:"provisioningState"`
	Reason            string    `json:"reason,omitempty"`
	AllowedRate       int       `json:"allowedRequestsPerMinute,omitempty"`
	Created           time.Time `json:"createdAt"`
	Changed           time.Time `json:"changedAt"`
	Status            *Status   `json:"status,omitempty"`
}

// Status is how the deliveries of a subscription stand.
type Status struct {
	Lag            int64      `json:"eventsBehind"`   // events of the log that it has not looked at
	Retrying       int        `json:"eventsRetrying"` // events that are tried again, or wait for one of their resource
	DeadLetters    int        `json:"deadLetters"`
	Delivered      int64      `json:"deliveredSinceStart"`
	Failed         int64      `json:"failedAttemptsSinceStart"`
	LastOutcome    Outcome    `json:"lastDeliveryOutcome,omitempty"`
	LastAttempt    *time.Time `json:"lastDeliveryAttemptTime,omitempty"`
	ProbationUntil *time.Time `json:"probationUntil,omitempty"`
}

func (s *Service) info(r *Record) *Info {
	return &Info{
		Subscription: r.Shown(), Topic: s.names.Topic, ProvisioningState: r.State, Reason: r.Reason, AllowedRate: r.Rate, Created: r.Created, Changed: r.Changed,
		ID: s.names.Topic + "/providers/Microsoft.EventGrid/eventSubscriptions/" + r.Name,
	}
}

// Subscriptions lists the subscriptions by name.
func (s *Service) Subscriptions(ctx context.Context) ([]*Info, error) {
	if err := s.guard.Authorize(ctx, auth.ManageRead); err != nil {
		return nil, err
	}
	list, err := s.store.Subscriptions(ctx)
	out := make([]*Info, len(list))
	for i := range list {
		out[i] = s.info(&list[i])
	}
	return out, err
}

// find returns a subscription, or NotFound.
func (s *Service) find(ctx context.Context, name string) (*Record, error) {
	list, err := s.store.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return &list[i], nil
		}
	}
	return nil, fault.New(fault.NotFound, "there is no event subscription %.64q", name)
}

// Subscription returns one with its status.
func (s *Service) Subscription(ctx context.Context, name string) (*Info, error) {
	if err := s.guard.Authorize(ctx, auth.ManageRead); err != nil {
		return nil, err
	}
	r, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	i := s.info(r)
	i.Status, err = s.status(ctx, r)
	return i, err
}

func (s *Service) status(ctx context.Context, r *Record) (*Status, error) {
	st := &Status{}
	_, last, err := s.store.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	st.Lag = max(last-max(r.Position, r.From), 0)
	if st.Retrying, st.DeadLetters, err = s.store.Counts(ctx, r.Name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	d := s.subs[r.Name]
	s.mu.Unlock()
	if d != nil {
		d.report(st)
	}
	return st, nil
}

// PutSubscription creates or changes a subscription. A destination is asked
// whether it wants events when it is new; baseURL is where we are reached, for
// the address that it can open instead.
func (s *Service) PutSubscription(ctx context.Context, sub *Subscription, baseURL string) (info *Info, created bool, err error) {
	if err := s.guard.Authorize(ctx, auth.ManageWrite); err != nil {
		return nil, false, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	old, err := s.find(ctx, sub.Name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, false, err
	}
	now := s.now()
	r := &Record{Created: now, Changed: now}
	if old != nil {
		sub.Name = old.Name
		sub.keepSecrets(&old.Subscription)
		*r = *old
		r.Changed = now
	}
	if err := sub.check(); err != nil {
		return nil, false, err
	}
	if sub.Destination.EndpointType == webHook && !s.guardian.mayUseHTTP(sub.Destination.Properties.EndpointURL) {
		return nil, false, fault.New(fault.Invalid, "destination.properties.endpointUrl: http is only for destinations that the operator allows (events.allow); use https")
	}
	if sub.ExpirationTimeUTC != nil && sub.ExpirationTimeUTC.Before(now) {
		return nil, false, fault.New(fault.Invalid, "expirationTimeUtc is in the past")
	}
	if err := s.connect(ctx, r, old, sub, baseURL); err != nil {
		return nil, false, err
	}
	if err := s.store.PutSubscription(ctx, r, old); err != nil {
		return nil, false, err
	}
	if err := s.activate(ctx); err != nil {
		return nil, false, err
	}
	s.restart(r)
	return s.info(r), old == nil, nil
}

// same reports whether two destinations are one place, which was asked already.
func (d *Destination) same(o *Destination) bool {
	p, q := &d.Properties, &o.Properties
	return d.EndpointType == o.EndpointType && p.EndpointURL == q.EndpointURL && slices.Equal(p.URLs, q.URLs) &&
		p.Topic == q.Topic && p.User == q.User && p.Password == q.Password && p.TLS == q.TLS
}

// connect fills in the record of a subscription and shakes hands with its destination.
func (s *Service) connect(ctx context.Context, r, old *Record, sub *Subscription, baseURL string) error {
	same := old != nil && old.Destination.same(&sub.Destination) &&
		old.EventDeliverySchema == sub.EventDeliverySchema && (old.State == Succeeded)
	r.Subscription = *sub
	if same {
		return nil
	}
	if old == nil {
		_, last, err := s.store.Bounds(ctx)
		if err != nil {
			return err
		}
		r.From, r.Position = last, last
	}
	code := newCode()
	g, err := s.handshake(ctx, sub, baseURL, code)
	if err != nil {
		return err
	}
	r.State, r.Reason, r.Code, r.Origin, r.Rate = g.state, "", "", g.origin, g.rate
	if g.state == AwaitingManualAction {
		r.Code = code
		r.Reason = "the destination did not give its consent; it may open the validation URL within five minutes"
	}
	return nil
}

// Validate ends a handshake by hand: the receiver opened its validation URL, and
// may have said how many requests a minute it wants.
func (s *Service) Validate(ctx context.Context, name, code string, rate int) error {
	if s.opened(name, code, rate) {
		return nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	r, err := s.find(ctx, name)
	unknown := fault.New(fault.NotFound, "this validation address is not valid")
	if fault.Is(err, fault.NotFound) {
		return unknown
	}
	if err != nil {
		return err
	}
	if r.State != AwaitingManualAction || !equal(r.Code, code) {
		return unknown
	}
	if s.now().Sub(r.Changed) > manualTime {
		return fault.New(fault.Gone, "this validation address was valid for five minutes; create the subscription again")
	}
	old := *r
	r.State, r.Reason, r.Code, r.Changed, r.Rate = Succeeded, "", "", s.now(), rate
	if err := s.store.PutSubscription(ctx, r, &old); err != nil {
		return err
	}
	s.restart(r)
	return nil
}

// DeleteSubscription ends a subscription.
func (s *Service) DeleteSubscription(ctx context.Context, name string) error {
	if err := s.guard.Authorize(ctx, auth.ManageWrite); err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	r, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	s.halt(r.Name)
	return s.store.DeleteSubscription(ctx, r.Name)
}

// Letters lists dead letters after a position.
func (s *Service) Letters(ctx context.Context, name string, after int64, limit int) ([]Letter, error) {
	if err := s.guard.Authorize(ctx, auth.ManageRead); err != nil {
		return nil, err
	}
	r, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.store.Letters(ctx, r.Name, after, limit)
}

// Redrive tries dead letters again: those of the events at positions, or all.
func (s *Service) Redrive(ctx context.Context, name string, seqs []int64) (int, error) {
	if err := s.guard.Authorize(ctx, auth.ManageWrite); err != nil {
		return 0, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	r, err := s.find(ctx, name)
	if err != nil {
		return 0, err
	}
	s.halt(r.Name)
	n, err := s.store.Redrive(ctx, r.Name, seqs, s.now())
	if r, e := s.find(ctx, name); e == nil {
		// A change lets the node that delivers look at the store again. When somebody
		// else has just changed it, it does so anyway.
		old := *r
		r.Changed = s.now()
		if e := s.store.PutSubscription(ctx, r, &old); e != nil && !fault.Is(e, fault.Conflict) {
			return n, errors.Join(err, e)
		}
		s.restart(r)
	}
	return n, err
}

// pullMost is how many events one call of Pull looks at.
const pullMost = 10_000

// Pull returns up to limit events after a position that have one of the types,
// and the position that was looked at last; there may be more when there are fewer
// than limit. It begins the collection of events.
func (s *Service) Pull(ctx context.Context, after int64, kinds []Kind, limit int) (list []Event, last int64, err error) {
	if err := s.guard.Authorize(ctx, auth.EventsRead); err != nil {
		return nil, 0, err
	}
	if err := s.activate(ctx); err != nil {
		return nil, 0, err
	}
	first, end, err := s.store.Bounds(ctx)
	if err != nil {
		return nil, 0, err
	}
	if after > end {
		return nil, 0, fault.New(fault.Invalid, "after is beyond the last event, %d", end)
	}
	if after > 0 && after+1 < first {
		return nil, 0, fault.New(fault.Gone, "the events after %d were removed; the oldest that is kept has the position %d", after, first)
	}
	for looked := 0; len(list) < limit && looked < pullMost; {
		page, err := s.store.Read(ctx, after, min(max(limit, 100), 1000))
		if err != nil || len(page) == 0 {
			return list, after, err
		}
		looked += len(page)
		for i := range page {
			if len(list) == limit {
				break
			}
			after = page[i].Seq
			if len(kinds) == 0 || slices.Contains(kinds, page[i].Kind) {
				list = append(list, page[i])
			}
		}
	}
	return list, after, nil
}

// Names returns how events are written.
func (s *Service) Names() *Names { return &s.names }

// Grown returns a channel that is closed when the log grows after this call.
func (s *Service) Grown() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grown
}

// restart begins, or begins again, to deliver for a subscription, if this node does.
func (s *Service) restart(r *Record) {
	s.halt(r.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leader || r.State != Succeeded {
		return
	}
	d, err := newDispatcher(s, r)
	if err != nil {
		s.log.Error("event subscription cannot be read", slog.String("subscription", r.Name), slog.Any("err", err))
		return
	}
	s.subs[r.Name] = d
	d.start()
}

// halt ends the deliveries of a subscription and waits for them.
func (s *Service) halt(name string) {
	s.mu.Lock()
	d := s.subs[name]
	delete(s.subs, name)
	s.mu.Unlock()
	if d != nil {
		d.halt()
	}
}

// disable ends a subscription whose destination is gone, unless it was changed
// since the dispatcher began: then it has another destination, or is asked again.
func (s *Service) disable(d *dispatcher, reason string) {
	name := d.sub.Name
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.change.Lock()
	defer s.change.Unlock()
	r, err := s.find(ctx, name)
	if err == nil {
		if !r.Changed.Equal(d.changed) {
			return
		}
		old := *r
		r.State, r.Reason, r.Changed = Disabled, reason, s.now()
		err = s.store.PutSubscription(ctx, r, &old)
	}
	if err != nil && !fault.Is(err, fault.NotFound) && !errors.Is(err, context.Canceled) {
		s.log.Error("event subscription cannot be disabled", slog.String("subscription", name), slog.Any("err", err))
	}
	s.halt(name)
}

type noMeter struct{}

func (noMeter) Matched(string, int)                  {}
func (noMeter) Unmatched(string, int)                {}
func (noMeter) Delivered(string, int, time.Duration) {}
func (noMeter) DeliveryFailed(string, int, string)   {}
func (noMeter) DeadLettered(string, int)             {}
func (noMeter) Dropped(string, int)                  {}
func (noMeter) Published(int)                        {}
