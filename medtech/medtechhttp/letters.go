package medtechhttp

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/hygeia-health/hygeia/medtech"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// maxPage is the largest page of dead letters.
const maxPage = 1000

// letters lists dead letters, newest first.
func (h *handler) letters(w http.ResponseWriter, r *http.Request, _ string) error {
	q, params := medtech.DeadLetterQuery{Limit: 100}, r.URL.Query()
	for name, values := range params {
		v := values[len(values)-1]
		switch name {
		case "state":
			q.State = medtech.LetterState(v)
			if q.State != medtech.LetterOpen && q.State != medtech.LetterRedriven && q.State != medtech.LetterDiscarded {
				return fault.New(fault.Invalid, "state is open, redriven or discarded")
			}
		case "errorType":
			q.Class = v
		case "before", "limit":
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n <= 0 {
				return fault.New(fault.Invalid, "%s is a number greater than 0", name)
			}
			if name == "before" {
				q.Before = n
			} else {
				q.Limit = int(min(n, maxPage))
			}
		default:
			return fault.New(fault.Invalid, "the parameter %.60q is unknown; there are state, errorType, before and limit", name)
		}
	}
	page, err := h.s.DeadLetters(r.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, struct {
		Value []medtech.DeadLetter `json:"value"`
		Next  string               `json:"nextLink,omitempty"`
	}{page.Letters, h.nextLink(r, params, page.Next)})
}

func (h *handler) nextLink(r *http.Request, params url.Values, before int64) string {
	if before == 0 {
		return ""
	}
	params.Set("before", strconv.FormatInt(before, 10))
	return web.BaseURL(r) + h.opt.BasePath + "/deadletters?" + params.Encode()
}

func (h *handler) letter(w http.ResponseWriter, r *http.Request, text string) error {
	id, err := number(text)
	if err != nil {
		return err
	}
	l, err := h.s.DeadLetter(r.Context(), id)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, l)
}

// editLetter replaces the payload: the body of the request is the message.
func (h *handler) editLetter(w http.ResponseWriter, r *http.Request, text string) error {
	id, err := number(text)
	if err != nil {
		return err
	}
	if err := jsonType(r); err != nil {
		return err
	}
	body, err := h.readBody(r)
	if err != nil {
		return err
	}
	if err := h.s.EditDeadLetter(r.Context(), id, body); err != nil {
		return err
	}
	return h.letter(w, r, text)
}

// selection says which dead letters an operation is about.
type selection struct {
	IDs       []int64 `json:"ids"`
	ErrorType string  `json:"errorType"`
	All       bool    `json:"all"`
}

func (h *handler) selected(r *http.Request) (medtech.DeadLetterQuery, error) {
	var s selection
	if err := h.decode(r, &s); err != nil {
		return medtech.DeadLetterQuery{}, err
	}
	if len(s.IDs) == 0 && s.ErrorType == "" && !s.All {
		return medtech.DeadLetterQuery{}, fault.New(fault.Invalid, `say which dead letters: "ids", "errorType" or "all": true`)
	}
	if len(s.IDs) > maxPage {
		return medtech.DeadLetterQuery{}, fault.New(fault.Invalid, "at most %d ids at once", maxPage)
	}
	return medtech.DeadLetterQuery{IDs: s.IDs, Class: s.ErrorType}, nil
}

func (h *handler) redrive(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := h.selected(r)
	if err != nil {
		return err
	}
	n, err := h.s.Redrive(r.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusAccepted, map[string]int{"redriven": n})
}

func (h *handler) discard(w http.ResponseWriter, r *http.Request, _ string) error {
	q, err := h.selected(r)
	if err != nil {
		return err
	}
	n, err := h.s.Discard(r.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusOK, map[string]int{"discarded": n})
}

// one does something with one open dead letter.
func (h *handler) one(r *http.Request, text string, do func(medtech.DeadLetterQuery) (int, error)) (int, error) {
	id, err := number(text)
	if err != nil {
		return 0, err
	}
	n, err := do(medtech.DeadLetterQuery{IDs: []int64{id}})
	if err == nil && n == 0 {
		var l medtech.DeadLetter
		if l, err = h.s.DeadLetter(r.Context(), id); err == nil {
			err = fault.New(fault.Conflict, "dead letter %d is %s already", id, l.State)
		}
	}
	return n, err
}

func (h *handler) redriveOne(w http.ResponseWriter, r *http.Request, id string) error {
	n, err := h.one(r, id, func(q medtech.DeadLetterQuery) (int, error) { return h.s.Redrive(r.Context(), q) })
	if err != nil {
		return err
	}
	return reply(w, r, http.StatusAccepted, map[string]int{"redriven": n})
}

func (h *handler) discardOne(w http.ResponseWriter, r *http.Request, id string) error {
	_, err := h.one(r, id, func(q medtech.DeadLetterQuery) (int, error) { return h.s.Discard(r.Context(), q) })
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
