package medtechhttp

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/fault"
)

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// getMapping answers with the document as it was put.
func (h *handler) getMapping(kind medtech.MappingKind) serve {
	return func(w http.ResponseWriter, r *http.Request, _ string) error {
		m, err := h.s.Mapping(r.Context(), kind)
		if err != nil {
			return err
		}
		w.Header().Set("ETag", etag(m.Version))
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		http.ServeContent(w, r, "", m.Changed, bytes.NewReader(m.Text))
		return nil
	}
}

// putMapping replaces the document; If-Match makes it depend on the version.
func (h *handler) putMapping(kind medtech.MappingKind) serve {
	return func(w http.ResponseWriter, r *http.Request, _ string) error {
		if err := jsonType(r); err != nil {
			return err
		}
		text, err := h.readBody(r)
		if err != nil {
			return err
		}
		if err := h.ifMatch(r, kind); err != nil {
			return err
		}
		m, problems, err := h.s.PutMapping(r.Context(), kind, text)
		if err != nil {
			return err
		}
		status := http.StatusOK
		if m.Version == 1 {
			status = http.StatusCreated
		}
		w.Header().Set("ETag", etag(m.Version))
		if problems == nil {
			problems = mapping.Problems{}
		}
		return reply(w, r, status, struct {
			Version  int64            `json:"version"`
			Changed  time.Time        `json:"changed"`
			Warnings mapping.Problems `json:"warnings"`
		}{m.Version, m.Changed, problems})
	}
}

func (h *handler) ifMatch(r *http.Request, kind medtech.MappingKind) error {
	want := r.Header.Get("If-Match")
	if want == "" {
		return nil
	}
	m, err := h.s.Mapping(r.Context(), kind)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	for tag := range strings.SplitSeq(want, ",") {
		if tag = strings.TrimSpace(tag); m.Version > 0 && (tag == "*" || tag == etag(m.Version)) {
			return nil
		}
	}
	return fault.New(fault.Precondition, "the mapping has version %d now", m.Version)
}
