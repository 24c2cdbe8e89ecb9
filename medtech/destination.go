package medtech

import "context"

// Destination is the FHIR service that gets the Observations. Errors are
// *fault.Error. Transient, Throttled, Timeout and NotFound of the call as a whole
// mean that the service cannot answer now and that the call is tried again.
type Destination interface {
	// Find returns the current resources of a type that have an identifier; an
	// empty system matches any.
	Find(ctx context.Context, typ, system, value string) ([]Resource, error)
	// Read returns the current versions of resources, in the order of ids; one
	// that is not there is the zero Resource.
	Read(ctx context.Context, typ string, ids []string) ([]Resource, error)
	// Write stores resources, if possible in one transaction, and returns what
	// became of each. It fails as a whole when the service cannot answer.
	Write(ctx context.Context, list []Put) ([]error, error)
}

// Resource is a resource as it is stored.
type Resource struct {
	ID      string
	Version int64
	Text    []byte
}

// Put is one resource to be stored.
type Put struct {
	Type, ID string
	Text     []byte
	Version  int64 // the version that it replaces, else Precondition; 0 is any
	New      bool  // it must not be there, else Conflict
}
