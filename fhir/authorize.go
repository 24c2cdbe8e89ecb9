package fhir

import (
	"context"

	"github.com/hygeia-health/hygeia/platform/auth"
)

// need is what a verb asks of whoever wants it: the actions of a role and, of a
// token with SMART scopes, permissions besides.
type need struct {
	actions auth.Actions
	// perms are those of a scope about the resource type; one of them is enough.
	perms []auth.Perms
	// whole are those of a scope of the system, for work on the whole service (Bulk
	// Data Access 2.0, "Scopes"). A token about some types only has the verb as far
	// as AllowTypes says.
	whole auth.Perms
}

// needs holds every verb that the Service answers or allows. One that is not in
// the table needs more than anybody can have; without perms and whole no token with SMART
// scopes has it.
var needs = map[Verb]need{
	VerbRead:    {actions: auth.FHIRRead, perms: []auth.Perms{auth.PermRead}},
	VerbVRead:   {actions: auth.FHIRRead, perms: []auth.Perms{auth.PermRead}},
	VerbHistory: {actions: auth.FHIRRead, perms: []auth.Perms{auth.PermRead}},
	VerbSearch:  {actions: auth.FHIRRead, perms: []auth.Perms{auth.PermSearch}},
	VerbCreate:  {actions: auth.FHIRCreate, perms: []auth.Perms{auth.PermCreate}},
	VerbUpdate:  {actions: auth.FHIRUpdate, perms: []auth.Perms{auth.PermUpdate, auth.PermCreate}},
	// A test, an error and the answer of a patch tell what is there.
	VerbPatch:        {actions: auth.FHIRUpdate | auth.FHIRRead, perms: []auth.Perms{auth.PermUpdate}},
	VerbDelete:       {actions: auth.FHIRDelete, perms: []auth.Perms{auth.PermDelete}},
	VerbPurgeHistory: {actions: auth.FHIRHardDelete},
	VerbImport:       {actions: auth.FHIRImport, whole: auth.PermCreate | auth.PermUpdate | auth.PermDelete},
	VerbExport:       {actions: auth.FHIRExport, whole: auth.PermRead},
	VerbReindex:      {actions: auth.FHIRReindex},
	VerbParamStatus:  {actions: auth.FHIRRead},
	VerbParamSwitch:  {actions: auth.FHIRSearchParams},
}

// actionsOf returns the actions that an interaction needs.
func actionsOf(in *Interaction) auth.Actions {
	n, ok := needs[in.Verb]
	if !ok {
		return auth.All
	}
	a := n.actions
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

// scoped refuses what no scope of the token is about, before anything is read.
func (s *Service) scoped(ctx context.Context, in *Interaction) error {
	if !auth.From(ctx).Limited {
		return nil
	}
	for _, p := range needs[in.Verb].perms {
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
