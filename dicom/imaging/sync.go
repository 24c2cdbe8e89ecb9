package imaging

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// contentions is how often a study is tried again at once because somebody else
// wrote in between.
const contentions = 8

func (c *Config) studyID(n Note) string { return c.id("ImagingStudy", n.Name, n.Study) }

// sync brings the resource of a study in step with it.
func (f *Follower) sync(ctx context.Context, n Note) (o Outcome, err error) {
	for range contentions {
		o, err = f.once(ctx, n)
		if !changedMeanwhile(err) {
			break
		}
		f.checked.forget()
	}
	if changedMeanwhile(err) { // somebody writes all the time
		err = &fault.Error{Kind: fault.Transient, Op: "imaging: sync", Msg: "the resources of a study change all the time", Err: err}
	}
	return o, err
}

func changedMeanwhile(err error) bool {
	for _, k := range []fault.Kind{fault.Conflict, fault.Precondition, fault.Gone, fault.NotFound} {
		if fault.Is(err, k) {
			return true
		}
	}
	return false
}

// once reads, makes and writes. What is there is read before the study: then
// nothing older than the study can be written over something newer.
func (f *Follower) once(ctx context.Context, n Note) (Outcome, error) {
	old, err := f.find(ctx, n)
	if err != nil {
		return "", err
	}
	var doc *resource.Doc
	if old.Version > 0 {
		doc = new(resource.Doc)
		if err := doc.Parse(old.Text, resource.Options{}); err != nil {
			return "", &fault.Error{Kind: fault.Internal, Op: "imaging: parse", Msg: "a stored ImagingStudy cannot be read", Err: err}
		}
	}
	st, err := f.store.Study(ctx, n.Partition, n.Study, maxInstances)
	if fault.Is(err, fault.NotFound) {
		return f.withdraw(ctx, n, old, doc)
	}
	if err != nil {
		return "", err
	}
	writes, err := f.endpoint(ctx, n.Name)
	if err != nil {
		return "", err
	}
	subject, made, linked, err := f.subject(ctx, st, doc)
	if err != nil {
		return "", err
	}
	writes = append(writes, made...)
	r := st.resource()
	r.Subject = marshal(subject)
	for _, id := range st.identifiers(n.Study) {
		r.Identifier = append(r.Identifier, marshal(id))
	}
	r.Identifier = append(r.Identifier, foreign(doc, "identifier", oursIdentifier)...)
	ep := f.cfg.endpointID(n.Name)
	r.Endpoint = append([]json.RawMessage{marshal(reference{Reference: "Endpoint/" + ep})},
		foreign(doc, "endpoint", func(n resource.Node) bool { return points(n, "Endpoint", ep) })...)
	text, err := r.merge(old.ID, doc)
	if err != nil {
		return "", err
	}
	o := Unchanged
	if old.Version == 0 {
		o = Created
	} else if !same(old.Text, text) {
		o = Updated
	}
	if o != Unchanged {
		writes = append(writes, Write{Type: "ImagingStudy", ID: old.ID, Text: text, Version: old.Version})
	}
	if len(writes) > 0 {
		if err := f.dest.Write(ctx, writes); err != nil {
			return "", err
		}
	}
	f.checked.add(n.Name, f.now())
	if !linked {
		o = Unlinked
	}
	return o, nil
}

// find returns the resource of a study: ours, or the one that somebody else made
// of the same study, or the id that it gets and no version. Among partitions the
// identifier does not tell which study is meant.
func (f *Follower) find(ctx context.Context, n Note) (Resource, error) {
	id := f.cfg.studyID(n)
	r, err := f.dest.Read(ctx, "ImagingStudy", id)
	if err != nil || r.Version > 0 {
		return r, err
	}
	if !f.cfg.Partitions {
		named := studyIdentifier(n.Study)
		list, err := f.dest.Find(ctx, "ImagingStudy", named.System, named.Value)
		if err != nil {
			return r, err
		}
		if len(list) == 1 {
			return list[0], nil
		}
	}
	return Resource{ID: id}, nil
}

