package fhir_test

import (
	"context"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/fhirtest"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// guarded returns a service that asks a guard, and contexts of principals with roles.
func guarded(t *testing.T) (*fhir.Service, func(roles ...string) context.Context) {
	t.Helper()
	s, err := fhir.New(fhir.Deps{Store: fhirtest.NewMemory(nil), Guard: auth.NewGuard("/clinic/records")})
	if err != nil {
		t.Fatal(err)
	}
	return s, func(roles ...string) context.Context {
		p := &auth.Principal{ID: "somebody"}
		for _, r := range roles {
			a, ok := auth.BuiltinRole(r)
			if !ok {
				t.Fatalf("no role %s", r)
			}
			p.Grants = append(p.Grants, auth.Grant{Scope: "/clinic/records", Actions: a})
		}
		return auth.WithPrincipal(context.Background(), p)
	}
}

// TestRolesAndVerbs tries each verb with each role that has to do with FHIR.
func TestRolesAndVerbs(t *testing.T) {
	s, as := guarded(t)
	verbs := []struct {
		name string
		in   fhir.Interaction
		may  []string
	}{
		{"read", fhir.Interaction{Verb: fhir.VerbRead, Type: "Patient", ID: "a"}, []string{auth.RoleFHIRReader, auth.RoleFHIRWriter, auth.RoleFHIRContributor, auth.RoleFHIRExporter, auth.RoleFHIRImporter}},
		{"vread", fhir.Interaction{Verb: fhir.VerbVRead, Type: "Patient", ID: "a", VersionID: "1"}, []string{auth.RoleFHIRReader, auth.RoleFHIRWriter, auth.RoleFHIRContributor, auth.RoleFHIRExporter, auth.RoleFHIRImporter}},
		{"search", fhir.Interaction{Verb: fhir.VerbSearch, Type: "Patient"}, []string{auth.RoleFHIRReader, auth.RoleFHIRWriter, auth.RoleFHIRContributor, auth.RoleFHIRExporter, auth.RoleFHIRImporter}},
		{"history", fhir.Interaction{Verb: fhir.VerbHistory}, []string{auth.RoleFHIRReader, auth.RoleFHIRWriter, auth.RoleFHIRContributor, auth.RoleFHIRExporter, auth.RoleFHIRImporter}},
		{"create", fhir.Interaction{Verb: fhir.VerbCreate, Type: "Patient"}, []string{auth.RoleFHIRWriter, auth.RoleFHIRContributor}},
		{"create a profile", fhir.Interaction{Verb: fhir.VerbCreate, Type: "StructureDefinition"}, []string{auth.RoleFHIRContributor}},
		{"create a search parameter", fhir.Interaction{Verb: fhir.VerbCreate, Type: "SearchParameter"}, []string{auth.RoleFHIRContributor}},
		{"update", fhir.Interaction{Verb: fhir.VerbUpdate, Type: "Patient", ID: "a"}, []string{auth.RoleFHIRWriter, auth.RoleFHIRContributor}},
		{"patch", fhir.Interaction{Verb: fhir.VerbPatch, Type: "Patient", ID: "a", Body: node(t, "[]")}, []string{auth.RoleFHIRWriter, auth.RoleFHIRContributor}},
		{"delete", fhir.Interaction{Verb: fhir.VerbDelete, Type: "Patient", ID: "a"}, []string{auth.RoleFHIRWriter, auth.RoleFHIRContributor}},
		{"hard delete", fhir.Interaction{Verb: fhir.VerbDelete, Type: "Patient", ID: "a", HardDelete: true}, []string{auth.RoleFHIRContributor}},
		{"purge", fhir.Interaction{Verb: fhir.VerbPurgeHistory, Type: "Patient", ID: "a"}, []string{auth.RoleFHIRContributor}},
	}
	for _, v := range verbs {
		if _, err := s.Do(context.Background(), &v.in); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s without principal: %v", v.name, err)
		}
		may := map[string]bool{auth.RoleWorkspaceOwner: true}
		for _, r := range v.may {
			may[r] = true
		}
		for _, role := range auth.BuiltinRoles() {
			in := v.in
			_, err := s.Do(as(role), &in)
			if refused := fault.Is(err, fault.Forbidden); refused == may[role] {
				t.Errorf("%s as %s: %v", v.name, role, err)
			}
			in = v.in
			if r := s.Batch(as(role), []*fhir.Interaction{&in}); fault.Is(r[0].Err, fault.Forbidden) == may[role] {
				t.Errorf("%s in a batch as %s: %v", v.name, role, r[0].Err)
			}
			in = v.in
			if in.Verb == fhir.VerbPurgeHistory {
				continue // not possible in a transaction
			}
			_, err = s.Transaction(as(role), []*fhir.Interaction{&in})
			if refused := fault.Is(err, fault.Forbidden); refused == may[role] {
				t.Errorf("%s in a transaction as %s: %v", v.name, role, err)
			}
		}
	}
}

// TestEntriesAreAuthorizedOneByOne has a batch of which a reader may do one half.
func TestEntriesAreAuthorizedOneByOne(t *testing.T) {
	s, as := guarded(t)
	r := s.Batch(as(auth.RoleFHIRReader), []*fhir.Interaction{
		{Verb: fhir.VerbSearch, Type: "Patient"},
		{Verb: fhir.VerbDelete, Type: "Patient", ID: "a"},
		{Verb: fhir.VerbSearch, Type: "Observation"},
	})
	if r[0].Err != nil || !fault.Is(r[1].Err, fault.Forbidden) || r[2].Err != nil {
		t.Errorf("got %v, %v, %v", r[0].Err, r[1].Err, r[2].Err)
	}
}

// BenchmarkAuthorize shows what a plain read costs more for being asked about.
func BenchmarkAuthorize(b *testing.B) {
	text := []byte(`{"resourceType":"Patient","id":"p1"}`)
	var d resource.Doc
	if err := d.Parse(text, resource.Options{}); err != nil {
		b.Fatal(err)
	}
	a, _ := auth.BuiltinRole(auth.RoleFHIRReader)
	reader := &auth.Principal{ID: "u", Grants: []auth.Grant{{Scope: "/clinic/records", Actions: a}}}
	patient := &auth.Principal{
		ID: "u", Patient: "p1", Limited: true, Grants: []auth.Grant{{Scope: "/clinic/records", Actions: auth.FHIRSMART}},
		Scopes: []auth.Scope{{For: auth.ForPatient, Type: "*", Perms: auth.PermRead}},
	}
	for _, c := range []struct {
		name  string
		guard *auth.Guard
		who   *auth.Principal
	}{{"off", nil, nil}, {"role", auth.NewGuard("/clinic/records"), reader}, {"patient", auth.NewGuard("/clinic/records"), patient}} {
		b.Run(c.name, func(b *testing.B) {
			store := fhirtest.NewMemory(nil)
			open, err := fhir.New(fhir.Deps{Store: store})
			if err != nil {
				b.Fatal(err)
			}
			ctx := context.Background()
			if _, err := open.Do(ctx, &fhir.Interaction{Verb: fhir.VerbUpdate, Method: "PUT", Type: "Patient", ID: "p1", Body: d.Root()}); err != nil {
				b.Fatal(err)
			}
			s, err := fhir.New(fhir.Deps{Store: store, Guard: c.guard})
			if err != nil {
				b.Fatal(err)
			}
			ctx = auth.WithPrincipal(ctx, c.who)
			in := &fhir.Interaction{Verb: fhir.VerbRead, Method: "GET", Type: "Patient", ID: "p1"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Do(ctx, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
