package fhir

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// historyCursor is the parameter that carries the position of the next page.
const historyCursor = "ct"

// history answers GET [base]/Type/id/_history, [base]/Type/_history and
// [base]/_history (R4 section 3.1.0.10), newest first.
func (s *Service) history(ctx context.Context, in *Interaction) (*Response, error) {
	if in.Type != "" {
		if err := knownType(in.Type); err != nil {
			return nil, err
		}
	}
	q, used, dropped, err := s.historyQuery(in)
	if err != nil {
		return nil, err
	}
	if in.ID != "" {
		k, err := keyOf(in)
		if err != nil {
			return nil, err
		}
		cur, err := s.store.Read(ctx, k)
		if err != nil {
			return nil, notFound(err, k)
		}
		if err := s.hide(ctx, &cur); err != nil {
			return nil, err
		}
	}
	a, err := s.access(ctx, auth.PermRead)
	if err != nil {
		return nil, err
	}
	if a != nil {
		if q.Count == 0 {
			return nil, fault.At(fault.Forbidden, "forbidden", "", "a history cannot be counted with a token that sees a part of it")
		}
		q.Total = false
	}
	page, err := s.store.History(ctx, q)
	if err != nil {
		return nil, err
	}
	if a != nil {
		if page.Records, err = s.filter(ctx, a, page.Records); err != nil {
			return nil, err
		}
	}
	return &Response{Status: 200, Page: page, History: &q, Used: used, Dropped: dropped}, nil
}

// historyQuery reads the parameters of a history.
func (s *Service) historyQuery(in *Interaction) (q HistoryQuery, used url.Values, dropped []search.Warning, err error) {
	q = HistoryQuery{Type: in.Type, ID: in.ID, Count: s.cfg.DefaultCount}
	used = url.Values{}
	for _, name := range slices.Sorted(maps.Keys(in.Params)) {
		vals := in.Params[name]
		if len(vals) == 0 {
			continue
		}
		switch name {
		case "_format", "_pretty", "_elements":
			continue // shape the answer; the edge reads them
		}
		known, warn, err := s.historyParam(&q, name, vals)
		if err != nil {
			return q, nil, nil, err
		}
		if warn != nil {
			dropped = append(dropped, *warn)
		}
		if known {
			used[name] = vals
			continue
		}
		w := search.Warning{Param: name, Code: "not-supported", Message: "the parameter " + clip(name) + " is not supported by a history and was ignored"}
		if in.Strict {
			return q, nil, nil, fault.At(fault.Invalid, w.Code, "", "the parameter %s is not supported by a history", clip(name))
		}
		dropped = append(dropped, w)
	}
	if _, asked := in.Params["_total"]; !asked && q.After == "" {
		q.Total = true // of the first page only: it is the same on the others
	}
	return q, used, dropped, nil
}

// historyParam reads one parameter.
func (s *Service) historyParam(q *HistoryQuery, name string, vals []string) (known bool, warn *search.Warning, err error) {
	if len(vals) > 1 {
		return false, nil, fault.At(fault.Invalid, "value", "", "%s may be given only once", name)
	}
	v := vals[0]
	switch name {
	case "_since":
		q.Since, err = parseInstant(name, v)
	case "_before":
		if q.Before, err = parseInstant(name, v); err == nil && q.Before.After(s.now()) {
			err = fault.At(fault.Invalid, "value", "", "_before must not lie in the future")
		}
	case "_count":
		warn, err = s.historyCount(q, v)
	case "_sort":
		switch v {
		case "_lastUpdated":
			q.Ascending = true
		case "-_lastUpdated":
			q.Ascending = false
		default:
			err = fault.At(fault.Invalid, "value", "", "_sort of a history must be _lastUpdated or -_lastUpdated, not %q", clip(v))
		}
	case "_summary":
		switch v {
		case "count":
			q.Count, q.Total = 0, true
		case "true", "text", "data", "false":
		default:
			err = fault.At(fault.Invalid, "value", "", "_summary must be true, text, data, count or false, not %q", clip(v))
		}
	case "_total":
		switch v {
		case "accurate", "estimate":
			q.Total = true
		case "none":
		default:
			err = fault.At(fault.Invalid, "value", "", "_total must be none, estimate or accurate, not %q", clip(v))
		}
	case historyCursor:
		q.After = v
	default:
		return false, nil, nil
	}
	return true, warn, err
}

// historyCount reads _count; 0 asks for the number of versions only.
func (s *Service) historyCount(q *HistoryQuery, v string) (*search.Warning, error) {
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < 0 {
		return nil, fault.At(fault.Invalid, "value", "", "_count must be a number, not %q", clip(v))
	}
	q.Count = n
	if n == 0 {
		q.Total = true
	}
	if n <= s.cfg.MaxCount {
		return nil, nil
	}
	q.Count = s.cfg.MaxCount
	return &search.Warning{Param: "_count", Code: "too-costly",
		Message: "_count was reduced to the maximum of " + strconv.Itoa(s.cfg.MaxCount)}, nil
}
