package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// check is one line of /readyz.
type check struct {
	Name   string  `json:"name"`
	Status string  `json:"status"` // ok or failed
	Millis float64 `json:"ms"`
}

// readyTime bounds all checks together: a probe that hangs says less than one that fails.
const readyTime = 5 * time.Second

// healthz says that the process answers.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether requests will succeed. What failed is named; why is in
// the log, because the answer needs no permission to read.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	out := struct {
		Status string  `json:"status"`
		Checks []check `json:"checks"`
	}{Status: "ok"}
	run := func(name string, f func(context.Context) error) {
		begin := time.Now()
		err := f(ctx)
		c := check{Name: name, Status: "ok", Millis: float64(time.Since(begin).Microseconds()) / 1000}
		if err != nil {
			c.Status, out.Status = "failed", "failed"
			s.log.LogAttrs(ctx, slog.LevelError, "check failed", slog.String("check", name), slog.Any("err", err))
		}
		out.Checks = append(out.Checks, c)
	}
	run("server", func(context.Context) error {
		if s.stopping.Load() {
			return errors.New("shutting down")
		}
		return nil
	})
	run("data", s.checkData)
	if s.trail != nil && s.cfg.Audit.OnFailure == "refuse" {
		run("audit", func(context.Context) error { return s.trail.log.Ready() })
	}
	if s.shared != nil {
		run("database", s.shared.Check)
	}
	for _, sv := range s.services.list() {
		run("service "+sv.ref.String(), sv.check)
	}
	status := http.StatusOK
	if out.Status != "ok" {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, out)
}

// checkData writes into the data folder, as a full or read-only disk does not
// let it.
func (s *Server) checkData(context.Context) error {
	path := filepath.Join(s.cfg.Data, ".ready")
	if err := os.WriteFile(path, []byte("ready\n"), 0o600); err != nil {
		return err
	}
	return os.Remove(path)
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // cannot happen: nothing but strings and numbers
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client is gone when this fails
}
