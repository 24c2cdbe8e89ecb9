package medtech

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// Replay processes messages of the raw log again, after a mapping was corrected.
type Replay struct {
	ID       int64       `json:"id"`
	After    int64       `json:"after"` // messages with a greater offset
	Until    int64       `json:"until"` // up to this one
	Device   string      `json:"device,omitempty"`
	Cursor   int64       `json:"cursor"` // done up to here
	State    ReplayState `json:"state"`
	Messages int64       `json:"messages"` // of the device, when one is given
	Failed   int64       `json:"failed"`
	Created  time.Time   `json:"created"`
	Changed  time.Time   `json:"changed"`
}

// ReplayState says where a replay is.
type ReplayState string

// The states.
const (
	ReplayRunning ReplayState = "running"
	ReplayDone    ReplayState = "done"
	ReplayStopped ReplayState = "cancelled"
)

// ReplayRange selects messages: from an offset or a time on, up to an offset or
// a time, of a device as the mapping finds it.
type ReplayRange struct {
	FromOffset, ToOffset int64
	From, To             time.Time
	Device               string
}

// bounds turns a range into offsets: after is exclusive, until inclusive.
func (s *Service) bounds(ctx context.Context, q ReplayRange) (after, until int64, err error) {
	after, until = max(q.FromOffset-1, 0), q.ToOffset
	if !q.From.IsZero() {
		if after, err = s.store.OffsetAt(ctx, q.From); err != nil {
			return 0, 0, err
		}
	}
	if !q.To.IsZero() {
		if until, err = s.store.OffsetAt(ctx, q.To); err != nil {
			return 0, 0, err
		}
		if until == 0 {
			until = after
		}
	}
	pos, err := s.store.Position(ctx)
	if err != nil {
		return 0, 0, err
	}
	if q.To.IsZero() && (until == 0 || until > pos.Last) {
		until = pos.Last
	}
	return after, until, nil
}

// StartReplay begins a replay; it goes on after a restart.
func (s *Service) StartReplay(ctx context.Context, q ReplayRange) (Replay, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return Replay{}, err
	}
	after, until, err := s.bounds(ctx, q)
	if err != nil {
		return Replay{}, err
	}
	now := s.now()
	r, err := s.store.PutReplay(ctx, Replay{After: after, Until: until, Device: q.Device, Cursor: after, State: ReplayRunning, Created: now, Changed: now})
	if err != nil {
		return r, err
	}
	s.wakeReplays()
	return r, nil
}

// wakeReplays tells who runs replays that there may be one.
func (s *Service) wakeReplays() {
	select {
	case s.replays <- struct{}{}:
	default:
	}
}

// Replays lists all replays, newest first.
func (s *Service) Replays(ctx context.Context) ([]Replay, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechRead); err != nil {
		return nil, err
	}
	return s.store.Replays(ctx)
}

// CancelReplay stops a replay after its current batch. What it stored stays.
func (s *Service) CancelReplay(ctx context.Context, id int64) (Replay, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return Replay{}, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	r, err := s.replay(ctx, id)
	if err != nil || r.State != ReplayRunning {
		return r, err
	}
	r.State, r.Changed = ReplayStopped, s.now()
	return s.store.PutReplay(ctx, r)
}

func (s *Service) replay(ctx context.Context, id int64) (Replay, error) {
	list, err := s.store.Replays(ctx)
	if err != nil {
		return Replay{}, err
	}
	for _, r := range list {
		if r.ID == id {
			return r, nil
		}
	}
	return Replay{}, fault.New(fault.NotFound, "there is no replay %d", id)
}

// runReplays runs the replays that are to be done, the oldest first.
func (s *Service) runReplays(ctx context.Context) {
	for {
		list, err := s.store.Replays(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelError, "reading replays failed", slog.Any("err", err))
			if !pause(ctx, lastRetry) {
				return
			}
			continue
		}
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].State == ReplayRunning {
				s.runReplay(ctx, list[i].ID)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.replays:
		}
	}
}

// runReplay does one replay to its end, or until it is cancelled.
func (s *Service) runReplay(ctx context.Context, id int64) {
	wait, defects := firstRetry, 0
	for ctx.Err() == nil {
		more, err := s.replayBatch(ctx, id, defects)
		switch {
		case err == nil && !more:
			return
		case err == nil:
			wait, defects = firstRetry, 0
		default:
			if broken(err) {
				defects++
			}
			s.log.LogAttrs(ctx, slog.LevelWarn, "a replay failed and is tried again", slog.Int64("replay", id), slog.Any("err", err))
			if !pause(ctx, wait) {
				return
			}
			wait = min(2*wait, lastRetry)
		}
	}
}

