package medtech

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// The identity cache holds so many entries, for so long after their last use.
const (
	cacheSize = 5000
	cacheTime = 2 * time.Hour
)

// whom is what a measurement says about whom it is about.
type whom struct{ device, patient, encounter string }

type cached struct {
	id   mapping.Identity
	used time.Time
}

// resolver finds Patient, Device and Encounter of measurements. It is used by one
// goroutine at a time.
type resolver struct {
	s     *Service
	cache map[whom]cached

	// Of the batch that is being resolved:
	puts    []Put          // resources that are missing
	made    map[string]int // Type/id to its place in puts
	fresh   map[whom]mapping.Identity
	devices map[string]string // Device id to the patient that it is linked to in puts
	failed  map[whom]*mapping.Error
}

func newResolver(s *Service) *resolver { return &resolver{s: s, cache: map[whom]cached{}} }

// begin starts a batch.
func (r *resolver) begin() {
	r.puts, r.made = nil, map[string]int{}
	r.fresh, r.devices, r.failed = map[whom]mapping.Identity{}, map[string]string{}, map[whom]*mapping.Error{}
}

// forget ends a batch without making anything.
func (r *resolver) forget() { r.begin() }

// resolve returns the identity of a group. The error is a *mapping.Error when
// the measurement is to blame.
func (r *resolver) resolve(ctx context.Context, g *mapping.Group) (mapping.Identity, error) {
	w := whom{g.DeviceID, g.PatientID, g.EncounterID}
	now := r.s.now()
	if c, ok := r.cache[w]; ok && now.Sub(c.used) < cacheTime {
		r.cache[w] = cached{c.id, now}
		return c.id, nil
	}
	if id, ok := r.fresh[w]; ok {
		return id, nil
	}
	if e := r.failed[w]; e != nil {
		again := *e
		return mapping.Identity{}, &again
	}
	id, bad, err := r.find(ctx, w)
	switch {
	case err != nil:
		return id, err
	case bad != nil:
		r.failed[w] = bad
		again := *bad
		return id, &again
	}
	r.fresh[w] = id
	return id, nil
}

// find looks everything up; bad is the fault of the measurement.
func (r *resolver) find(ctx context.Context, w whom) (id mapping.Identity, bad *mapping.Error, err error) {
	device, err := r.lookup(ctx, "Device", r.s.cfg.DeviceSystem, w.device)
	if err != nil {
		return blame(err)
	}
	if device == nil && r.s.cfg.Resolution != Create {
		return blame(notFound(DeviceNotFound, "there is no Device with the identifier of the message"))
	}
	linked := ""
	if device != nil {
		id.Device = device.ID
		if linked, err = patientOf(device); err != nil {
			return blame(err)
		}
		if p := r.devices[device.ID]; p != "" {
			linked = p
		}
	} else {
		linked = r.devices[mapping.ResourceID(r.s.cfg.options(), r.s.cfg.DeviceSystem, w.device)] // made by this batch
	}
	id.Patient, err = r.patient(ctx, w, linked)
	if err != nil {
		return blame(err)
	}
	if id.Device, err = r.device(w, device, linked, id.Patient); err != nil {
		return blame(err)
	}
	if id.Encounter, err = r.encounter(ctx, w); err != nil {
		return blame(err)
	}
	return id, nil, nil
}

func blame(err error) (mapping.Identity, *mapping.Error, error) {
	if e, ok := err.(*mapping.Error); ok {
		return mapping.Identity{}, e, nil
	}
	return mapping.Identity{}, nil, err
}

func notFound(class mapping.Class, format string, args ...any) error {
	return &mapping.Error{Class: class, Msg: fmt.Sprintf(format, args...)}
}

// patient returns the id of the Patient. linked is the one of the Device.
func (r *resolver) patient(ctx context.Context, w whom, linked string) (string, error) {
	ms := r.s.cfg.Compat == CompatMS
	if r.s.cfg.Resolution != Create {
		if linked != "" {
			return linked, nil
		}
		if w.patient == "" || ms {
			return "", notFound(PatientNotFound, "the Device has no patient")
		}
		p, err := r.lookup(ctx, "Patient", "", w.patient)
		if err == nil && p == nil {
			err = notFound(PatientNotFound, "the Device has no patient, and there is no Patient with the identifier of the message")
		}
		if err != nil {
			return "", err
		}
		return p.ID, nil
	}
	if w.patient == "" {
		if linked != "" {
			return linked, nil
		}
		return "", notFound(IdentityNotDefined, "the message has no patient id, which is needed to create the Device and its Patient")
	}
	p, err := r.lookup(ctx, "Patient", "", w.patient)
	if err != nil {
		return "", err
	}
	id := ""
	if p != nil {
		id = p.ID
	} else {
		id = mapping.ResourceID(r.s.cfg.options(), "", w.patient)
		r.put("Patient", id, minimal("Patient", id, "", w.patient, ""), 0)
	}
	if linked != "" && linked != id {
		return "", notFound(PatientDeviceMismatch, "the Device is linked to another patient than the one of the message")
	}
	return id, nil
}

