package fhir

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// condition is what the criteria of an interaction found, and the guard that
// repeats the question inside the transaction.
type condition struct {
	key   Key     // the resource to write
	found *Record // the one match, if there is one
	guard Guard
}

// controls are the parameters beside the criteria of a conditional interaction.
var controls = []string{"_hardDelete", "hardDelete", "_meta-history", "_format", "_pretty", "_summary"}

// criteria parses the criteria of a condition on one type.
func (s *Service) criteria(ctx context.Context, in *Interaction, params url.Values, raw string) (*search.Query, error) {
	q, err := s.selection(ctx, in, params, raw)
	if err == nil && len(q.Includes) > 0 {
		return nil, selectsNothing(in, "_include and _revinclude have")
	}
	return q, err
}

func selectsNothing(in *Interaction, what string) error {
	return fault.At(fault.Invalid, "not-supported", "", "the condition on %s has a parameter that selects nothing: %s no place in it", in.Type, what)
}

// selection parses criteria that may have includes. They are always strict: a
// parameter that is not understood, or has no value, would match too much.
func (s *Service) selection(ctx context.Context, in *Interaction, params url.Values, raw string) (*search.Query, error) {
	rest := url.Values{}
	for name, vals := range params {
		rest[name] = vals
	}
	for _, c := range controls {
		rest.Del(c)
	}
	for name, vals := range rest {
		for _, v := range vals {
			if strings.TrimSpace(v) == "" {
				return nil, s.vague(in, "required", "its parameter "+clip(name)+" has no value")
			}
		}
	}
	opt := s.parseOptions(ctx, in)
	opt.Strict = true
	q, _, err := s.reg.Parse([]string{in.Type}, nil, rest, raw, opt)
	if e, ok := errors.AsType[*search.Error](err); ok && e.Code == "not-supported" && !e.Modifier {
		return nil, s.vague(in, e.Code, e.Msg)
	}
	if err != nil {
		return nil, searchError(err)
	}
	if len(q.Where) == 0 {
		return nil, s.vague(in, "required", "it has no search criteria")
	}
	if len(q.Sort) > 0 || q.After != "" || q.IncludeAfter != "" {
		return nil, selectsNothing(in, "_sort and page tokens have")
	}
	q.Count, q.Total, q.Sort, q.After = 2, search.TotalNone, nil, ""
	return q, nil
}

// vague refuses criteria that would match more than was meant. Azure Health Data
// Services takes that for a precondition that fails when a delete or a patch has them.
func (s *Service) vague(in *Interaction, code, why string) error {
	kind := fault.Invalid
	if s.cfg.Compat == CompatAHDS && (in.Verb == VerbDelete || in.Verb == VerbPatch) {
		kind = fault.Precondition
	}
	return fault.At(kind, code, "", "the condition on %s is not selective enough: %s", in.Type, why)
}

// criteriaText parses criteria that came as text, in a header or a Bundle entry.
func (s *Service) criteriaText(ctx context.Context, in *Interaction, text string) (*search.Query, error) {
	text = strings.TrimPrefix(text, "?")
	if typ, rest, ok := strings.Cut(text, "?"); ok {
		if typ != in.Type {
			return nil, fault.At(fault.Invalid, "value", "", "the condition %q is not about %s", clip(text), in.Type)
		}
		text = rest
	}
	params, err := search.ParseQuery(text)
	if err != nil {
		return nil, fault.At(fault.Invalid, "value", "", "the condition %q is not a query: %v", clip(text), err)
	}
	return s.criteria(ctx, in, params, text)
}

// matches runs q and returns what it found with the guard that pins it.
func (s *Service) matches(ctx context.Context, q *search.Query) ([]Record, Guard, error) {
	page, g, err := s.matchPage(ctx, q)
	if err != nil {
		return nil, Guard{}, err
	}
	return page.Records, g, nil
}

// matchPage is matches with what the includes of q add.
func (s *Service) matchPage(ctx context.Context, q *search.Query) (*Page, Guard, error) {
	if err := s.restrict(ctx, q); err != nil {
		return nil, Guard{}, err
	}
	page, err := s.store.Search(ctx, q)
	if err != nil {
		return nil, Guard{}, err
	}
	g := Guard{Query: q}
	for i := range min(len(page.Records), 2) {
		g.IDs = append(g.IDs, page.Records[i].Key)
	}
	return page, g, nil
}

// conditionalCreate looks for the resource that If-None-Exist describes (R4 section 3.1.0.8.1).
func (s *Service) conditionalCreate(ctx context.Context, in *Interaction) (condition, error) {
	if strings.TrimSpace(in.IfNoneExist) == "" {
		return condition{}, fault.At(fault.Invalid, "required", "", "If-None-Exist must not be empty")
	}
	q, err := s.criteriaText(ctx, in, in.IfNoneExist)
	if err != nil {
		return condition{}, err
	}
	recs, g, err := s.matches(ctx, q)
	if err != nil {
		return condition{}, err
	}
	switch len(recs) {
	case 0:
		return condition{guard: g}, nil
	case 1:
		return condition{key: recs[0].Key, found: &recs[0], guard: g}, nil
	}
	return condition{}, severalMatches(in, in.IfNoneExist)
}