// replayBatch does the next messages of a replay; see attempt for defects.
func (s *Service) replayBatch(ctx context.Context, id int64, defects int) (more bool, err error) {
	r, err := s.replay(ctx, id)
	if err != nil || r.State != ReplayRunning {
		return false, err
	}
	b, cursor, err := s.replayed(ctx, r.Cursor, r.Until, r.Device)
	if err != nil {
		return false, err
	}
	if b != nil {
		if err := s.attempt(ctx, b, defects); err != nil {
			return false, err
		}
		r.Messages += int64(len(b.raws))
		r.Failed += int64(len(b.dead))
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	now, err := s.replay(ctx, id) // it may have been cancelled meanwhile
	if err != nil {
		return false, err
	}
	r.State, r.Cursor, r.Changed = now.State, cursor, s.now()
	if cursor >= r.Until && r.State == ReplayRunning {
		r.State = ReplayDone
	}
	f := Finished{Done: cursor, Replay: &r}
	if b != nil {
		f.Dead = b.dead
	}
	return r.State == ReplayRunning, s.store.Finish(ctx, f)
}

// replayed reads and normalizes the next messages; nil when they are of other
// devices. cursor is how far it came.
func (s *Service) replayed(ctx context.Context, after, until int64, device string) (b *batch, cursor int64, err error) {
	maps, err := s.current(ctx)
	if err != nil {
		return nil, after, err
	}
	if !maps.ready() {
		return nil, after, fault.New(fault.Conflict, "a replay needs a device mapping and a FHIR mapping")
	}
	list, err := s.store.Read(ctx, after, maxBatch)
	if err != nil {
		return nil, after, err
	}
	for len(list) > 0 && list[len(list)-1].Offset > until {
		list = list[:len(list)-1]
	}
	if len(list) == 0 {
		return nil, until, nil
	}
	cursor = list[len(list)-1].Offset
	b = s.normalize(list, maps)
	if device != "" {
		b.only(device)
	}
	if len(b.raws) == 0 {
		return nil, cursor, nil
	}
	return b, cursor, nil
}

// only keeps the messages that have a measurement of a device.
func (b *batch) only(device string) {
	keep := map[int]int{}
	out := batch{maps: b.maps}
	for i := range b.list {
		if b.list[i].DeviceID != device {
			continue
		}
		at, ok := keep[b.of[i]]
		if !ok {
			at = len(out.raws)
			keep[b.of[i]] = at
			out.raws = append(out.raws, b.raws[b.of[i]])
		}
		out.list, out.of = append(out.list, b.list[i]), append(out.of, at)
	}
	*b = out
}

// Difference is what a replay would do.
type Difference struct {
	Messages  int          `json:"messages"`
	Created   int          `json:"created"`
	Updated   int          `json:"updated"`
	Unchanged int          `json:"unchanged"`
	Failed    int          `json:"failed"`
	Truncated bool         `json:"truncated,omitempty"` // there were more messages than a dry run looks at
	Changes   []Change     `json:"changes"`
	Errors    []DeadLetter `json:"errors"`
}

// Change is one Observation before and after.
type Change struct {
	ID     string          `json:"id"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after"`
}

// The limits of a dry run.
const (
	dryMessages = 10_000
	dryChanges  = 100
)

type diff struct{ out *Difference }

func (d *diff) add(o *observation, before []byte) {
	switch o.what {
	case created:
		d.out.Created++
	case updated:
		d.out.Updated++
	default:
		d.out.Unchanged++
		return
	}
	if len(d.out.Changes) < dryChanges {
		d.out.Changes = append(d.out.Changes, Change{o.key, before, o.text})
	}
}

// DryRun says what a replay would change, without doing it.
func (s *Service) DryRun(ctx context.Context, q ReplayRange) (Difference, error) {
	out := Difference{Changes: []Change{}, Errors: []DeadLetter{}}
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return out, err
	}
	cursor, until, err := s.bounds(ctx, q)
	if err != nil {
		return out, err
	}
	// The destination is asked on the account of the service.
	inner := auth.WithPrincipal(ctx, auth.Internal("medtech"))
	for seen := 0; cursor < until; seen += maxBatch {
		if seen >= dryMessages {
			out.Truncated = true
			break
		}
		b, next, err := s.replayed(inner, cursor, until, q.Device)
		if err != nil {
			return out, err
		}
		cursor = next
		if b == nil {
			continue
		}
		if err := s.persistBatch(inner, b, &diff{&out}); err != nil {
			return out, err
		}
		out.Messages += len(b.raws)
		out.Failed += len(b.dead)
		for _, l := range b.dead {
			if len(out.Errors) < dryChanges {
				l.Body = nil
				out.Errors = append(out.Errors, l)
			}
		}
	}
	return out, nil
}

// Trial tries mappings on messages; those that are not given are the ones in
// use. Nothing is stored.
func (s *Service) Trial(ctx context.Context, in mapping.Trial) (mapping.Result, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechRead); err != nil {
		return mapping.Result{}, err
	}
	for kind, text := range map[MappingKind]*[]byte{DeviceMapping: &in.Device, FHIRMapping: &in.FHIR} {
		if len(*text) > 0 {
			continue
		}
		m, err := s.store.Mapping(ctx, kind)
		switch {
		case err == nil:
			*text = m.Text
		case !fault.Is(err, fault.NotFound):
			return mapping.Result{}, err
		}
	}
	if len(in.Device) == 0 && len(in.FHIR) == 0 {
		return mapping.Result{}, fault.New(fault.Invalid, "there is no mapping to try: give deviceMapping and fhirMapping, or put them first")
	}
	in.Arrived, in.DeviceSystem = s.now().Truncate(time.Millisecond), s.cfg.DeviceSystem
	return mapping.Validate(in), nil
}
