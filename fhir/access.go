package fhir

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// A token with SMART scopes (SMART App Launch 2.2, "Scopes for requesting FHIR
// Resources") sees a part of the resources: of the types that its scopes name,
// those in the compartment of the patient or user in context, and of these the
// ones that match the search criteria of a scope. Searches get that as one more
// constraint, and every resource that leaves by whatever way is checked again.

// universal are the types that belong to nobody: who may read something may
// read these, when a scope names them. Types that are in no compartment and not
// in this list are nobody's to see by a patient's token.
var universal = []string{
	"ActivityDefinition", "CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "Endpoint", "HealthcareService",
	"ImplementationGuide", "Library", "Location", "Measure", "Medication", "MedicationKnowledge", "NamingSystem", "OperationDefinition",
	"Organization", "PlanDefinition", "Practitioner", "PractitionerRole", "Questionnaire", "SearchParameter", "StructureDefinition",
	"StructureMap", "Substance", "ValueSet",
}

// owners are the types of fhirUser that have a compartment of their own.
var owners = []string{"Patient", "Practitioner", "RelatedPerson", "Device"}

// accesses keeps what tokens with the same scopes and the same context may do.
type accesses struct {
	mu    sync.Mutex
	byKey map[string]*search.Access
}

// maxAccesses bounds what is kept; one of all types takes some 30 KiB.
const maxAccesses = 500

func (c *accesses) keep(key string, a *search.Access) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byKey) >= maxAccesses {
		clear(c.byKey)
	}
	if c.byKey == nil {
		c.byKey = map[string]*search.Access{}
	}
	c.byKey[key] = a
}

// access returns what the principal of ctx may do p with; nil when only its
// roles count. It is Forbidden when that is nothing.
func (s *Service) access(ctx context.Context, p auth.Perms) (*search.Access, error) {
	if !s.guard.On() {
		return nil, nil
	}
	who := auth.From(ctx)
	if who == nil {
		return nil, auth.ErrNoPrincipal
	}
	if !who.Limited {
		return nil, nil
	}
	owner := ownerOf(who, s.guard.Scope())
	var key strings.Builder
	key.WriteString(p.String() + "\x00" + who.Patient + "\x00" + owner)
	for i := range who.Scopes {
		key.WriteString("\x00" + who.Scopes[i].String())
	}
	s.seen.mu.Lock()
	a := s.seen.byKey[key.String()]
	s.seen.mu.Unlock()
	if a == nil {
		var err error
		if a, err = s.compile(ctx, who, owner, p); err != nil {
			return nil, err
		}
		// Criteria depend on the time and on value sets, so they are read anew.
		if !slices.ContainsFunc(who.Scopes, func(sc auth.Scope) bool { return sc.Query != "" }) {
			s.seen.keep(key.String(), a)
		}
	}
	if len(a.Types) == 0 {
		return nil, scopeMissing()
	}
	return a, nil
}

// scopeMissing is the answer when no scope of the token permits what was asked.
func scopeMissing() error {
	return fault.At(fault.Forbidden, "forbidden", "", "no scope of the token permits this")
}

// ownerOf returns whose compartment limits a user: "" for nobody's, "-" when the
// user may see nothing of its own. A patient is always limited; others are when
// they have no role that lets them read without a scope.
func ownerOf(who *auth.Principal, scope string) string {
	typ, _, _ := strings.Cut(who.FHIRUser, "/")
	if !who.SMARTOnly(scope) && typ != "Patient" && typ != "RelatedPerson" {
		return ""
	}
	if !slices.Contains(owners, typ) {
		return "-"
	}
	return who.FHIRUser
}

