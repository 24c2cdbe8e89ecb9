package medtech

import (
	"context"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// health is what the stages say about themselves.
type health struct {
	mu     sync.Mutex
	errs   map[Stage]error
	source map[string]error
}

func (h *health) set(stage Stage, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.errs == nil {
		h.errs = map[Stage]error{}
	}
	if err == nil {
		delete(h.errs, stage)
	} else {
		h.errs[stage] = err
	}
}

// SetSource notes how a source of messages is; nil is well.
func (s *Service) SetSource(name string, err error) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if s.health.source == nil {
		s.health.source = map[string]error{}
	}
	s.health.source[name] = err
}

// ForgetSource is called when another node has the source.
func (s *Service) ForgetSource(name string) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	delete(s.health.source, name)
}

// Status is the state of a service.
type Status struct {
	Messages int64         `json:"messages"` // offset of the newest one
	Done     int64         `json:"processed"`
	First    int64         `json:"oldestKept"`
	Lag      int64         `json:"lag"` // messages that wait
	Oldest   *time.Time    `json:"oldestWaiting,omitempty"`
	LagTime  float64       `json:"lagSeconds"`
	Open     int64         `json:"openDeadLetters"`
	Device   int64         `json:"deviceMappingVersion"`
	FHIR     int64         `json:"fhirMappingVersion"`
	Health   []HealthCheck `json:"health"`
}

// HealthCheck is one stage or source.
type HealthCheck struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, waiting or failing
	Reason string `json:"reason,omitempty"`
}

// Status returns how the service does.
func (s *Service) Status(ctx context.Context) (Status, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechRead); err != nil {
		return Status{}, err
	}
	pos, err := s.store.Position(ctx)
	if err != nil {
		return Status{}, err
	}
	maps, err := s.current(ctx)
	if err != nil {
		return Status{}, err
	}
	last, done := max(pos.Last, s.last.Load()), max(pos.Done, s.done.Load())
	out := Status{Messages: last, Done: done, First: pos.First, Lag: last - done, Open: pos.Open, Device: maps.deviceVersion, FHIR: maps.fhirVersion}
	if out.Lag > 0 && !pos.Pending.IsZero() {
		out.Oldest = &pos.Pending
		out.LagTime = s.now().Sub(pos.Pending).Seconds()
	}
	out.Health = s.checks(maps)
	return out, nil
}

func (s *Service) checks(maps *compiled) []HealthCheck {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	var out []HealthCheck
	for _, st := range []Stage{StageNormalize, StageFHIR} {
		c := HealthCheck{Name: string(st), Status: "ok"}
		switch err := s.health.errs[st]; {
		case err != nil:
			c.Status, c.Reason = "failing", fault.From(err).Msg
		case st == StageNormalize && maps.device == nil:
			c.Status, c.Reason = "waiting", "there is no device mapping"
		case maps.fhir == nil:
			c.Status, c.Reason = "waiting", "there is no FHIR mapping"
		}
		out = append(out, c)
	}
	for name, err := range s.health.source {
		c := HealthCheck{Name: "Ingestion:" + name, Status: "ok"}
		if err != nil {
			c.Status, c.Reason = "failing", fault.From(err).Msg
		}
		out = append(out, c)
	}
	return out
}

// Check returns nil when the service can take messages.
func (s *Service) Check(ctx context.Context) error { return s.store.Check(ctx) }

// Lag returns how many messages wait.
func (s *Service) Lag() int64 { return max(s.last.Load()-s.done.Load(), 0) }
