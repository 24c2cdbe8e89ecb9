package managehttp

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/fault"
)

type serve = func(http.ResponseWriter, *http.Request) error

// kinds are the kinds of services that the API manages, and where they are.
var kinds = []struct {
	kind       manage.Kind
	collection string
}{
	{manage.KindFHIR, "fhirservices"},
	{manage.KindDICOM, "dicomservices"},
	{manage.KindMedTech, "medtechservices"},
}

// decodeSpec reads what a client says about a service of a kind.
func decodeSpec(w http.ResponseWriter, r *http.Request, kind manage.Kind) (spec manage.Spec, err error) {
	text, err := readObject(w, r)
	if err != nil || len(text) == 0 {
		return manage.Spec{Kind: kind}, err
	}
	if err := decodeStrict(text, &spec); err != nil {
		return spec, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return spec, fault.Wrap("managehttp: decode", err) // it was decoded once
	}
	settings := manage.Settings(kind)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.ContainsFunc(settings, func(s string) bool { return strings.EqualFold(s, name) }) {
			return spec, fault.New(fault.Invalid, "the body is not what is expected: unknown field %.64q", name)
		}
	}
	spec.Kind = kind
	return spec, nil
}

func (h *handler) listServices(kind manage.Kind) serve {
	return func(w http.ResponseWriter, r *http.Request) error {
		ws, err := h.plane.Workspace(r.PathValue("workspace"))
		if err != nil {
			return err
		}
		out := list[serviceView]{Value: []serviceView{}}
		for _, s := range ws.Services {
			if s.Kind == kind {
				out.Value = append(out.Value, viewService(r, ws.Name, s))
			}
		}
		return respond(w, http.StatusOK, out)
	}
}

// service returns the service of r; NotFound when it is of another kind.
func (h *handler) service(r *http.Request, kind manage.Kind) (manage.Service, error) {
	ref := refOf(r)
	s, err := h.plane.Service(ref)
	if err == nil && s.Kind != kind {
		err = fault.New(fault.NotFound, "service %s is of kind %s", ref, s.Kind)
	}
	return s, err
}

func (h *handler) showService(kind manage.Kind) serve {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, err := h.service(r, kind)
		if err != nil {
			return err
		}
		return respond(w, http.StatusOK, viewService(r, refOf(r).Workspace, s))
	}
}

func (h *handler) putService(kind manage.Kind) serve {
	return func(w http.ResponseWriter, r *http.Request) error {
		spec, err := decodeSpec(w, r, kind)
		if err != nil {
			return err
		}
		ref := refOf(r)
		s, created, err := h.plane.PutService(r.Context(), ref, spec)
		if err != nil {
			return err
		}
		return respond(w, status(w, r, created), viewService(r, ref.Workspace, s))
	}
}

func (h *handler) deleteService(kind manage.Kind) serve {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := h.service(r, kind); err != nil {
			return err
		}
		if err := h.plane.DeleteService(r.Context(), refOf(r)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}
