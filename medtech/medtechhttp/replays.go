package medtechhttp

import (
	"net/http"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// replayRequest is the body of POST /replays.
type replayRequest struct {
	FromOffset int64     `json:"fromOffset"`
	ToOffset   int64     `json:"toOffset"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Device     string    `json:"device"`
	DryRun     bool      `json:"dryRun"`
}

// startReplay processes kept messages again. An empty body means all of them.
func (h *handler) startReplay(w http.ResponseWriter, r *http.Request, _ string) error {
	var in replayRequest
	if err := h.decode(r, &in); err != nil {
		return err
	}
	switch {
	case in.FromOffset < 0 || in.ToOffset < 0:
		return fault.New(fault.Invalid, "offsets are not negative")
	case in.FromOffset > 0 && !in.From.IsZero() || in.ToOffset > 0 && !in.To.IsZero():
		return fault.New(fault.Invalid, "a bound is an offset or a time, not both")
	}
	q := medtech.ReplayRange{FromOffset: in.FromOffset, ToOffset: in.ToOffset, From: in.From, To: in.To, Device: in.Device}
	if in.DryRun {
		d, err := h.s.DryRun(r.Context(), q)
		if err != nil {
			return err
		}
		return reply(w, r, http.StatusOK, d)
	}
	rp, err := h.s.StartReplay(r.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusAccepted, rp)
}

func (h *handler) replays(w http.ResponseWriter, r *http.Request, _ string) error {
	list, err := h.s.Replays(r.Context())
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, map[string]any{"value": list})
}

func (h *handler) cancelReplay(w http.ResponseWriter, r *http.Request, text string) error {
	id, err := number(text)
	if err != nil {
		return err
	}
	rp, err := h.s.CancelReplay(r.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, rp)
}
