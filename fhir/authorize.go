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
	VerbPatch:        auth.FHIRUpdate | auth.FHIRRead, // a test, an error and the answer tell what is there
	VerbDelete:       auth.FHIRDelete,
	VerbPurgeHistory: auth.FHIRHardDelete,
	VerbImport:       auth.FHIRImport,
	VerbExport:       auth.FHIRExport,
	VerbReindex:      auth.FHIRReindex,
	VerbParamStatus:  auth.FHIRRead,
	VerbParamSwitch:  auth.FHIRSearchParams,
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
	need := actionsOf(in)
	if who := auth.From(ctx); in.Verb == VerbUpdate && who != nil && !who.Allowed(s.guard.Scope()).Has(auth.FHIRUpdate) {
		need = need&^auth.FHIRUpdate | auth.FHIRCreate // what is not there yet; see mayCreate
	}
	if err := s.guard.Authorize(ctx, need); err != nil {
		return err
	}
	return s.scoped(ctx, in)
}

// verbPerms says which permissions of a SMART scope each verb needs; one of
// them is enough.
var verbPerms = map[Verb][]auth.Perms{
	VerbRead: {auth.PermRead}, VerbVRead: {auth.PermRead}, VerbHistory: {auth.PermRead}, VerbSearch: {auth.PermSearch},
	VerbCreate: {auth.PermCreate}, VerbUpdate: {auth.PermUpdate, auth.PermCreate}, VerbPatch: {auth.PermUpdate}, VerbDelete: {auth.PermDelete},
}

// scoped refuses what no scope of the token is about, before anything is read.
func (s *Service) scoped(ctx context.Context, in *Interaction) error {
	if !auth.From(ctx).Limited {
		return nil
	}
	for _, p := range verbPerms[in.Verb] {
		a, err := s.access(ctx, p)
		if err != nil {
			continue
		}
		if in.Type == "" || in.Compartment != "" || len(a.Types[in.Type]) > 0 {
			return nil
		}
	}
	return scopeMissing()
}
