package managehttp

import (
	"net/http"

	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/fault"
)

type serve = func(http.ResponseWriter, *http.Request) error

// kinds are the kinds of services that the API manages: where they are, and what
// a client may say about one.
var kinds = []struct {
	kind       manage.Kind
	collection string
	body       func(decode func(any) error) (manage.Spec, error)
}{
	{manage.KindFHIR, "fhirservices", fhirBody},
	{manage.KindDICOM, "dicomservices", dicomBody},
	{manage.KindMedTech, "medtechservices", medtechBody},
}

func fhirBody(decode func(any) error) (manage.Spec, error) {
	var b struct {
		Compat     string            `json:"compat"`
		Narrative  string            `json:"narrative"`
		Versioning map[string]string `json:"versioning"`
		Authority  string            `json:"authority"`
		Audience   string            `json:"audience"`
		Gateway    *manage.Gateway   `json:"gateway"`
		Tags       map[string]string `json:"tags"`
	}
	err := decode(&b)
	return manage.Spec{Compat: b.Compat, Narrative: b.Narrative, Versioning: b.Versioning, Authority: b.Authority, Audience: b.Audience, Gateway: b.Gateway, Tags: b.Tags}, err
}

func dicomBody(decode func(any) error) (manage.Spec, error) {
	var b struct {
		Authority  string            `json:"authority"`
		Audience   string            `json:"audience"`
		Gateway    *manage.Gateway   `json:"gateway"`
		Partitions bool              `json:"partitions"`
		Tags       map[string]string `json:"tags"`

		ImagingStudy *manage.ImagingStudy `json:"imagingStudy"`
	}
	err := decode(&b)
	return manage.Spec{Authority: b.Authority, Audience: b.Audience, Gateway: b.Gateway, Partitions: b.Partitions, Tags: b.Tags, ImagingStudy: b.ImagingStudy}, err
}

func medtechBody(decode func(any) error) (manage.Spec, error) {
	var b struct {
		Compat    string            `json:"compat"`
		Authority string            `json:"authority"`
		Audience  string            `json:"audience"`
		Gateway   *manage.Gateway   `json:"gateway"`
		Tags      map[string]string `json:"tags"`
		manage.MedTechSpec
	}
	err := decode(&b)
	return manage.Spec{Compat: b.Compat, Authority: b.Authority, Audience: b.Audience, Gateway: b.Gateway, Tags: b.Tags, MedTechSpec: b.MedTechSpec}, err
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

func (h *handler) putService(kind manage.Kind, body func(func(any) error) (manage.Spec, error)) serve {
	return func(w http.ResponseWriter, r *http.Request) error {
		spec, err := body(func(into any) error { return decode(w, r, into) })
		if err != nil {
			return err
		}
		spec.Kind = kind
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
