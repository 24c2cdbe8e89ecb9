package fhir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// An active SearchParameter resource defines a search parameter of the service:
// what is written from then on is indexed by it. It is complete when a reindex
// has seen what was there before, or when nothing was.

// ParamStore is a Store that remembers which custom parameters are complete.
//
// It also sees to it that nothing is indexed by definitions that are not valid
// any more, whoever changed them: a change of a SearchParameter or of a state
// begins a new edition of the definitions, and Apply, Import and Reindex fail with
// ErrOutdated, before they have done anything, until Defined has said that the
// registry holds that edition. Values that were extracted by an older generation
// of the registry are extracted anew.
type ParamStore interface {
	// ParamStates returns the parameters that were ever indexed, by the Key of
	// search.Custom, and whether they are complete. The definitions that are read
	// afterwards are those of the edition, or newer.
	ParamStates(ctx context.Context) (states map[string]bool, edition int64, err error)
	// SetParamState stores a state. One that is complete stays it, until ForgetParam.
	SetParamState(ctx context.Context, key string, complete bool) error
	// Defined says which edition the registry holds.
	Defined(edition int64)
	// ForgetParam removes the rows and the state of parameters that are no more.
	// It fails with ErrOutdated when the definitions have changed meanwhile.
	ForgetParam(ctx context.Context, key string) error
}

// ParamSwitcher is a Store that remembers which search parameters are disabled. A
// change begins a new edition of the definitions, see ParamStore.
type ParamSwitcher interface {
	DisabledParams(ctx context.Context) (urls []string, err error)
	SwitchParams(ctx context.Context, list []ParamSwitch) error
	// SwitchParamsIn is SwitchParams unless the edition is another one by now: then
	// it is ErrOutdated, and nothing was changed.
	SwitchParamsIn(ctx context.Context, edition int64, list []ParamSwitch) error
}

// ParamSwitch disables the search parameters with a URL, or enables them again.
type ParamSwitch struct {
	URL string
	Off bool
}

// ErrOutdated says that the search parameters have changed, on this node or on
// another, and have to be read again with LoadParams.
var ErrOutdated = errors.New("the search parameters changed")

// params are the custom parameters of a service.
type params struct {
	mu      sync.Mutex
	list    []*custom
	edition int64
}

// custom is a parameter with the resource that defines it.
type custom struct {
	*search.Custom
	id string
}

// Param tells about one search parameter.
type Param struct {
	URL, Code string
	Types     []string
	Complete  bool
}

// Params returns the custom parameters.
func (s *Service) Params(ctx context.Context) (out []Param, err error) {
	if err := s.Allow(ctx, VerbParamStatus); err != nil {
		return nil, err
	}
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	for _, c := range s.params.list {
		out = append(out, Param{URL: c.URL, Code: c.Code, Types: c.Types(), Complete: !c.Partial})
	}
	return out, nil
}

// Disabled reports whether the search parameters with a URL are disabled.
func (s *Service) Disabled(url string) bool { return s.reg.Disabled(url) }

// SwitchParams disables search parameters and enables them again (PUT
// SearchParameter/$status of Azure Health Data Services). A disabled one is
// indexed all the same, so that it is complete when it is enabled.
func (s *Service) SwitchParams(ctx context.Context, list []ParamSwitch) error {
	if err := s.Allow(ctx, VerbParamSwitch); err != nil {
		return err
	}
	sw, ok := s.store.(ParamSwitcher)
	if !ok {
		return fault.New(fault.NotImplemented, "this store cannot disable search parameters")
	}
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	if err := sw.SwitchParams(ctx, list); err != nil {
		return err
	}
	return s.loadParams(context.WithoutCancel(ctx))
}

// LoadParams reads the SearchParameter resources of the store and defines what
// they describe. It is called once when a service starts.
func (s *Service) LoadParams(ctx context.Context) error {
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	return s.loadParams(ctx)
}

// FollowParams is LoadParams when another node has changed them.
func (s *Service) FollowParams(ctx context.Context) error {
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	if ps, ok := s.store.(ParamStore); ok {
		if _, edition, err := ps.ParamStates(ctx); err != nil || edition == s.params.edition {
			return err
		}
	}
	return s.loadParams(ctx)
}

// loadParams begins again when it stored a state, which is a new edition.
func (s *Service) loadParams(ctx context.Context) error {
	for {
		if stored, err := s.loadEdition(ctx); err != nil || !stored {
			return err
		}
	}
}

