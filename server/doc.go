// Package server builds the platform from one Config and runs it.
//
// It is the only package that knows every room. Reading order:
//
//   - config.go, config_load.go, config_fields.go: the configuration, from a
//     YAML file, the environment and flags, in this order of rising strength;
//     config_doc.go makes docs/config.md of its tags; secret.go resolves
//     references to secrets;
//   - server.go: New joins the rooms, Serve starts and stops them in order, with
//     tls.go, encryption.go (keys), nodes.go (what nodes share) and lock_*.go (the
//     data folder);
//   - services.go, made.go: the running services, opened when they are first needed; one
//     file for what a kind, or several, need of others: dicom.go with imaging.go,
//     medtech.go with sources.go, events.go, jobs.go, blobs.go, containers.go,
//     imports.go with importbucket.go;
//   - route.go: which service answers a request, by path prefix or host name, with
//     gateway.go (what stands before a service);
//   - identity.go and smart.go: who asks; trail.go and auditevent.go: who did what;
//   - health.go: /healthz and /readyz;
//   - apply.go: the declarative form of the management plane;
//   - fhirpath.go and mappingcases.go: an expression on a file and mappings on
//     test cases, for the command line.
//
// Invariants: a service answers from the moment that the management plane
// acknowledged it until the moment that its deletion began; the ready line is
// printed only when requests are answered; Serve returns after every store was
// closed.
package server
