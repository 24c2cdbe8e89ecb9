package fhir

import (
	"context"
	"encoding/base64"
	"errors"
	"mime"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/patch"
	"github.com/hygeia-health/hygeia/spec/profile"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// TypeJSONPatch is the media type of JSON Patch (RFC 6902 section 6).
const TypeJSONPatch = "application/json-patch+json"

// patch answers PATCH [base]/Type/id and PATCH [base]/Type?criteria (R4 section
// 3.1.0.6). It never creates: what is to be patched must be there. A patch that
// changes nothing makes no new version.
func (s *Service) patch(ctx context.Context, in *Interaction) (*Response, error) {
	if err := knownType(in.Type); err != nil {
		return nil, err
	}
	p, err := parsePatch(in.Body)
	if err != nil {
		return nil, err
	}
	return again(ctx, func() (*Response, error) {
		k, guards, err := s.patchKey(ctx, in)
		if err != nil {
			return nil, err
		}
		done, err := s.turns.take(ctx, k)
		if err != nil {
			return nil, err
		}
		defer done()
		var ws workspace
		op, err := s.preparePatch(ctx, in, p, k, s.references(in), &ws)
		if err != nil {
			return nil, err
		}
		return s.put(ctx, in, op, guards)
	})
}

// patchKey returns the key of the resource that a patch is about.
func (s *Service) patchKey(ctx context.Context, in *Interaction) (Key, []Guard, error) {
	if !in.Conditional {
		k, err := keyOf(in)
		return k, nil, err
	}
	q, err := s.criteria(ctx, in, in.Params, in.RawQuery)
	if err != nil {
		return Key{}, nil, err
	}
	recs, g, err := s.matches(ctx, q)
	switch {
	case err != nil:
		return Key{}, nil, err
	case len(recs) == 0:
		return Key{}, nil, fault.At(fault.NotFound, "not-found", "", "no %s matches the condition %q", in.Type, clip(in.RawQuery))
	case len(recs) > 1:
		return Key{}, nil, severalMatches(in, in.RawQuery)
	}
	return recs[0].Key, []Guard{g}, nil
}

// preparePatch applies a patch to the current version and prepares the result
// like an update, bound to the version that was patched.
func (s *Service) preparePatch(ctx context.Context, in *Interaction, p *patch.Patch, k Key, refs *references, ws *workspace) (Op, error) {
	cur, err := s.patchable(ctx, in, k)
	if err != nil {
		return Op{}, err
	}
	text, err := s.patched(p, cur)
	if err != nil {
		return Op{}, err
	}
	var d resource.Doc
	if err := d.Parse(text, resource.Options{}); err != nil {
		return Op{}, fault.At(fault.Invalid, "structure", "", "the patched %s cannot be kept: %s", k, err)
	}
	result := *in
	result.Body = d.Root()
	op, err := s.prepare(ctx, &result, k, refs, ws)
	if err != nil {
		return Op{}, err
	}
	op.MustExist, op.IfMatch = true, cur.Version
	op.pinned = in.IfMatch == "" // then another version only means to start again
	return op, nil
}

// patchable reads the version to patch and applies what the client and the
// versioning policy demand of it.
func (s *Service) patchable(ctx context.Context, in *Interaction, k Key) (Record, error) {
	v, err := ifMatch(in)
	if err != nil {
		return Record{}, err
	}
	cur, err := s.store.Read(ctx, k)
	if err != nil {
		return cur, notFound(err, k)
	}
	// Before the patch is tried: whether a test in it holds is an answer, too.
	if err := s.hide(ctx, &cur); err != nil {
		return cur, err
	}
	switch {
	case cur.Deleted:
		return cur, gone(k, cur.Version)
	case v > 0 && v != cur.Version:
		return cur, notCurrent(v, k)
	case v == 0 && s.cfg.VersioningOf(k.Type) == VersionedUpdate:
		return cur, needsIfMatch(k)
	}
	return cur, nil
}

// fixedMembers are what a patch must not change: the server sets them.
var fixedMembers = []string{"resourceType", "id", "meta.versionId", "meta.lastUpdated"}

// fixedAHDS are those of Azure Health Data Services, which protects the
// narrative, too.
var fixedAHDS = append([]string{"text.status", "text.div"}, fixedMembers...)

// patched returns the text of a version after a patch.
func (s *Service) patched(p *patch.Patch, cur Record) ([]byte, error) {
	h := resource.Header{Type: cur.Type, ID: cur.ID, Version: cur.Version, LastUpdated: cur.Seq.Time()}
	var d resource.Doc
	if err := d.Parse(resource.AppendResource(nil, h, cur.Stored), resource.Options{MaxDepth: maxStoredDepth}); err != nil {
		return nil, fault.Wrap("fhir: stored resource", err)
	}
	opt := patch.Options{Fixed: fixedMembers}
	if s.cfg.Compat == CompatAHDS {
		opt.Fixed = fixedAHDS
	}
	text, err := p.Apply(nil, d.Root(), opt)
	return text, patchError(err)
}

// maxStoredDepth is beyond anything that was let in.
const maxStoredDepth = 10_000

// parsePatch reads the body of a patch: a JSON Patch, a Parameters resource with
// a FHIRPath Patch, or a Binary that wraps a JSON Patch, as in a Bundle (R4
// section 3.1.0.6.1).
func parsePatch(body resource.Node) (*patch.Patch, error) {
	if body.Kind() == resource.Array {
		p, err := patch.ParseJSON(body)
		return p, patchError(err)
	}
	at := body.Path()
	switch typ := body.Get("resourceType"); {
	case body.Kind() != resource.Object || typ.Kind() != resource.String:
		return nil, fault.At(fault.Invalid, "structure", "", "a patch is a JSON Patch, or a Parameters resource with a FHIRPath Patch")
	case typ.Is("Binary"):
		return wrappedPatch(body)
	case !typ.Is("Parameters"):
		return nil, fault.At(fault.Invalid, "invalid", at, "a FHIRPath Patch is a Parameters resource, not a %s", clip(typ.Text()))
	}
	if err := invalid(profile.Check(body, "Parameters")); err != nil {
		return nil, err
	}
	p, err := patch.ParseFHIRPath(body)
	return p, patchError(err)
}

// wrappedPatch reads a Binary whose data is a JSON Patch.
func wrappedPatch(body resource.Node) (*patch.Patch, error) {
	if err := invalid(profile.Check(body, "Binary")); err != nil {
		return nil, err
	}
	typ := body.Get("contentType")
	if mt, _, err := mime.ParseMediaType(typ.Text()); err != nil || mt != TypeJSONPatch {
		return nil, fault.At(fault.Unsupported, "not-supported", typ.Path(), "a Binary with a patch has the contentType %s, not %q", TypeJSONPatch, clip(typ.Text()))
	}
	data := body.Get("data")
	if !data.Valid() {
		return nil, fault.At(fault.Invalid, "required", body.Path()+".data", "the Binary has no data: the patch is missing")
	}
	text, err := base64.StdEncoding.DecodeString(data.Text())
	if err != nil {
		return nil, fault.At(fault.Invalid, "value", data.Path(), "the data of the Binary is not base64")
	}
	var d resource.Doc
	if err := d.Parse(text, resource.Options{}); err != nil {
		return nil, fault.At(fault.Invalid, "structure", data.Path(), "the JSON Patch in the Binary: %s", err)
	}
	p, err := patch.ParseJSON(d.Root())
	return p, patchError(err)
}

// patchError turns an error of a patch into an answer. Azure Health Data
// Services says 400 whatever is wrong with a patch, and so do we.
func patchError(err error) error {
	if err == nil {
		return nil
	}
	pe, ok := errors.AsType[*patch.Error](err)
	if !ok {
		return fault.Wrap("fhir: patch", err)
	}
	kind := fault.Invalid
	if pe.Code == "too-costly" {
		kind = fault.TooCostly
	}
	return fault.At(kind, pe.Code, pe.At, "%s", pe)
}