// withdraw deletes the resource of a study that is gone. One that names other
// Endpoints stays for their sake, and only loses ours.
func (f *Follower) withdraw(ctx context.Context, n Note, old Resource, doc *resource.Doc) (Outcome, error) {
	if doc == nil {
		return Absent, nil
	}
	ep, ours := f.cfg.endpointID(n.Name), false
	others := foreign(doc, "endpoint", func(n resource.Node) bool {
		hit := points(n, "Endpoint", ep)
		ours = ours || hit
		return hit
	})
	switch {
	case len(others) == 0 && (ours || old.ID == f.cfg.studyID(n)):
		return Deleted, f.dest.Write(ctx, []Write{{Type: "ImagingStudy", ID: old.ID, Version: old.Version}})
	case !ours:
		return Absent, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(old.Text, &members); err != nil {
		return "", err
	}
	members["endpoint"] = marshal(others)
	return Updated, f.dest.Write(ctx, []Write{{Type: "ImagingStudy", ID: old.ID, Text: marshal(members), Version: old.Version}})
}

// subject returns the reference to the patient of a study, and what is to be
// written for it. It is linked when it leads to a Patient, or when no later try
// can find one.
func (f *Follower) subject(ctx context.Context, st *Study, old *resource.Doc) (ref reference, made []Write, linked bool, err error) {
	id := f.cfg.patientIdentifier(st)
	if id == nil {
		return noSubject, nil, true, nil
	}
	ref = reference{Type: "Patient", Identifier: id}
	var list []Resource
	if id.findable() {
		if list, err = f.dest.Find(ctx, "Patient", id.System, id.Value); err != nil {
			return ref, nil, false, err
		}
	}
	switch {
	case len(list) == 1:
		ref.Reference = "Patient/" + list[0].ID
		return ref, nil, true, nil
	case len(list) == 0 && f.cfg.Patients == Create:
		p := f.cfg.newPatient(st, id)
		ref.Reference = "Patient/" + p.ID
		there, err := f.dest.Read(ctx, "Patient", p.ID)
		if err != nil || there.Version > 0 {
			return ref, nil, true, err
		}
		return ref, []Write{{Type: "Patient", ID: p.ID, Text: marshal(p)}}, true, nil
	}
	// Somebody else may have known whom the same identifier means.
	if old != nil {
		was := old.Root().Get("subject")
		if kept := was.Get("identifier"); kept.Get("value").Is(id.Value) && kept.Get("system").Text() == id.System {
			ref.Reference = was.Get("reference").Text()
		}
	}
	return ref, nil, ref.Reference != "" || !id.findable(), nil
}

// endpoint returns what is to be written so that the Endpoint of a partition is
// there and says where the service is.
func (f *Follower) endpoint(ctx context.Context, partition string) ([]Write, error) {
	if f.checked.recent(partition, f.now()) {
		return nil, nil
	}
	address := f.address()
	if address == "" {
		return nil, fault.New(fault.Transient, "the address of the DICOM service is not known yet")
	}
	e := f.cfg.newEndpoint(partition, address)
	old, err := f.dest.Read(ctx, "Endpoint", e.ID)
	if err != nil {
		return nil, err
	}
	text := marshal(e)
	if old.Version > 0 && same(old.Text, text) {
		return nil, nil
	}
	return []Write{{Type: "Endpoint", ID: e.ID, Text: text, Version: old.Version}}, nil
}

// checked remembers for a while of which partitions the Endpoint is there.
type checked struct {
	mu sync.Mutex
	at map[string]time.Time
}

// checkTime is how long an Endpoint that was there is taken for granted.
const checkTime = time.Minute

func (c *checked) recent(partition string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.at[partition]
	return ok && now.Sub(at) < checkTime
}

func (c *checked) add(partition string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.at[partition]; ok && now.Sub(at) < checkTime {
		return
	}
	if c.at == nil {
		c.at = map[string]time.Time{}
	}
	c.at[partition] = now
}

func (c *checked) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.at)
}
