package fhir

import (
	"context"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// read answers GET [base]/Type/id (R4 section 3.1.0.1), conditional or not.
func (s *Service) read(ctx context.Context, in *Interaction) (*Response, error) {
	k, err := keyOf(in)
	if err != nil {
		return nil, err
	}
	rec, err := s.store.Read(ctx, k)
	if err != nil {
		return nil, notFound(err, k)
	}
	if err := s.hide(ctx, &rec); err != nil {
		return nil, err
	}
	if rec.Deleted {
		return nil, gone(k, rec.Version)
	}
	if unchangedSince(in, rec) {
		return nil, &fault.Error{Kind: fault.NotModified, Msg: "not modified", Version: rec.Version}
	}
	return &Response{Status: 200, Record: &rec}, nil
}

// unchangedSince decides a conditional read (R4 section 3.1.0.1.2). If-None-Match
// wins over If-Modified-Since, as RFC 9110 section 13.2.2 orders.
func unchangedSince(in *Interaction, rec Record) bool {
	if in.IfNoneMatch != "" {
		for tag := range strings.SplitSeq(in.IfNoneMatch, ",") {
			if strings.TrimSpace(tag) == "*" {
				return true
			}
			if v, ok := parseETag(tag); ok && v == rec.Version {
				return true
			}
		}
		return false
	}
	// The header has whole seconds: a version made within that second counts as seen.
	return !in.IfModifiedSince.IsZero() && !rec.Seq.Time().Truncate(time.Second).After(in.IfModifiedSince)
}

// notFound gives the store's NotFound the words of the API.
func notFound(err error, k Key) error {
	if fault.Is(err, fault.NotFound) {
		return fault.At(fault.NotFound, "not-found", "", "%s does not exist", k)
	}
	return err
}

// gone reports a deleted resource with the version of its deletion.
func gone(k Key, version int64) error {
	e := fault.At(fault.Gone, "deleted", "", "%s was deleted", k)
	e.Version = version
	return e
}
