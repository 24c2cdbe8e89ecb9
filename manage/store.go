package manage

import "context"

// Store keeps the list of workspaces. The Plane is its only user and calls it
// from one goroutine at a time.
type Store interface {
	// Load returns what Save kept; fresh is true when there never was a Save.
	Load(ctx context.Context) (list []Workspace, fresh bool, err error)
	// Save replaces the list. When it returns without error the new list
	// survives a crash; when it fails the old one is still there.
	Save(ctx context.Context, list []Workspace) error
}

// Follower is a Store that several nodes share. Its Save is Conflict when
// another node saved after the last Load or Save of this one.
type Follower interface {
	// Follow calls changed when another node may have saved, until ctx ends.
	Follow(ctx context.Context, changed func(context.Context))
}

// Runner runs services; the server is one.
type Runner interface {
	// Start makes a service answer, or takes over a change of its Spec. It
	// is called again with the same Ref when a Spec changed.
	Start(ctx context.Context, ref Ref, s Spec) error
	// Stop waits for the requests in flight and closes the service. Stopping
	// what does not run is no error.
	Stop(ctx context.Context, ref Ref) error
	// Remove frees the files of a stopped service. Removing what has none is
	// no error.
	Remove(ctx context.Context, ref Ref) error
}

// Forgetter is a Runner that keeps something for a workspace beside its
// services, such as the roles at it.
type Forgetter interface {
	// RemoveWorkspace frees it. Removing what has none is no error.
	RemoveWorkspace(ctx context.Context, workspace string) error
}

// Watcher is a Runner that has work to do for a workspace on every node.
type Watcher interface {
	// Follow is told all workspaces after a change that any node may have made.
	Follow(ctx context.Context, workspaces []Workspace) error
}
