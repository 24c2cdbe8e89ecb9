package bulk

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// holder is a client with the role of an exporter whose token has scopes; "" is
// a token without clinical scopes.
func holder(t *testing.T, scopes string) context.Context {
	t.Helper()
	actions, _ := auth.BuiltinRole(auth.RoleFHIRExporter)
	p := &auth.Principal{ID: "app", Limited: scopes != "", Grants: []auth.Grant{{Scope: "/w/s", Actions: actions}}}
	for _, text := range strings.Fields(scopes) {
		sc, err := auth.ParseScope(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Scopes = append(p.Scopes, sc)
	}
	return auth.WithPrincipal(t.Context(), p)
}

// A token about some types exports those, and sees only exports of them.
func TestExportScopes(t *testing.T) {
	k := open(t, nil)
	fill(k)
	room, err := fhir.New(fhir.Deps{Store: k.store, Guard: auth.NewGuard("/w/s")})
	if err != nil {
		t.Fatal(err)
	}
	k.s.d.FHIR = room
	start := func(scopes, level, query string) (string, error) {
		typ, id, _ := strings.Cut(level, "/")
		req := &ExportRequest{Type: typ, ID: id, Base: base, Params: map[string][]string{}}
		if query != "" {
			req.Params["_type"] = []string{query}
		}
		return k.s.StartExport(holder(t, scopes), req)
	}
	const all, some = "system/*.rs", "system/Patient.read system/Observation.rs system/Organization.rs"
	for _, c := range []struct {
		scopes, level, types string
		want                 string // the types of the files, or the kind of the refusal
		refused              fault.Kind
	}{
		{"", "", "Patient", "Patient", 0},
		{all, "", "Patient", "Patient", 0},
		{some, "", "Patient", "Patient", 0},
		{some, "", "", "Observation Organization Patient", 0},
		{some, "Patient", "", "Observation Patient", 0},
		{some, "", "Patient,Encounter", "", fault.Forbidden},
		{some, "Group/g", "", "", fault.Forbidden},
		{some + " system/Group.rs", "Group/g", "Observation", "Observation", 0},
		{"system/Observation.rs", "Patient", "Observation", "", fault.Forbidden},
		{"system/Observation.rs?code=1", "", "Observation", "", fault.Forbidden},
		{"system/Observation.cud", "", "Observation", "", fault.Forbidden},
		{"system/Nonsense.rs", "", "", "", fault.Forbidden},
		{"patient/*.rs", "", "Patient", "", fault.Forbidden},
		{"user/*.rs", "", "Patient", "", fault.Forbidden},
	} {
		id, err := start(c.scopes, c.level, c.types)
		if c.refused != 0 || err != nil {
			if !fault.Is(err, c.refused) {
				t.Errorf("%s %s %s: %v", c.scopes, c.level, c.types, err)
			}
			continue
		}
		m := k.waitAs(holder(t, all), id)
		var got []string
		for _, o := range m.Output {
			got = append(got, o.Type)
		}
		if got := strings.Join(slices.Compact(got), " "); got != c.want {
			t.Errorf("%s %s %s: %q, want %q", c.scopes, c.level, c.types, got, c.want)
		}
	}
	narrow, err := start(some, "", "Patient")
	if err != nil {
		t.Fatal(err)
	}
	wide, err := start(all, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{narrow, wide} {
		k.waitAs(holder(t, all), id)
	}
	for _, c := range []struct {
		scopes, id string
		sees       bool
	}{{some, narrow, true}, {"system/Patient.rs", narrow, true}, {"system/Observation.rs", narrow, false}, {some, wide, false}, {all, wide, true}} {
		ctx := holder(t, c.scopes)
		_, err := k.s.Export(ctx, c.id, base)
		if c.sees != (err == nil) || !c.sees && !fault.Is(err, fault.NotFound) {
			t.Errorf("status with %s: %v", c.scopes, err)
		}
		_, _, err = k.s.File(ctx, c.id, "no such file", 0)
		if sees := err != nil && strings.Contains(fault.From(err).Msg, "file"); sees != c.sees {
			t.Errorf("file with %s: %v", c.scopes, err)
		}
		if c.sees {
			continue
		}
		if err := k.s.EndExport(ctx, c.id); !fault.Is(err, fault.NotFound) {
			t.Errorf("end with %s: %v", c.scopes, err)
		}
	}
}
