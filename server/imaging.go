package server

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"strconv"

	"github.com/hygeia-health/hygeia/dicom/imaging"
	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/manage"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/telemetry"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// ImagingStudy is how a DICOM service keeps ImagingStudies.
type ImagingStudy = manage.ImagingStudy

// reachable notes by which address others reach the server, once that is known.
func (s *Server) reachable(listen string) {
	if _, port, err := net.SplitHostPort(listen); err != nil || port == "0" && s.cfg.Identity.Issuer == "" {
		return
	}
	base := s.cfg.issuer(listen)
	s.services.base.Store(&base)
}

// followStudies starts what keeps the ImagingStudies of an open DICOM service in
// step; the caller holds opening.
func (s *service) followStudies(h *handlers, spec manage.Spec) {
	o := spec.ImagingStudy
	if o == nil {
		return
	}
	h.follower.Store(imaging.New(imaging.Deps{
		Store:       h.images,
		Destination: &imagingDestination{destination{all: s.all, ref: manage.Ref{Workspace: s.ref.Workspace, Service: o.Destination}}},
		Config: imaging.Config{
			Scope: s.ref.String(), Partitions: s.partitions, Patients: imaging.Patients(o.Patients),
			PatientSystem: o.PatientSystem, Issuers: o.Issuers, Destination: o.Destination,
		},
		Address: func() string { return s.dicomAddress(o) },
		Meter:   imagingMeter{s.all.metrics.Imaging(s.ref.String())},
		Log:     s.all.log.With(slog.String("service", s.ref.String())),
	}))
}

// changeDICOM takes over a new spec. The caller holds opening.
func (s *service) changeDICOM(spec manage.Spec) error {
	if spec.ImagingStudy.Equal(s.spec.ImagingStudy) {
		return nil
	}
	h := s.handlers.Load()
	if h == nil {
		if spec.ImagingStudy == nil {
			return nil
		}
		if err := s.openNow(context.Background()); err != nil {
			return err
		}
		h = s.handlers.Load()
	}
	if f := h.follower.Swap(nil); f != nil {
		f.Close()
	}
	s.all.metrics.ForgetImaging(s.ref.String())
	s.followStudies(h, spec)
	return nil
}

// dicomAddress is the base of DICOMweb for others; "" while it is not known.
func (s *service) dicomAddress(o *manage.ImagingStudy) string {
	const version = "/v2"
	if o.Address != "" {
		return o.Address + version
	}
	if base := s.all.base.Load(); base != nil {
		return *base + "/" + s.ref.String() + version
	}
	return ""
}

// imagingDestination is a FHIR service of this server, in the words of the
// package imaging.
type imagingDestination struct{ d destination }

var _ imaging.Destination = (*imagingDestination)(nil)

// Find implements imaging.Destination.
func (i *imagingDestination) Find(ctx context.Context, typ, system, value string) (list []imaging.Resource, err error) {
	params := url.Values{"identifier": {escape(system) + "|" + escape(value)}, "_count": {"2"}}
	err = i.d.use(ctx, func(room *fhir.Service) error {
		res, err := room.Do(ctx, &fhir.Interaction{Verb: fhir.VerbSearch, Method: "GET", Type: typ, Params: params, RawQuery: params.Encode(), Strict: true})
		if err != nil {
			return err
		}
		for j := range res.Page.Records {
			list = append(list, imaging.Resource(resourceOf(&res.Page.Records[j])))
		}
		return nil
	})
	return list, err
}

// Read implements imaging.Destination.
func (i *imagingDestination) Read(ctx context.Context, typ, id string) (imaging.Resource, error) {
	list, err := i.d.Read(ctx, typ, []string{id})
	if err != nil {
		return imaging.Resource{}, err
	}
	return imaging.Resource(list[0]), nil
}

// Write implements imaging.Destination.
func (i *imagingDestination) Write(ctx context.Context, list []imaging.Write) error {
	ins := make([]*fhir.Interaction, len(list))
	docs := make([]resource.Doc, len(list))
	for j, w := range list {
		in := &fhir.Interaction{Verb: fhir.VerbUpdate, Method: "PUT", Type: w.Type, ID: w.ID, MustNotExist: w.Version == 0}
		if w.Version > 0 {
			in.IfMatch = `W/"` + strconv.FormatInt(w.Version, 10) + `"`
		}
		if w.Text == nil {
			in.Verb, in.Method = fhir.VerbDelete, "DELETE"
		} else if err := docs[j].Parse(w.Text, resource.Options{}); err != nil {
			return &fault.Error{Kind: fault.Internal, Op: "server: imaging", Msg: "the resource is no JSON", Err: err}
		} else {
			in.Body = docs[j].Root()
		}
		ins[j] = in
	}
	return i.d.use(ctx, func(room *fhir.Service) error {
		_, err := room.Transaction(ctx, ins)
		return err
	})
}

// imagingMeter gives the counts to the metrics.
type imagingMeter struct{ m *telemetry.Imaging }

func (i imagingMeter) Worked(o imaging.Outcome) { i.m.Worked(string(o)) }

func (i imagingMeter) Lag(f func() imaging.Lag) {
	i.m.Lag(func() telemetry.ImagingLag { return telemetry.ImagingLag(f()) })
}
