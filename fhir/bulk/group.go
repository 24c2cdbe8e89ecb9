package bulk

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// maxGroups bounds how many Groups may be members of each other.
const maxGroups = 1000

// groups returns the Group of an export and the Groups that are members of it,
// each with its current version, so that every child reads the same members.
func (s *Service) groups(ctx context.Context, d *definition) ([]version, error) {
	if d.Group == "" {
		return nil, nil
	}
	list := []version{{ID: d.Group}}
	for i := 0; i < len(list); i++ {
		rec, err := s.d.Store.Read(ctx, fhir.Key{Type: "Group", ID: list[i].ID})
		if err == nil && rec.Deleted {
			err = fault.New(fault.NotFound, "Group/%s is deleted", list[i].ID)
		}
		if i > 0 && fault.Is(err, fault.NotFound) {
			continue // a member that is not there has no members
		}
		if err != nil {
			return nil, err
		}
		list[i].Version = rec.Version
		_, inner, err := members(rec, d)
		if err != nil {
			return nil, err
		}
		for _, id := range inner {
			if !slices.ContainsFunc(list, func(v version) bool { return v.ID == id }) {
				list = append(list, version{ID: id})
			}
		}
		if len(list) > maxGroups {
			return nil, fault.New(fault.TooCostly, "Group/%s has more than %d Groups below it", d.Group, maxGroups)
		}
	}
	return list, nil
}

// patients returns the ids of the patients in the groups of a plan.
func (s *Service) patients(ctx context.Context, d *definition, p plan) (map[string]bool, error) {
	out := map[string]bool{}
	for _, g := range p.Groups {
		if g.Version == 0 {
			continue
		}
		rec, err := s.d.Store.ReadVersion(ctx, fhir.Key{Type: "Group", ID: g.ID}, g.Version)
		if err != nil {
			return nil, err
		}
		patients, _, err := members(rec, d)
		if err != nil {
			return nil, err
		}
		for _, id := range patients {
			out[id] = true
		}
	}
	return out, nil
}

// members returns the Patients and Groups that belong to a Group when the
// export was asked for: those that are not inactive and whose period is not over (R4 section 8.11).
func members(rec fhir.Record, d *definition) (patients, groups []string, err error) {
	text := resource.AppendResource(nil, resource.Header{Type: rec.Type, ID: rec.ID}, rec.Stored)
	var doc resource.Doc
	if err := doc.Parse(text, resource.Options{}); err != nil {
		return nil, nil, fault.Wrap("bulk: group", err)
	}
	for m := doc.Root().Get("member").First(); m.Valid(); m = m.Next() {
		if m.Get("inactive").Bool() || over(m.Get("period").Get("end").Text(), d.Asked) {
			continue
		}
		ref := strings.TrimPrefix(m.Get("entity").Get("reference").Text(), d.Base+"/")
		typ, id, _ := strings.Cut(ref, "/")
		id, _, _ = strings.Cut(id, "/_history/")
		switch {
		case !fhir.ValidID(id):
		case typ == "Patient":
			patients = append(patients, id)
		case typ == "Group":
			groups = append(groups, id)
		}
	}
	return patients, groups, nil
}

// over reports whether a dateTime lies before now. One that is not precise
// lasts to its end.
func over(end string, now time.Time) bool {
	for _, p := range []struct {
		layout              string
		years, months, days int
	}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {"2006-01-02", 0, 0, 1}, {time.RFC3339Nano, 0, 0, 0}} {
		if t, err := time.Parse(p.layout, end); err == nil {
			return t.AddDate(p.years, p.months, p.days).Before(now)
		}
	}
	return false
}