// conditionalUpdate finds the resource that an update by criteria means (R4 section 3.1.0.4.3).
func (s *Service) conditionalUpdate(ctx context.Context, in *Interaction) (condition, error) {
	q, err := s.criteria(ctx, in, in.Params, in.RawQuery)
	if err != nil {
		return condition{}, err
	}
	id := in.Body.Get("id")
	if id.Valid() && (id.Kind() != resource.String || !ValidID(id.Text())) {
		return condition{}, fault.At(fault.Invalid, "value", in.Body.Path()+".id", "%q is not a valid id", clip(id.Text()))
	}
	recs, g, err := s.matches(ctx, q)
	if err != nil {
		return condition{}, err
	}
	switch {
	case len(recs) > 1:
		return condition{}, severalMatches(in, in.RawQuery)
	case len(recs) == 1 && id.Valid() && id.Text() != recs[0].ID:
		return condition{}, fault.At(fault.Invalid, "value", in.Body.Path()+".id",
			"the id %q of the body is not the id %q of the resource that matches", id.Text(), recs[0].ID)
	case len(recs) == 1:
		return condition{key: recs[0].Key, found: &recs[0], guard: g}, nil
	case id.Valid():
		return condition{key: Key{in.Type, id.Text()}, guard: g}, nil
	}
	return condition{key: Key{in.Type, s.newID()}, guard: g}, nil
}

// conditionalDelete makes the operations of a delete by criteria (R4 section
// 3.1.0.7.1). Without _count more than one match is refused; with it up to so
// many are deleted, each pinned to the version that matched. What _include and
// _revinclude add to the matches is deleted with them.
func (s *Service) conditionalDelete(ctx context.Context, in *Interaction) ([]Op, []Guard, error) {
	if err := knownType(in.Type); err != nil {
		return nil, nil, err
	}
	most, err := deleteCount(in)
	if err != nil {
		return nil, nil, err
	}
	params := url.Values{}
	for name, vals := range in.Params {
		if name != "_count" {
			params[name] = vals
		}
	}
	q, err := s.selection(ctx, in, params, "")
	if err != nil {
		return nil, nil, err
	}
	if most > 0 {
		q.Count = most
	}
	page, g, err := s.matchPage(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	guards := []Guard{g}
	switch {
	case most > 0:
		guards = nil // the versions are pinned, and one match more or less makes no difference
	case len(page.Records) > 1:
		return nil, nil, severalMatches(in, in.RawQuery)
	}
	if page.NextIncluded != "" {
		return nil, nil, fault.At(fault.TooCostly, "too-costly", "", "the includes of this delete find more than %d resources; nothing was deleted", len(page.Included))
	}
	if err := s.mayDeleteIncluded(ctx, in, page.Included); err != nil {
		return nil, nil, err
	}
	ops := make([]Op, 0, len(page.Records)+len(page.Included))
	for _, recs := range [][]Record{page.Records, page.Included} {
		for i := range recs {
			op := s.deletion(in, recs[i].Key)
			op.IfMatch = recs[i].Version
			ops = append(ops, op)
		}
	}
	return ops, guards, nil
}

// mayDeleteIncluded asks for every type that an include brought into a delete.
func (s *Service) mayDeleteIncluded(ctx context.Context, in *Interaction, included []Record) error {
	asked := map[string]bool{in.Type: true}
	for i := range included {
		typ := included[i].Type
		if asked[typ] {
			continue
		}
		asked[typ] = true
		if err := s.authorize(ctx, &Interaction{Verb: VerbDelete, Type: typ, HardDelete: in.HardDelete}); err != nil {
			return err
		}
	}
	return nil
}

// maxDeleted is the largest _count of a conditional delete.
const maxDeleted = 100

// deleteCount returns _count of a conditional delete, 0 when it is absent.
func deleteCount(in *Interaction) (int, error) {
	vals, ok := in.Params["_count"]
	if !ok {
		return 0, nil
	}
	if len(vals) == 1 {
		if n, err := strconv.Atoi(vals[0]); err == nil && n >= 1 && n <= maxDeleted {
			return n, nil
		}
	}
	return 0, fault.At(fault.Invalid, "value", "", "_count of a conditional delete must be a number from 1 to %d", maxDeleted)
}

func severalMatches(in *Interaction, criteria string) error {
	return fault.At(fault.Precondition, "multiple-matches", "", "more than one %s matches the condition %q", in.Type, clip(criteria))
}