func (s *Service) loadEdition(ctx context.Context) (stored bool, err error) {
	states, edition := map[string]bool{}, int64(0)
	ps, remembers := s.store.(ParamStore)
	if remembers {
		if states, edition, err = ps.ParamStates(ctx); err != nil {
			return false, err
		}
	}
	list, err := s.readParams(ctx)
	if err != nil {
		return false, err
	}
	for _, c := range list {
		done, known := states[c.Key]
		if !known && remembers {
			if done, err = s.nothingOf(ctx, c.Types()); err != nil {
				return false, err
			}
			if err = ps.SetParamState(ctx, c.Key, done); err != nil {
				return false, err
			}
			stored = true
		}
		c.Partial = !done
		delete(states, c.Key)
	}
	if stored {
		return true, nil
	}
	customs := make([]*search.Custom, len(list))
	for i, c := range list {
		customs[i] = c.Custom
	}
	s.reg.SetCustom(customs)
	s.params.list = list
	if stored, err := s.loadDisabled(ctx, edition); err != nil || stored {
		return stored, err
	}
	if !remembers {
		return false, nil
	}
	s.params.edition = edition
	ps.Defined(edition)
	for key := range states { // of definitions that are gone or changed
		if err := ps.ForgetParam(ctx, key); err != nil && !errors.Is(err, ErrOutdated) { // whoever reads the next edition goes on
			return false, err
		}
	}
	return false, nil
}

// loadDisabled reads which parameters are disabled. One whose definition is gone is
// not any more: when it is made again, it begins anew. Another node may have
// defined and disabled it since the definitions of the edition were read: then they
// are read again.
func (s *Service) loadDisabled(ctx context.Context, edition int64) (stored bool, err error) {
	sw, ok := s.store.(ParamSwitcher)
	if !ok {
		return false, nil
	}
	off, err := sw.DisabledParams(ctx)
	if err != nil {
		return false, err
	}
	var gone []ParamSwitch
	for _, url := range off {
		if !s.reg.Defines(url) {
			gone = append(gone, ParamSwitch{URL: url})
		}
	}
	s.reg.SetDisabled(off)
	if len(gone) == 0 {
		return false, nil
	}
	if err := sw.SwitchParamsIn(ctx, edition, gone); !errors.Is(err, ErrOutdated) {
		return true, err
	}
	return true, nil
}

// outdatedTries is how often a change is tried again because the search
// parameters changed.
const outdatedTries = 5

