// Package server builds the platform from one Config and runs it.
//
// It is the only package that knows every room. Reading order:
//
//   - config.go, config_load.go, config_fields.go: the configuration, from a
//     YAML file, the environment and flags, in this order of rising strength;
//   - server.go: New joins the rooms, Serve starts and stops them in order;
//   - services.go: the running services, opened when they are first needed;
//   - route.go: which service answers a request, by path prefix or host name;
//   - health.go: /healthz and /readyz;
//   - apply.go: the declarative form of the management plane;
//   - fhirpath.go: one expression on one file, for the command line.
//
// Invariants: a service answers from the moment that the management plane
// acknowledged it until the moment that its deletion began; the ready line is
// printed only when requests are answered; Serve returns after every store was
// closed.
package server
