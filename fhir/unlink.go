package fhir

import (
	"bytes"
	"context"
	"errors"
	"net/url"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// unlinkedDisplay stands in a Reference that lost its target and had no display.
const unlinkedDisplay = "the resource was deleted"

// deleteUnlinked answers DELETE [base]/Type/id?_hardDelete=true&_remove-references=true,
// an extension of Azure Health Data Services: all versions are removed, and
// every resource that refers to them gets a new version without the reference,
// in one change.
func (s *Service) deleteUnlinked(ctx context.Context, in *Interaction) (*Response, error) {
	op, err := s.deleteOp(in)
	if err != nil {
		return nil, err
	}
	if err := s.mayWrite(ctx, &op); err != nil {
		return nil, err
	}
	change := Change{Ops: []Op{op}}
	defer func() {
		for i := range change.Ops {
			release(&change.Ops[i])
		}
	}()
	sources, err := s.referrers(ctx, in, op.Key)
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for i := range sources {
		put, err := s.unlink(ctx, in, &sources[i], op.Key, asked)
		if err != nil {
			return nil, err
		}
		change.Ops = append(change.Ops, put)
	}
	done, err := s.commit(ctx, &change)
	oe, ok := errors.AsType[*OpError](err)
	switch {
	case ok && oe.Index > 0 && fault.Is(oe.Err, fault.Precondition):
		return nil, ErrStale // somebody changed one of them meanwhile
	case ok:
		return nil, s.refused(in, op, oe.Err)
	case err != nil:
		return nil, err
	}
	return &Response{Status: 204, Outcome: done[0].Outcome, Version: done[0].Version, Seq: done[0].Seq}, nil
}

// referrers finds the current resources that refer to k by a search parameter.
func (s *Service) referrers(ctx context.Context, in *Interaction, k Key) ([]Record, error) {
	as := *in
	as.Strict = true
	q, _, err := s.reg.Parse([]string{k.Type}, nil, url.Values{"_id": {k.ID}, "_revinclude": {"*"}}, "", s.parseOptions(ctx, &as))
	if err != nil {
		return nil, searchError(err)
	}
	q.Count = 1
	page, err := s.store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	if page.NextIncluded != "" {
		return nil, fault.At(fault.TooCostly, "too-costly", "", "more than %d resources refer to %s; nothing was deleted", len(page.Included), k)
	}
	return page.Included, nil
}

// unlink prepares the new version of rec without its references to k.
func (s *Service) unlink(ctx context.Context, in *Interaction, rec *Record, k Key, asked map[string]bool) (Op, error) {
	if !asked[rec.Type] {
		asked[rec.Type] = true
		if err := s.guard.Authorize(ctx, auth.FHIRUpdate); err != nil {
			return Op{}, err // to create is not enough: the resource is there
		}
		if err := s.authorize(ctx, &Interaction{Verb: VerbUpdate, Type: rec.Type}); err != nil {
			return Op{}, err
		}
	}
	h := resource.Header{Type: rec.Type, ID: rec.ID, Version: rec.Version, LastUpdated: rec.Seq.Time()}
	src := resource.AppendResource(nil, h, rec.Stored)
	var d resource.Doc
	if err := d.Parse(src, resource.Options{MaxDepth: maxStoredDepth}); err != nil {
		return Op{}, fault.Wrap("fhir: stored resource", err)
	}
	edits, err := unlinkEdits(nil, src, d.Root(), k.String())
	if err != nil {
		return Op{}, err
	}
	n, err := reparse(d.Root(), edits)
	if err != nil {
		return Op{}, err
	}
	as := Interaction{Verb: VerbUpdate, Method: "PUT", Type: rec.Type, ID: rec.ID, Body: n, Base: in.Base}
	var ws workspace
	op, err := s.prepare(ctx, &as, rec.Key, s.references(&as), &ws)
	if err != nil {
		return Op{}, err
	}
	op.MustExist, op.IfMatch = true, rec.Version
	op.NoHistory = s.cfg.VersioningOf(rec.Type) == NoVersion
	return op, s.mayWrite(ctx, &op)
}

// unlinkEdits appends the edits that take the references to target, and to its
// versions, out of n. They come in the order of the text.
func unlinkEdits(edits []resource.Edit, src []byte, n resource.Node, target string) ([]resource.Edit, error) {
	var err error
	for c := n.First(); c.Valid() && err == nil; c = c.Next() {
		switch {
		case c.Kind() == resource.Object || c.Kind() == resource.Array:
			edits, err = unlinkEdits(edits, src, c, target)
		case c.Kind() == resource.String && c.KeyIs("reference"):
			rest, ok := bytes.CutPrefix(c.Bytes(), []byte(target))
			if !ok || len(rest) > 0 && !bytes.HasPrefix(rest, []byte("/_history/")) {
				continue
			}
			var e resource.Edit
			if e, err = unlinkEdit(src, n, c); err == nil {
				edits = append(edits, e)
			}
		}
	}
	return edits, err
}

// unlinkEdit replaces the member reference of a Reference by a display, or
// takes it out with one comma when there is a display already.
func unlinkEdit(src []byte, ref, member resource.Node) (resource.Edit, error) {
	start, end := member.Offsets()
	key := bytes.LastIndex(src[:start], []byte(`"reference"`))
	if key < 0 || string(bytes.TrimSpace(src[key+len(`"reference"`):start])) != ":" {
		return resource.Edit{}, fault.Wrap("fhir: unlink", errors.New("the name of a reference is not where it should be"))
	}
	if !ref.Get("display").Valid() {
		return resource.Edit{Start: key, End: end, With: []byte(`"display":"` + unlinkedDisplay + `"`)}, nil
	}
	if after := bytes.TrimLeft(src[end:], " \t\r\n"); after[0] == ',' {
		return resource.Edit{Start: key, End: len(src) - len(after) + 1}, nil
	}
	return resource.Edit{Start: len(bytes.TrimRight(src[:key], " \t\r\n")) - 1, End: end}, nil
}
