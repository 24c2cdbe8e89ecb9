// Package mapping turns device messages into measurements and measurements into
// FHIR Observations, as two mapping documents say. It is pure: no clock, no
// store, no network.
//
// The documents are those of the MedTech service of Azure Health Data Services
// (CollectionContent with JsonPathContent, IotJsonPathContent,
// IotCentralJsonPathContent and CalculatedContent; CollectionFhir with
// CodeValueFhir). Parsing finds every error at once, each with its line and
// column; a member that has no meaning is an error.
//
// An expression is looked up in several places, the first that has a value
// wins: the matched token, the body, the whole envelope (a CalculatedContent
// looks at the envelope with its matchedToken first). With Options.MS only the
// place that AHDS knows is asked, and the Observation is what AHDS makes.
//
// Reading order: problem.go and decode.go (errors with positions) with text.go,
// device.go (device mapping), message.go (the envelope), normalize.go with
// time.go (message to measurements), fhir.go (FHIR mapping), group.go
// (measurements that become one Observation), value.go and sampled.go (its
// values), observation.go (the text), merge.go (later data for the same
// Observation), check.go (do the two mappings fit), trace.go (what each
// expression did), validate.go (the debugger).
package mapping
