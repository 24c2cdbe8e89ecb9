package fhir

import "context"

// Reindexer is a Store that can make the index rows of what is stored anew,
// while others read and write.
type Reindexer interface {
	// Reindex makes the rows of the next resources, a few at a time, and says
	// where to go on. A resource that is written meanwhile gets its rows from
	// the write. It may be repeated from any place that it returned.
	Reindex(ctx context.Context, from ReindexFrom) (next ReindexFrom, err error)
	// Size counts the current resources of some types, of all without any.
	Size(ctx context.Context, types []string) (int64, error)
}

// ReindexFrom is a place on the way through all resources. The zero value, with
// Types if not all are meant, is the beginning.
type ReindexFrom struct {
	Types []string
	After int64 // the store's own
	Done  int64 // resources indexed so far
	More  bool  // whether there are more
}