// defined calls f again when it fails because the search parameters changed, after
// load has read them: FollowParams, or loadParams where the caller holds params.mu.
func (s *Service) defined(ctx context.Context, load func(context.Context) error, f func() error) error {
	for range outdatedTries {
		err := f()
		if !errors.Is(err, ErrOutdated) {
			return err
		}
		if err := load(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return &fault.Error{Kind: fault.Transient, Msg: "the search parameters of the service keep changing; try again", RetryAfter: time.Second}
}

// Reindex is Reindexer.Reindex of the store, by the definitions of now.
func (s *Service) Reindex(ctx context.Context, from ReindexFrom) (next ReindexFrom, err error) {
	r, ok := s.store.(Reindexer)
	if !ok {
		return from, fault.New(fault.NotImplemented, "this store cannot be indexed again")
	}
	err = s.defined(ctx, s.FollowParams, func() error {
		next, err = r.Reindex(ctx, from)
		return err
	})
	return next, err
}

// nothingOf reports whether no resource of the types is stored.
func (s *Service) nothingOf(ctx context.Context, types []string) (bool, error) {
	r, ok := s.store.(Reindexer)
	if !ok {
		return false, nil
	}
	n, err := r.Size(ctx, types)
	return n == 0, err
}

// readParams reads the resources that define parameters. One that is not valid
// any more, because another version of the program let it in, defines nothing.
func (s *Service) readParams(ctx context.Context) (list []*custom, err error) {
	q := &search.Query{Types: []string{"SearchParameter"}, Count: 1000}
	for {
		page, err := s.store.Search(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Records {
			rec := &page.Records[i]
			c, ok, _ := s.readParam(rec.Key, rec.Stored)
			if ok && !slices.ContainsFunc(list, func(o *custom) bool { return collision(o, c) != nil }) {
				list = append(list, c)
			}
		}
		if q.After = page.Next; q.After == "" {
			return list, nil
		}
	}
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(t string) bool { return slices.Contains(b, t) })
}

// readParam reads a stored SearchParameter. Azure Health Data Services takes a
// draft as it takes an active one.
func (s *Service) readParam(k Key, stored []byte) (*custom, bool, error) {
	var d resource.Doc
	if err := d.Parse(resource.AppendResource(nil, resource.Header{Type: k.Type, ID: k.ID}, stored), resource.Options{}); err != nil {
		return nil, false, err
	}
	c, ok, err := search.ReadCustom(d.Root(), "", s.cfg.Compat == CompatAHDS)
	if !ok || err != nil {
		return nil, false, err
	}
	def, err := json.Marshal([]any{c.Code, c.Type, c.Expression, c.Base, c.Target, c.Components})
	if err != nil {
		return nil, false, err
	}
	h := sha256.Sum256(def)
	c.Key = k.ID + "." + hex.EncodeToString(h[:6])
	return &custom{Custom: c, id: k.ID}, true, nil
}

// commit hands a change to the store. SearchParameters in it are checked before
// and defined after.
func (s *Service) commit(ctx context.Context, c *Change) (done []Applied, err error) {
	if !slices.ContainsFunc(c.Ops, func(op Op) bool { return op.Key.Type == "SearchParameter" }) {
		err = s.defined(ctx, s.FollowParams, func() error {
			done, err = s.store.Apply(ctx, c)
			return err
		})
		return done, err
	}
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	err = s.defined(ctx, s.loadParams, func() error {
		if err := s.checkParams(c.Ops); err != nil {
			return err
		}
		done, err = s.store.Apply(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	// The change is on disk: what follows must not end with the request.
	if err := s.loadParams(context.WithoutCancel(ctx)); err != nil {
		return nil, fault.Wrap("fhir: define search parameters", err)
	}
	return done, nil
}

// checkParams refuses definitions that cannot be used, or collide with each other
// or with those that stay beside them.
func (s *Service) checkParams(ops []Op) error {
	others := slices.Clone(s.params.list)
	for i := range ops {
		others = slices.DeleteFunc(others, func(c *custom) bool { return ops[i].Key == Key{"SearchParameter", c.id} })
	}
	for i := range ops {
		if ops[i].Key.Type != "SearchParameter" || ops[i].Kind != OpPut {
			continue
		}
		c, ok, err := s.readParam(ops[i].Key, ops[i].Stored)
		if err != nil {
			return definitionError(err)
		}
		if !ok {
			continue
		}
		for _, o := range others {
			if err := collision(o, c); err != nil {
				return err
			}
		}
		if err := s.reg.Check(c.Custom); err != nil {
			return definitionError(err)
		}
		others = append(others, c)
	}
	return nil
}

// collision says why c cannot be defined beside o.
func collision(o, c *custom) error {
	switch {
	case o.URL == c.URL:
		return fault.At(fault.Invalid, "duplicate", "SearchParameter.url", "the search parameter %s is defined by SearchParameter/%s already", c.URL, o.id)
	case o.Code == c.Code && overlap(o.Types(), c.Types()):
		return fault.At(fault.Invalid, "duplicate", "SearchParameter.code", "the code %q is that of %s already, which SearchParameter/%s defines for the same types", c.Code, o.URL, o.id)
	}
	return nil
}

// definitionError locates what is wrong in the SearchParameter.
func definitionError(err error) error {
	e, ok := errors.AsType[*search.Error](err)
	if !ok || !strings.HasPrefix(e.Param, "SearchParameter.") {
		return searchError(err)
	}
	return fault.At(fault.Invalid, e.Code, e.Param, "%s", e.Msg)
}

// Partials returns what a reindex is about: the types whose resources it reads,
// and the keys of the parameters that it makes complete. urls are those of custom
// parameters; none means all that are not complete. only are the types that the
// reindex is limited to; none means no limit. Without either, and with all
// parameters complete, there are no types, which means all.
func (s *Service) Partials(urls, only []string) (keys, types []string, err error) {
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	for _, u := range urls {
		if !slices.ContainsFunc(s.params.list, func(c *custom) bool { return c.URL == u }) {
			return nil, nil, fault.New(fault.Invalid, "%.128q is not the url of a custom search parameter; those of R4 are always complete", u)
		}
	}
	for _, c := range s.params.list {
		if len(urls) == 0 && !c.Partial || len(urls) > 0 && !slices.Contains(urls, c.URL) {
			continue
		}
		outside := func(t string) bool { return len(only) > 0 && !slices.Contains(only, t) }
		if c.Partial && !slices.ContainsFunc(c.Types(), outside) {
			keys = append(keys, c.Key)
		}
		types = append(types, slices.DeleteFunc(slices.Clone(c.Types()), outside)...)
	}
	switch {
	case len(urls) == 0 && len(only) > 0:
		types = slices.Clone(only)
	case len(urls) > 0 && len(types) == 0:
		return nil, nil, fault.New(fault.Invalid, "the search parameters are for none of these types")
	}
	slices.Sort(keys)
	slices.Sort(types)
	return keys, slices.Compact(types), nil
}

// Reindexed marks parameters as complete after a reindex that began when they
// were defined.
func (s *Service) Reindexed(ctx context.Context, keys []string) error {
	s.params.mu.Lock()
	defer s.params.mu.Unlock()
	ps, ok := s.store.(ParamStore)
	if !ok {
		return nil
	}
	for _, c := range s.params.list {
		if !slices.Contains(keys, c.Key) {
			continue
		}
		if err := ps.SetParamState(ctx, c.Key, true); err != nil {
			return err
		}
	}
	return s.loadParams(ctx)
}
