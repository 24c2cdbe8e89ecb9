package fhir

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// verbActions says what each verb needs. A verb that is not in the table needs
// more than anybody can have.
var verbActions = map[Verb]auth.Actions{
	VerbRead:         auth.FHIRRead,
	VerbVRead:        auth.FHIRRead,
	VerbHistory:      auth.FHIRRead,
	VerbSearch:       auth.FHIRRead,
	VerbCreate:       auth.FHIRCreate,
	VerbUpdate:       auth.FHIRUpdate,
	VerbPatch:        auth.FHIRUpdate,
	VerbDelete:       auth.FHIRDelete,
	VerbPurgeHistory: auth.FHIRHardDelete,
}

// actionsOf returns what an interaction needs.
func actionsOf(in *Interaction) auth.Actions {
	a, ok := verbActions[in.Verb]
	if !ok {
		return auth.All
	}
	if in.HardDelete {
		a |= auth.FHIRHardDelete
	}
	if in.Conditional || in.HasIfNoneExist {
		a |= auth.FHIRRead // the answer tells whether there is a match
	}
	if a&^auth.FHIRRead == 0 {
		return a
	}
	switch in.Type {
	case "StructureDefinition", "ValueSet", "CodeSystem", "ConceptMap":
		a |= auth.FHIREditProfiles
	case "SearchParameter":
		a |= auth.FHIRSearchParams
	}
	return a
}

// authorize asks whether the principal of ctx may do in. Every interaction, and
// every entry of a Bundle, passes here before anything is read.
func (s *Service) authorize(ctx context.Context, in *Interaction) error {
	if !s.guard.On() {
		return nil
	}
	return s.guard.Authorize(ctx, actionsOf(in))
}
