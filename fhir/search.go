package fhir

import (
	"context"
	"errors"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// OpIncludes is the operation that goes on with the included resources of a
// page of a search: what the link "related" leads to.
const OpIncludes = "includes"

// search answers GET [base]/Type?.., GET [base]?.. and compartment searches (R4
// section 3.1.1). Parameters that are not understood are errors when the client
// asked for strict handling and warnings otherwise; never are they dropped in silence.
func (s *Service) search(ctx context.Context, in *Interaction) (*Response, error) {
	q, res, err := s.query(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.Operation == OpIncludes && q.IncludeAfter == "" {
		return nil, fault.At(fault.Invalid, "required", "", "$includes needs the parameter includesCt of a related link")
	}
	if err := s.restrict(ctx, q); err != nil {
		return nil, err
	}
	if who := auth.From(ctx); who != nil {
		q.Owner = who.ID
	}
	if q.Explain && q.Access != nil {
		return nil, fault.At(fault.Forbidden, "forbidden", "", "_explain tells about resources that the token may not see")
	}
	page, err := s.store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.Access != nil {
		if page.Records, err = s.filter(ctx, q.Access, page.Records); err != nil {
			return nil, err
		}
		if page.Included, err = s.filter(ctx, q.Access, page.Included); err != nil {
			return nil, err
		}
	}
	if page.NextIncluded != "" && s.cfg.Compat == CompatAHDS {
		res.Warnings = append(res.Warnings, search.Warning{Code: "incomplete", Message: "the page does not have all included resources; a link leads to the others"})
	}
	if q.IncludeAfter != "" { // further included resources of a page that was sent
		page.Records, page.Next, page.Total = nil, "", -1
	}
	out := &Response{Status: 200, Page: page, Query: q, Dropped: res.Warnings, Used: res.Used}
	if q.Contained != nil && q.Contained.Alone {
		out.Parts, err = s.parts(q, page.Records)
	}
	return out, err
}

// parts returns what of the containers of a page is the answer: the contained
// resources that match, and the resource itself where it does.
func (s *Service) parts(q *search.Query, page []Record) ([]Part, error) {
	out := []Part{}
	for i := range page {
		rec := &page[i]
		var w sight
		w.text = resource.AppendResource(nil, resource.Header{Type: rec.Type, ID: rec.ID}, rec.Stored)
		if err := w.doc.Parse(w.text, resource.Options{MaxDepth: maxStoredDepth}); err != nil {
			return nil, fault.Wrap("fhir: stored resource", err)
		}
		if rec.Type == q.Contained.Type && !q.Contained.Only {
			if err := s.reg.Extract(w.doc.Root(), nil, &w.values); err != nil {
				return nil, fault.Wrap("fhir: extract "+rec.String(), err)
			}
			own := &search.Query{Where: q.Contained.Where}
			if search.Match(own, search.Subject{Type: rec.Type, ID: rec.ID, Values: &w.values, Doc: w.doc.Root}, nil) {
				out = append(out, Part{Container: rec})
			}
		}
		q.Contained.Find(w.doc.Root(), func(n resource.Node) bool {
			out = append(out, Part{Container: rec, ID: n.Get("id").Text(), Resource: n})
			return true
		})
	}
	return out, nil
}

// query turns the parameters of in into a Query.
func (s *Service) query(ctx context.Context, in *Interaction) (*search.Query, *search.Result, error) {
	var types []string
	var within *search.CompartmentRef
	switch {
	case in.Compartment != "":
		var err error
		if types, within, err = s.compartment(in); err != nil {
			return nil, nil, err
		}
	case in.Type != "":
		if err := knownType(in.Type); err != nil {
			return nil, nil, err
		}
		types = []string{in.Type}
	}
	opt := s.parseOptions(ctx, in)
	opt.Contained = s.cfg.Compat != CompatAHDS
	q, res, err := s.reg.Parse(types, within, in.Params, in.RawQuery, opt)
	if err != nil {
		return nil, nil, searchError(err)
	}
	return q, res, nil
}

// compartment returns the types and the restriction of [base]/Patient/id/Observation
// and [base]/Patient/id/* (R4 section 2.37).
func (s *Service) compartment(in *Interaction) ([]string, *search.CompartmentRef, error) {
	if _, err := keyOf(in); err != nil {
		return nil, nil, err
	}
	var types []string
	if in.Compartment != "*" {
		if err := knownType(in.Compartment); err != nil {
			return nil, nil, err
		}
		types = []string{in.Compartment}
	}
	c, err := s.reg.Compartment(in.Type, in.ID, types)
	if err != nil {
		return nil, nil, searchError(err)
	}
	c.Self = c.Self && s.cfg.Compat != CompatAHDS
	return types, c, nil
}

func (s *Service) parseOptions(ctx context.Context, in *Interaction) search.ParseOptions {
	ahds := s.cfg.Compat == CompatAHDS
	return search.ParseOptions{
		Strict: in.Strict, Base: in.Base, Now: s.now(),
		DefaultCount: s.cfg.DefaultCount, MaxCount: s.cfg.MaxCount,
		DateOverlap: ahds, NumberExact: ahds, AHDS: ahds, Terms: terms{ctx, s}, Partial: in.Partial,
	}
}

// searchError gives an error of the search language the kind of the platform.
func searchError(err error) error {
	e, ok := errors.AsType[*search.Error](err)
	if !ok {
		return fault.Wrap("fhir: search", err)
	}
	kind := fault.Invalid
	if e.Code == "too-costly" {
		kind = fault.TooCostly
	}
	msg := e.Msg
	if e.Param != "" && !strings.Contains(msg, e.Param) {
		msg = e.Param + ": " + msg
	}
	return fault.At(kind, e.Code, "", "%s", msg)
}
