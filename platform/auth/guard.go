package auth

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Guard decides for one scope: a service, a workspace, or the platform. The
// nil Guard allows everything.
type Guard struct{ scope string }

// NewGuard returns the Guard of a scope: "/", "/workspace" or "/workspace/service".
func NewGuard(scope string) *Guard { return &Guard{scope: scope} }

// On reports whether the guard decides anything.
func (g *Guard) On() bool { return g != nil }

// Scope returns the scope that the guard decides for; "" without a guard.
func (g *Guard) Scope() string {
	if g == nil {
		return ""
	}
	return g.scope
}

// Authorize returns nil when the principal in ctx may do all of a here. It is
// Unauthenticated without a principal and Forbidden when an action is missing.
func (g *Guard) Authorize(ctx context.Context, a Actions) error {
	if g == nil {
		return nil
	}
	p := From(ctx)
	if p == nil {
		return ErrNoPrincipal
	}
	if missing := a &^ p.Allowed(g.scope); missing != 0 {
		return Denied(missing)
	}
	return nil
}

// Route is a method at a path of an edge, with names in braces for segments. The
// edges list theirs, so that a test can ask for every one without a token.
type Route struct{ Method, Path string }

// ErrNoPrincipal is what a request without a token gets.
var ErrNoPrincipal = fault.At(fault.Unauthenticated, "login", "", "a bearer token is required")

// Denied says which action is missing. It names no resource, so that it tells
// nothing about what exists.
func Denied(missing Actions) error {
	return fault.At(fault.Forbidden, "forbidden", "", "no role of yours allows %s here", missing)
}