// compile makes the rules of a principal.
func (s *Service) compile(ctx context.Context, who *auth.Principal, owner string, p auth.Perms) (*search.Access, error) {
	a := &search.Access{Types: map[string][]search.AccessRule{}}
	for i := range who.Scopes {
		sc := &who.Scopes[i]
		if sc.Perms&p != p {
			continue
		}
		within, ok, err := s.within(who, owner, sc.For)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		types := []string{sc.Type}
		if sc.Type == "*" {
			types = r4.ResourceTypes()
		} else if !r4.IsResource(sc.Type) {
			continue
		}
		for _, typ := range types {
			if err := s.addRule(ctx, a, typ, sc, within, p); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// within returns the compartment of a scope, nil for none; ok is false when the
// scope permits nothing, because nobody is in context.
func (s *Service) within(who *auth.Principal, owner, context string) (c *search.CompartmentRef, ok bool, err error) {
	of := ""
	switch context {
	case auth.ForPatient:
		of = "Patient/" + who.Patient
		if who.Patient == "" {
			of = who.FHIRUser
		}
		if !strings.HasPrefix(of, "Patient/") {
			return nil, false, nil
		}
	case auth.ForUser:
		of = owner
	case auth.ForSystem:
		if who.SMARTOnly(s.guard.Scope()) {
			return nil, false, nil // a client needs a role of its own
		}
	}
	if of == "" {
		return nil, true, nil
	}
	typ, id, found := strings.Cut(of, "/")
	if !found || !ValidID(id) {
		return nil, false, nil
	}
	c, err = s.compartmentOf(typ, id)
	return c, true, err
}

// compartmentOf returns a compartment for the purpose of access. Other patients
// that are linked to the one in it do not count as in it, and the types that the
// standard forgot do when they have a parameter patient.
func (s *Service) compartmentOf(typ, id string) (*search.CompartmentRef, error) {
	c, err := s.reg.Compartment(typ, id, nil)
	if err != nil {
		return nil, searchError(err)
	}
	if typ != "Patient" {
		return c, nil
	}
	c.Params = maps.Clone(c.Params)
	c.Params["Patient"] = nil
	delete(c.Params, "Group") // its members are other patients
	for _, t := range r4.ResourceTypes() {
		if _, in := c.Params[t]; in || t == "Group" || slices.Contains(universal, t) {
			continue
		}
		if p := s.reg.Param(t, "patient"); p != nil && p.Unsupported == "" && p.Kind == search.Reference {
			c.Params[t] = []*search.Param{p}
		}
	}
	return c, nil
}

// addRule adds what a scope permits of one type.
func (s *Service) addRule(ctx context.Context, a *search.Access, typ string, sc *auth.Scope, within *search.CompartmentRef, p auth.Perms) error {
	var rule search.AccessRule
	if within != nil {
		if slices.Contains(universal, typ) {
			if p&^(auth.PermRead|auth.PermSearch) != 0 {
				return nil // everybody's, so not for one to write
			}
		} else if _, in := within.Params[typ]; !in && (typ != "Binary" || p != auth.PermRead) {
			return nil // a Binary is in no compartment, but see proxied
		} else {
			rule.Compartment = within
		}
	}
	if sc.Query != "" {
		where, err := s.scopeClauses(ctx, typ, sc)
		if err != nil {
			return err
		}
		rule.Where = where
	}
	a.Types[typ] = append(a.Types[typ], rule)
	return nil
}

// scopeClauses parses the criteria of a scope. What cannot be understood, or
// decided on the resource alone, permits nothing rather than everything.
func (s *Service) scopeClauses(ctx context.Context, typ string, sc *auth.Scope) ([]*search.Clause, error) {
	bad := func() error {
		return fault.At(fault.Forbidden, "forbidden", "", "a scope of the token has search criteria on %s that are not supported here", typ)
	}
	params, err := search.ParseQuery(sc.Query)
	if err != nil {
		return nil, bad()
	}
	in := &Interaction{Verb: VerbSearch, Type: typ, Strict: true}
	q, _, err := s.reg.Parse([]string{typ}, nil, params, sc.Query, s.parseOptions(ctx, in))
	if err != nil || len(q.Where) == 0 || len(q.Includes) > 0 || len(q.Sort) > 0 {
		return nil, bad()
	}
	for _, c := range q.Where {
		if len(c.Chain)+len(c.Any)+len(c.All) > 0 || c.Has != nil {
			return nil, bad()
		}
	}
	return q.Where, nil
}

// restrict limits a query to what the principal of ctx may search.
func (s *Service) restrict(ctx context.Context, q *search.Query) error {
	a, err := s.access(ctx, auth.PermSearch)
	if err != nil || a == nil {
		return err
	}
	if c := q.Contained; c != nil && len(a.Types[c.Type]) == 0 {
		return scopeMissing()
	}
	if len(q.Types) == 0 {
		q.Types = slices.Sorted(maps.Keys(a.Types))
	} else {
		q.Types = slices.DeleteFunc(slices.Clone(q.Types), func(t string) bool { return len(a.Types[t]) == 0 })
	}
	if len(q.Types) == 0 {
		return scopeMissing()
	}
	for _, c := range q.Where {
		if err := reachable(a, q.Types, c); err != nil {
			return err
		}
	}
	for _, k := range q.Sort { // an order is an answer too
		if k.Via != nil && !a.Open(k.Target) {
			return fault.At(fault.Forbidden, "forbidden", "", "_sort looks into resources of type %s that the token may not see", k.Target)
		}
	}
	q.Access = a
	return nil
}

// reachable refuses a chain or reverse chain that would tell about resources
// that cannot be seen: whether it finds something is an answer too.
func reachable(a *search.Access, types []string, c *search.Clause) error {
	refuse := func(typ string) error {
		return fault.At(fault.Forbidden, "forbidden", "", "%s looks into resources of type %s that the token may not see", clip(c.Name), typ)
	}
	for i := range c.Chain {
		if target := c.Chain[i].Target; !a.Open(target) {
			return refuse(target)
		}
		if err := reachable(a, []string{c.Chain[i].Target}, c.Chain[i].Next); err != nil {
			return err
		}
	}
	for _, part := range slices.Concat(c.Any, c.All) {
		if err := reachable(a, types, part); err != nil {
			return err
		}
	}
	switch {
	case c.Has == nil:
		return nil
	case c.Has.Type == "":
		return fault.At(fault.Forbidden, "forbidden", "", "%s looks into resources of all types, which the token may not see", clip(c.Name))
	case !a.Open(c.Has.Type) && !ownLink(a, types, c.Has):
		return refuse(c.Has.Type)
	case c.Has.Next == nil:
		return nil
	}
	return reachable(a, []string{c.Has.Type}, c.Has.Next)
}

// ownLink reports whether the resources of a reverse chain are in the
// compartment by the very reference that the chain follows: then it can only
// find what the token may see.
func ownLink(a *search.Access, types []string, h *search.Has) bool {
	rules := a.Types[h.Type]
	if len(rules) == 0 || len(types) != 1 || h.Ref == nil {
		return false
	}
	return slices.ContainsFunc(rules, func(r search.AccessRule) bool {
		c := r.Compartment
		return len(r.Where) == 0 && c != nil && c.Self && c.Type == types[0] && len(c.Params[c.Type]) == 0 && c.Links(h.Type, h.Ref)
	})
}

// sight is reusable memory to look into stored bodies.
type sight struct {
	text   []byte
	doc    resource.Doc
	values search.Values
}

// sees reports whether a version of a resource may be shown.
func (s *Service) sees(ctx context.Context, a *search.Access, rec *Record, w *sight) (bool, error) {
	rules := a.Types[rec.Type]
	if len(rules) == 0 || rec.Deleted {
		return false, nil
	}
	if a.Open(rec.Type) {
		return true, nil
	}
	w.text = resource.AppendResource(w.text[:0], resource.Header{Type: rec.Type, ID: rec.ID}, rec.Stored)
	if err := w.doc.Parse(w.text, resource.Options{MaxDepth: maxStoredDepth}); err != nil {
		return false, fault.Wrap("fhir: stored resource", err)
	}
	w.values.Reset()
	if err := s.reg.Extract(w.doc.Root(), nil, &w.values); err != nil {
		return false, fault.Wrap("fhir: extract "+rec.String(), err)
	}
	if a.Allows(subject(rec.Key, rec.Seq, &w.values)) || rec.Type != "Binary" {
		return a.Allows(subject(rec.Key, rec.Seq, &w.values)), nil
	}
	return s.proxied(ctx, a, rec, w)
}

// proxied reports whether a Binary may be shown because the resource may that
// its securityContext names (R4 section 2.38.3). Whoever wrote the Binary put it
// there; that a DocumentReference points to a Binary says nothing, because
// anybody who may write one could point to anything.
func (s *Service) proxied(ctx context.Context, a *search.Access, rec *Record, w *sight) (bool, error) {
	typ, id, ok := strings.Cut(w.doc.Root().Get("securityContext").Get("reference").Text(), "/")
	k := Key{Type: typ, ID: id}
	if !ok || typ == "Binary" || !r4.IsResource(typ) || !ValidID(id) || slices.Contains(universal, typ) {
		return false, nil
	}
	criteria := slices.Clone(a.Types[rec.Type])
	for i := range criteria {
		criteria[i].Compartment = nil
	}
	if !(&search.Access{Types: map[string][]search.AccessRule{rec.Type: criteria}}).Allows(subject(rec.Key, rec.Seq, &w.values)) {
		return false, nil
	}
	of, err := s.store.Read(ctx, k)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return s.sees(ctx, a, &of, w)
}

func subject(k Key, seq Seq, v *search.Values) search.Subject {
	return search.Subject{Type: k.Type, ID: k.ID, Millis: seq.Time().UnixMilli(), Values: v}
}

// Visible reports whether the principal of ctx may read a version of a
// resource: what every operation asks before it hands one out. A deletion is
// visible when the version before it is.
func (s *Service) Visible(ctx context.Context, rec *Record) (bool, error) {
	a, err := s.access(ctx, auth.PermRead)
	if a == nil || err != nil {
		return err == nil, err
	}
	return s.visible(ctx, a, rec, new(sight))
}

func (s *Service) visible(ctx context.Context, a *search.Access, rec *Record, w *sight) (bool, error) {
	if !rec.Deleted {
		return s.sees(ctx, a, rec, w)
	}
	if a.Open(rec.Type) {
		return true, nil
	}
	before, err := s.store.ReadVersion(ctx, rec.Key, rec.Version-1)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return s.sees(ctx, a, &before, w)
}

// hide turns a record that may not be shown into one that does not exist.
func (s *Service) hide(ctx context.Context, rec *Record) error {
	ok, err := s.Visible(ctx, rec)
	if err == nil && !ok {
		err = fault.At(fault.NotFound, "not-found", "", "%s does not exist", rec.Key)
	}
	return err
}

// filter keeps the records of a list that may be shown.
func (s *Service) filter(ctx context.Context, a *search.Access, list []Record) ([]Record, error) {
	var w sight
	out := list[:0:0]
	for i := range list {
		ok, err := s.visible(ctx, a, &list[i], &w)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, list[i])
		}
	}
	return out, nil
}

// mayWrite checks an operation against what the principal of ctx may write: the
// version that is there, which is pinned, and the one that comes. create and
// update are what it takes to make a new resource and to change one.
func (s *Service) mayWrite(ctx context.Context, op *Op) error {
	if who := auth.From(ctx); !s.guard.On() || who != nil && !who.Limited {
		return s.mayCreate(who, op)
	}
	cur, err := s.store.Read(ctx, op.Key)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	exists := err == nil && !cur.Deleted
	perm := auth.PermUpdate
	switch {
	case op.Kind == OpDelete || op.Kind == OpHardDelete:
		perm = auth.PermDelete
	case !exists:
		perm = auth.PermCreate
	}
	a, err := s.access(ctx, perm)
	if err != nil {
		return err
	}
	if exists {
		if ok, err := s.sees(ctx, a, &cur, new(sight)); err != nil || !ok {
			return deny(err)
		}
		if op.IfMatch == 0 {
			op.IfMatch, op.pinned = cur.Version, true
		}
	} else if perm == auth.PermDelete {
		return s.mayForget(ctx, a, op.Key, &cur)
	} else if op.Kind == OpPut {
		op.MustNotExist = true
	} else if len(a.Types[op.Key.Type]) == 0 {
		return scopeMissing()
	}
	if op.Kind == OpPut && (!a.Allows(subject(op.Key, 0, op.Values)) || foreign(a, op)) {
		return scopeMissing()
	}
	return nil
}

// mayForget answers a delete of what is not there: as one of what is there and
// cannot be seen, or the two would tell which ids there are. What was seen before
// it was deleted can be deleted again.
func (s *Service) mayForget(ctx context.Context, a *search.Access, k Key, rec *Record) error {
	switch {
	case a.Open(k.Type):
		return nil
	case rec.Deleted:
		if ok, err := s.visible(ctx, a, rec, new(sight)); err != nil || ok {
			return err
		}
	}
	return scopeMissing()
}

func deny(err error) error {
	if err != nil {
		return err
	}
	return scopeMissing()
}

// mayCreate keeps an update from creating for those who may only update, and
// from changing for those who may only create.
func (s *Service) mayCreate(who *auth.Principal, op *Op) error {
	if who == nil || op.Kind != OpPut {
		return nil
	}
	can := who.Allowed(s.guard.Scope())
	switch {
	case !can.Has(auth.FHIRCreate):
		op.MustExist = true
	case !can.Has(auth.FHIRUpdate):
		op.MustNotExist = true
	}
	return nil
}

// foreign reports whether a resource is about another patient too: one that
// names the patient in context as its author, say. To read it is one thing, to
// write into the record of somebody else another.
func foreign(a *search.Access, op *Op) bool {
	for _, rule := range a.Types[op.Key.Type] {
		c := rule.Compartment
		if c == nil || c.Type != "Patient" {
			return false
		}
		for _, ref := range op.Values.References {
			code := ref.Param.Code
			if (code == "patient" || code == "subject") && ref.Type == "Patient" && ref.ID != c.ID {
				return true
			}
		}
	}
	return false
}
