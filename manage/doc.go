// Package manage is the room of the management plane: which workspaces and
// services exist.
//
// A workspace is a name for a group of services; a service is a FHIR endpoint
// with data of its own, reached at /{workspace}/{service}. The names and rules
// follow Azure Health Data Services.
//
// Reading order: names.go (what a name may be), types.go (Workspace, Service
// and Spec) with gateway.go, imagingstudy.go and medtech.go (parts of a Spec),
// service.go (Plane, the rules), store.go (the port that keeps the list).
// managefile keeps it in one JSON file, managesql in a schema that several
// nodes share, managehttp is the edge below /manage/v1.
//
// Invariants: a change is on disk before it is visible, and visible before it
// is acknowledged; a deleted service is first marked, then stopped, then its
// files are removed, then it is forgotten, so that a crash in between is
// finished by the next start and never brings back half a service; names are
// never reused while files of the earlier service exist.
package manage
