package fhirsql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/search"
)

// explain says in words how the search was answered. Parameters are named
// without their values.
func (r *run) explain(took time.Duration) []string {
	if len(r.plans) == 0 {
		return []string{"nothing that is stored can match"}
	}
	var out []string
	for _, pl := range r.plans {
		out = append(out, pl.explain()...)
	}
	return append(out, fmt.Sprintf("looked at %d candidates for %d matches in %.1f ms", r.seen, len(r.page.Records), float64(took.Microseconds())/1000))
}

// explain describes a plan: what is walked, what was estimated, what tests each
// candidate.
func (pl *plan) explain() []string {
	walk := pl.driver.name
	if pl.driver.whole {
		walk += " resources"
	}
	line := pl.typ + ": walks " + walk
	if f := pl.fallback; f != nil {
		line += ", or " + f.driver.name + " and sorts it where matches are sparse"
	}
	if w := pl.listed; w != nil {
		line += " and sorts it, after the beginning of " + w.driver.name + " where a page is expected there"
	}
	out := []string{line}
	filters := pl.filters
	if pl.fallback != nil {
		filters = pl.fallback.filters
	}
	all := append([]*pred{pl.driver}, filters...)
	if pl.fallback != nil {
		all[0] = pl.fallback.driver
	}
	for _, p := range all {
		switch {
		case p.known:
			out = append(out, fmt.Sprintf("%s: %s has %d rows", pl.typ, p.name, p.rows))
		case p.rows > 0:
			out = append(out, fmt.Sprintf("%s: %s has %d rows or more", pl.typ, p.name, p.rows))
		}
	}
	if len(pl.filters) > 0 {
		out = append(out, pl.typ+": tests each by "+names(pl.filters))
	}
	if len(pl.post) > 0 {
		var list []string
		for _, cl := range pl.post {
			list = append(list, cl.Name)
		}
		out = append(out, pl.typ+": the bodies decide about "+strings.Join(list, ", "))
	}
	return out
}

func names(list []*pred) string {
	var out []string
	for _, p := range list {
		out = append(out, p.name)
	}
	return strings.Join(out, ", ")
}

// tooCostly is a search that is given up, with the clause that leaves the most.
func (r *run) tooCostly(why string) error {
	widest := ""
	for _, pl := range r.plans {
		d := pl.driver
		if pl.fallback != nil {
			d = pl.fallback.driver
		}
		switch {
		case d.whole:
			widest = fmt.Sprintf("; no parameter narrows the search for %s down", pl.typ)
		case d.rows > 0 && widest == "":
			widest = fmt.Sprintf("; %s alone leaves %d or more of type %s", d.name, d.rows, pl.typ)
		}
		if len(pl.post) > 0 {
			widest += fmt.Sprintf("; %s is read from each of them", pl.post[0].Name)
		}
	}
	return fault.At(fault.TooCostly, "too-costly", "", "%s%s: add a more selective parameter", why, widest)
}

// limited turns the end of the time that a search may take into an answer.
func (r *run) limited(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || !errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return r.tooCostly(fmt.Sprintf("the search takes more than %s", r.s.opt.SearchTime))
}

// slow logs a search that took long, by the names of its parameters.
func (r *run) slow(took time.Duration) {
	if r.s.opt.Log == nil || took < r.s.opt.Slow {
		return
	}
	var params []string
	types, where := r.q.Types, r.q.Where
	if c := r.q.Contained; c != nil {
		params, types, where = []string{"_contained"}, []string{c.Type}, c.Where
	}
	for _, cl := range where {
		if !slices.Contains(params, cl.Name) {
			params = append(params, cl.Name)
		}
	}
	var sorts []string
	for _, k := range r.q.Sort {
		sorts = append(sorts, sortName(k))
	}
	r.s.opt.Log.LogAttrs(r.ctx, slog.LevelWarn, "slow search",
		slog.String("types", strings.Join(types, ",")), slog.String("params", strings.Join(params, ",")),
		slog.String("sort", strings.Join(sorts, ",")), slog.Int64("ms", took.Milliseconds()), slog.Int("candidates", r.seen))
}

func sortName(k search.Sort) string {
	if k.Param != nil {
		return k.Param.Code
	}
	return k.Special
}
