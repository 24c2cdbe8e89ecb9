// Package auth decides who may do what.
//
// A request carries a Principal in its context: who asks, what the roles of
// that principal allow at which scope, and what the token narrows it to. The
// service of every room holds a Guard and asks it before it does anything; a
// nil Guard allows everything, which is how a server without authentication
// (hygeia demo, serve --insecure) and the tests of a room run.
//
//	func (s *Service) Delete(ctx context.Context, k Key) error {
//		if err := s.guard.Authorize(ctx, auth.FHIRDelete); err != nil {
//			return err
//		}
//		...
//
// Work that the platform does on its own account - a job that goes on after a
// restart, the device messages on their way into FHIR - runs as Internal.
//
// A Realm turns a bearer token into a Principal: signature by a key of an
// issuer that the scope trusts, audience, times, then the roles of the subject.
// What it found it keeps by the hash of the token.
//
// Files in reading order: action.go (what can be done), role.go (the names of
// Azure Health Data Services and what they allow), scope.go (SMART scopes),
// principal.go (who asks), guard.go (the decision), claims.go (what a token
// says), keys.go (signatures), issuer.go (providers that others run), realm.go
// (from a token to a Principal).
//
// Invariants: without a principal nothing is allowed; a token can only narrow
// what the roles allow; an unknown role or action is an error, never ignored;
// no error or log line holds anything out of a token.
package auth
