package auth_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// allows is the table of every role and what it allows; what is not listed is
// refused. It repeats role.go in other words on purpose.
var allows = map[string]string{
	"FHIR Data Reader":   "fhir/read",
	"FHIR Data Writer":   "fhir/read fhir/create fhir/update fhir/delete fhir/resourceValidate",
	"FHIR Data Exporter": "fhir/read fhir/export",
	"FHIR Data Importer": "fhir/read fhir/import",
	"FHIR Data Contributor": "fhir/read fhir/create fhir/update fhir/delete fhir/hardDelete fhir/export fhir/import fhir/convertData " +
		"fhir/resourceValidate fhir/editProfileDefinitions fhir/reindex fhir/bulkOperator fhir/searchParameter",
	"FHIR Data Converter": "fhir/convertData",
	"FHIR SMART User":     "fhir/smart",
	"DICOM Data Owner":    "dicom/read dicom/write dicom/delete dicom/manageExtendedQueryTags dicom/export",
	"DICOM Data Reader":   "dicom/read",
	"MedTech Data Sender": "medtech/send",
	"Workspace Owner": "fhir/read fhir/create fhir/update fhir/delete fhir/hardDelete fhir/export fhir/import fhir/convertData " +
		"fhir/resourceValidate fhir/editProfileDefinitions fhir/reindex fhir/bulkOperator fhir/searchParameter " +
		"dicom/read dicom/write dicom/delete dicom/manageExtendedQueryTags dicom/export medtech/send medtech/read medtech/write " +
		"events/read manage/read manage/write manage/access audit/read",
}

func TestEveryRoleAndAction(t *testing.T) {
	names := auth.BuiltinRoles()
	if len(names) != len(allows) {
		t.Fatalf("there are %d roles, the table has %d", len(names), len(allows))
	}
	guard := auth.NewGuard("/clinic/records")
	for _, name := range names {
		actions, ok := auth.BuiltinRole(name)
		if !ok {
			t.Fatalf("no role %s", name)
		}
		p := &auth.Principal{ID: "x", Grants: []auth.Grant{{Scope: "/clinic", Actions: actions}}}
		ctx := auth.WithPrincipal(context.Background(), p)
		want := strings.Fields(allows[name])
		for a := range auth.All.Each() {
			err := guard.Authorize(ctx, a)
			if allowed := slices.Contains(want, a.String()); allowed != (err == nil) {
				t.Errorf("%s, %s: got %v", name, a, err)
			} else if err != nil && !fault.Is(err, fault.Forbidden) {
				t.Errorf("%s, %s: got kind of %v, want Forbidden", name, a, err)
			}
		}
	}
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		grant, scope string
		want         bool
	}{
		{"/", "/", true}, {"/", "/a", true}, {"/", "/a/b", true},
		{"/a", "/a", true}, {"/a", "/a/b", true}, {"/a", "/ab", false}, {"/a", "/ab/c", false}, {"/a", "/", false},
		{"/a/b", "/a/b", true}, {"/a/b", "/a", false}, {"/a/b", "/a/bc", false}, {"/a/b", "/", false},
		{"", "/a", false},
	} {
		p := &auth.Principal{Grants: []auth.Grant{{Scope: tc.grant, Actions: auth.FHIRRead}}}
		err := auth.NewGuard(tc.scope).Authorize(auth.WithPrincipal(context.Background(), p), auth.FHIRRead)
		if (err == nil) != tc.want {
			t.Errorf("grant at %q, asked at %q: %v", tc.grant, tc.scope, err)
		}
	}
}

func TestGuard(t *testing.T) {
	var off *auth.Guard
	if err := off.Authorize(context.Background(), auth.All); err != nil || off.On() || off.Scope() != "" {
		t.Errorf("the nil guard refuses: %v", err)
	}
	if err := auth.NewGuard("/a/b").Authorize(context.Background(), auth.FHIRRead); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without principal: %v", err)
	}
	in := auth.Internal("job")
	if err := auth.NewGuard("/a/b").Authorize(auth.WithPrincipal(context.Background(), in), auth.All); err != nil || !in.IsInternal() {
		t.Errorf("internal work is refused: %v", err)
	}
	p := &auth.Principal{Grants: []auth.Grant{{"/a/b", auth.FHIRRead}, {"/a", auth.FHIRDelete}}}
	err := auth.NewGuard("/a/b").Authorize(auth.WithPrincipal(context.Background(), p), auth.FHIRRead|auth.FHIRDelete|auth.FHIRExport)
	if err == nil || !strings.Contains(err.Error(), "fhir/export") || strings.Contains(err.Error(), "fhir/read") {
		t.Errorf("got %v, want what is missing and nothing else", err)
	}
}

func TestParseActions(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want auth.Actions
	}{
		{"fhir/read", auth.FHIRRead},
		{"fhir/write dicom/read", auth.FHIRCreate | auth.FHIRUpdate | auth.DICOMRead},
		{"medtech/*", auth.MedTechSend | auth.MedTechRead | auth.MedTechWrite},
		{"*", auth.All},
	} {
		got, err := auth.ParseActions(strings.Fields(tc.in))
		if err != nil || got != tc.want {
			t.Errorf("%s: got %v, %v", tc.in, got, err)
		}
	}
	for _, bad := range []string{"", "fhir", "fhir/", "/*", "fhir*", "FHIR/read", "fhir/rea*"} {
		if got, err := auth.ParseActions([]string{bad}); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
	back, err := auth.ParseActions(auth.All.Names())
	if err != nil || back != auth.All {
		t.Errorf("all names read back as %v, %v", back, err)
	}
	if diff := cmp.Diff([]string{"fhir/create", "fhir/update"}, auth.FHIRWrite.Names()); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	p := &auth.Principal{Grants: []auth.Grant{{"/clinic/records", auth.FHIRRead}, {"/clinic", auth.DICOMRead}}}
	ctx, g := auth.WithPrincipal(context.Background(), p), auth.NewGuard("/clinic/records")
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Authorize(ctx, auth.FHIRRead); err != nil {
			b.Fatal(err)
		}
	}
}
