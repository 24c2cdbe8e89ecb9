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
	return answer(in, rec)
}

// answer gives out a version, if the conditions of the request hold.
func answer(in *Interaction, rec Record) (*Response, error) {
	if unmet(in, rec) {
		return nil, fault.At(fault.Precondition, "conflict", "", "%s is in version %d, which is not what the request demands", rec.Key, rec.Version)
	}
	if unchangedSince(in, rec) {
		return nil, &fault.Error{Kind: fault.NotModified, Msg: "not modified", Version: rec.Version}
	}
	return &Response{Status: 200, Record: &rec}, nil
}

// unmet reports that If-Match or, without it, If-Unmodified-Since of a read does
// not hold (RFC 9110 section 13.2.2).
func unmet(in *Interaction, rec Record) bool {
	if in.IfMatch != "" {
		return !names(in.IfMatch, rec.Version)
	}
	return !in.IfUnmodifiedSince.IsZero() && rec.Seq.Time().Truncate(time.Second).After(in.IfUnmodifiedSince)
}

// names reports whether a list of entity tags has that of a version, or is *.
func names(tags string, version int64) bool {
	for tag := range strings.SplitSeq(tags, ",") {
		if strings.TrimSpace(tag) == "*" {
			return true
		}
		if v, ok := parseETag(tag); ok && v == version {
			return true
		}
	}
	return false
}

// unchangedSince decides a conditional read (R4 section 3.1.0.1.2). If-None-Match
// wins over If-Modified-Since, as RFC 9110 section 13.2.2 orders.
func unchangedSince(in *Interaction, rec Record) bool {
	if in.IfNoneMatch != "" {
		return names(in.IfNoneMatch, rec.Version)
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