// device returns the id of the Device, made or linked to its patient when the
// resolution is Create.
func (r *resolver) device(w whom, found *Resource, linked, patient string) (string, error) {
	switch {
	case found == nil:
		id := mapping.ResourceID(r.s.cfg.options(), r.s.cfg.DeviceSystem, w.device)
		r.put("Device", id, minimal("Device", id, r.s.cfg.DeviceSystem, w.device, patient), 0)
		r.devices[id] = patient
		return id, nil
	case linked == "" && r.s.cfg.Resolution == Create:
		text, err := withPatient(found.Text, patient)
		if err != nil {
			return "", notFound(MeasurementProcessing, "the stored Device cannot be read")
		}
		r.put("Device", found.ID, text, found.Version)
		r.devices[found.ID] = patient
	}
	return found.ID, nil
}

func (r *resolver) encounter(ctx context.Context, w whom) (string, error) {
	if w.encounter == "" {
		if r.s.cfg.Resolution == LookupWithEncounter {
			return "", notFound(IdentityNotDefined, "the message has no encounter id, which the resolution LookupWithEncounter needs")
		}
		return "", nil
	}
	e, err := r.lookup(ctx, "Encounter", "", w.encounter)
	if err == nil && e == nil {
		err = notFound(EncounterNotFound, "there is no Encounter with the identifier of the message")
	}
	if err != nil {
		return "", err
	}
	return e.ID, nil
}

// lookup finds a resource by its identifier or, but for AHDS, by its logical id.
// nil when there is none.
func (r *resolver) lookup(ctx context.Context, typ, system, value string) (*Resource, error) {
	list, err := r.s.dest.Find(ctx, typ, system, value)
	if err != nil {
		return nil, err
	}
	switch len(list) {
	case 1:
		return &list[0], nil
	case 0:
		if r.s.cfg.Compat == CompatMS {
			return nil, nil
		}
		id := strings.TrimPrefix(value, typ+"/")
		if mapping.ResourceID(mapping.Options{}, "", id) != id {
			return nil, nil // cannot be a logical id
		}
		one, err := r.s.dest.Read(ctx, typ, []string{id})
		if err != nil || one[0].Version == 0 {
			return nil, err
		}
		return &one[0], nil
	}
	return nil, notFound(MultipleResourceFound, "several resources of type %s have the identifier of the message", typ)
}

// put notes a resource that is to be stored before the Observations.
func (r *resolver) put(typ, id string, text []byte, version int64) {
	key := typ + "/" + id
	if i, ok := r.made[key]; ok {
		r.puts[i].Text = text
		return
	}
	r.made[key] = len(r.puts)
	r.puts = append(r.puts, Put{Type: typ, ID: id, Text: text, Version: version})
}

// make stores what is missing and remembers what was found. refused are the
// identifiers of devices whose resources were not taken.
func (r *resolver) make(ctx context.Context) (refused map[string]*mapping.Error, err error) {
	failed := map[string]*mapping.Error{}
	if len(r.puts) > 0 {
		errs, err := r.s.dest.Write(ctx, r.puts)
		if err != nil {
			return nil, err
		}
		for i, err := range errs {
			if err != nil {
				failed[r.puts[i].Type+"/"+r.puts[i].ID] = refusal("", err)
			}
		}
	}
	refused = map[string]*mapping.Error{}
	now := r.s.now()
	for w, id := range r.fresh {
		e := failed["Device/"+id.Device]
		if e == nil {
			e = failed["Patient/"+id.Patient]
		}
		if e != nil {
			refused[w.device] = e
			continue
		}
		r.remember(w, id, now)
	}
	return refused, nil
}

// remember keeps an identity; when the cache is full, old entries make room.
func (r *resolver) remember(w whom, id mapping.Identity, now time.Time) {
	if len(r.cache) >= cacheSize {
		for k, c := range r.cache {
			if now.Sub(c.used) > cacheTime || len(r.cache) > cacheSize*9/10 {
				delete(r.cache, k)
			}
		}
	}
	r.cache[w] = cached{id, now}
}

// minimal is a Patient or Device with its identifier.
func minimal(typ, id, system, value, patient string) []byte {
	dst := []byte(`{"resourceType":"` + typ + `","id":"` + id + `","identifier":[{`)
	if system != "" {
		dst = append(resource.AppendString(append(dst, `"system":`...), system), ',')
	}
	dst = append(resource.AppendString(append(dst, `"value":`...), value), "}]"...)
	if patient != "" {
		dst = append(dst, `,"patient":{"reference":"Patient/`+patient+`"}`...)
	}
	return append(dst, '}')
}

// patientOf returns the id of the patient that a Device is linked to.
func patientOf(device *Resource) (string, error) {
	var doc resource.Doc
	if err := doc.Parse(device.Text, resource.Options{}); err != nil {
		return "", notFound(MeasurementProcessing, "the stored Device cannot be read")
	}
	ref := doc.Root().Get("patient").Get("reference").Text()
	if i := strings.LastIndex(ref, "Patient/"); i >= 0 {
		id, _, _ := strings.Cut(ref[i+len("Patient/"):], "/")
		return id, nil
	}
	return "", nil
}

// withPatient links a Device to its patient.
func withPatient(device []byte, patient string) ([]byte, error) {
	var doc resource.Doc
	if err := doc.Parse(device, resource.Options{}); err != nil {
		return nil, err
	}
	dst := []byte{'{'}
	for c := range doc.Root().Children() {
		if c.KeyIs("patient") {
			continue
		}
		dst = append(resource.AppendString(dst, string(c.Key())), ':')
		dst = append(c.AppendCompact(dst), ',')
	}
	return append(dst, `"patient":{"reference":"Patient/`+patient+`"}}`...), nil
}
