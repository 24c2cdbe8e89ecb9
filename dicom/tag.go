package dicom

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// ExtendedTag is an attribute that an operator made searchable (extended query
// tag of AHDS).
type ExtendedTag struct {
	ID        int64
	Tag       dcm.Tag
	VR        dcm.VR
	Creator   string // of a private tag
	Level     Level
	Status    TagStatus
	Disabled  bool   // searches are refused
	Operation string // the reindex operation while the tag is being added
	Errors    int64  // instances whose value could not be indexed
}

// TagStatus says where in its life a tag is.
type TagStatus uint8

// The states of a tag.
const (
	TagAdding TagStatus = iota
	TagReady
	TagDeleting
)

// String returns the name of the state in the API.
func (s TagStatus) String() string { return [...]string{"Adding", "Ready", "Deleting"}[s] }

// TagValue is the value of an extended tag for the level of an instance.
type TagValue struct {
	Tag   *ExtendedTag
	Value string
	Err   string // why it is not indexed; the value is "" then
}

// TagError is an instance whose value could not be indexed.
type TagError struct {
	UIDs
	At      time.Time
	Message string
}

// Tags is the part of the store that keeps extended query tags.
type Tags interface {
	// Tags returns all tags, sorted by tag, and the version of the list, which
	// changes when tags are added or deleted.
	Tags(ctx context.Context) (list []*ExtendedTag, version int64, err error)
	// Follow calls f once and after each change of a tag by any process, until ctx ends.
	Follow(ctx context.Context, f func(context.Context))
	// AddTags stores new ones and sets their IDs; Conflict when one is there.
	AddTags(ctx context.Context, list []*ExtendedTag) error
	// SetTag stores status, Disabled and operation of a tag.
	SetTag(ctx context.Context, t *ExtendedTag) error
	// DeleteTag removes a tag with its values and errors.
	DeleteTag(ctx context.Context, t *ExtendedTag) error
	// Reindex calls f for instances stored after a version, at most limit, and
	// stores the values that it returns. It returns the last version and whether
	// there may be more.
	Reindex(ctx context.Context, after Version, limit int, f func(Attributes) []TagValue) (last Version, more bool, err error)
	// TagErrors returns errors of a tag in the order of the instances.
	TagErrors(ctx context.Context, t *ExtendedTag, limit, offset int) ([]TagError, error)
}

// maxTags is the limit of AHDS.
const maxTags = 128

// tagKinds are the VRs that a tag can have, and how their values are compared.
var tagKinds = map[dcm.VR]Kind{
	dcm.AE: KindText, dcm.AS: KindText, dcm.CS: KindText, dcm.DA: KindDate, dcm.DS: KindDecimal, dcm.DT: KindDateTime,
	dcm.FD: KindDecimal, dcm.FL: KindDecimal, dcm.IS: KindInteger, dcm.LO: KindText, dcm.PN: KindName, dcm.SH: KindText,
	dcm.SL: KindInteger, dcm.SS: KindInteger, dcm.TM: KindTime, dcm.UI: KindUID, dcm.UL: KindInteger, dcm.US: KindInteger,
}

// Kind says how values of the tag are compared.
func (t *ExtendedTag) Kind() Kind { return tagKinds[t.VR] }

// tagList is what storing and searching go by. It is replaced as a whole.
type tagList struct {
	load sync.Mutex // held while the list is read and replaced: none by an older one
	p    atomic.Pointer[tagsAt]
}

type tagsAt struct {
	list    []*ExtendedTag
	version int64
}

func (l *tagList) get() []*ExtendedTag {
	if p := l.p.Load(); p != nil {
		return p.list
	}
	return nil
}

// loadTags reads the list again.
func (s *Service) loadTags(ctx context.Context) error {
	s.tags.load.Lock()
	defer s.tags.load.Unlock()
	list, version, err := s.store.Tags(ctx)
	if err == nil {
		s.tags.p.Store(&tagsAt{list, version})
	}
	return err
}

// followTags keeps the list as other processes change it, until ctx ends.
func (s *Service) followTags(ctx context.Context) {
	s.store.Follow(ctx, func(ctx context.Context) {
		if err := s.loadTags(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "extended query tags could not be read", slog.Any("err", err))
		}
	})
}

// tagTries is how often an instance gets its values again because the list has changed.
const tagTries = 10

// withTags gives records their values of extended query tags and calls put,
// again when the list is another one by then: none may be stored by an old list
// after the scan of a new tag has passed it.
func (s *Service) withTags(ctx context.Context, recs []*Record, put func(version int64) error) error {
	for try := 0; ; try++ {
		at := s.tags.p.Load()
		for _, r := range recs {
			r.Tags = tagValues(r.Attrs, at.list)
		}
		err := put(at.version)
		if !errors.Is(err, ErrTagsChanged) {
			return err
		}
		if try == tagTries {
			return &fault.Error{Kind: fault.Transient, Op: "dicom: tags", Msg: "the extended query tags are changing; try again"}
		}
		if err := s.loadTags(ctx); err != nil {
			return err
		}
	}
}

// NewTag is a tag as a client asks for it.
type NewTag struct {
	Path, VR, PrivateCreator, Level string
}

// AddTags makes attributes searchable: those of instances that come from now on
// at once, those that are there by an operation, whose id comes back.
func (s *Service) AddTags(ctx context.Context, list []NewTag) (string, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMTags); err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fault.New(fault.Invalid, "There is no tag in the request.")
	}
	var tags []*ExtendedTag
	for _, n := range list {
		t, err := checkTag(n)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(tags, func(o *ExtendedTag) bool { return o.Tag == t.Tag }) {
			return "", fault.New(fault.Invalid, "The tag %s is in the request twice.", t.Tag.Hex())
		}
		tags = append(tags, t)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	have := s.tags.get()
	for _, t := range tags {
		if slices.ContainsFunc(have, func(o *ExtendedTag) bool { return o.Tag == t.Tag }) {
			return "", fault.New(fault.Conflict, "The tag %s is an extended query tag already.", t.Tag.Hex())
		}
	}
	if len(have)+len(tags) > maxTags {
		return "", fault.New(fault.Invalid, "There can be %d extended query tags, not more.", maxTags)
	}
	if id, err := s.pending(ctx, OperationReindex); err != nil {
		return "", err
	} else if id != "" {
		return id, fault.New(fault.Conflict, "The operation %s is adding tags; try again when it is complete.", id)
	}
	id := s.newID()
	for _, t := range tags {
		t.Operation = id
	}
	err := s.store.AddTags(ctx, tags)
	if err == nil {
		err = s.loadTags(ctx)
	}
	if err != nil {
		return "", err
	}
	op, err := s.begin(ctx, id, OperationReindex, reindexInput{Tags: hexes(tags)})
	if err != nil {
		return "", err
	}
	return op.ID, nil
}

func hexes(tags []*ExtendedTag) (out []string) {
	for _, t := range tags {
		out = append(out, t.Tag.Hex())
	}
	return out
}

// checkTag turns what a client asks for into a tag.
func checkTag(n NewTag) (*ExtendedTag, error) {
	bad := func(format string, args ...any) (*ExtendedTag, error) {
		return nil, fault.New(fault.Invalid, "The tag %.64q cannot be added: "+format, append([]any{n.Path}, args...)...)
	}
	tag, ok := dcm.ParseAttribute(n.Path)
	if !ok || tag.Group() < 8 && !tag.Private() {
		return bad("its path is neither a keyword nor a tag of eight hexadecimal digits.")
	}
	t := &ExtendedTag{Tag: tag, Creator: n.PrivateCreator}
	switch strings.ToLower(n.Level) {
	case "study":
		t.Level = LevelStudy
	case "series":
		t.Level = LevelSeries
	case "instance":
		t.Level = LevelInstance
	default:
		return bad("its level is not Study, Series or Instance.")
	}
	if isIndexed(tag, nil) || computed(tag) || tag == dcm.TagRequestAttributesSequence {
		return bad("it can be searched by already.")
	}
	e, known := dcm.Lookup(tag)
	switch {
	case tag.Private() && !tag.Creator():
		if n.VR == "" || n.PrivateCreator == "" {
			return bad("a private tag needs its VR and its private creator.")
		}
	case !known:
		return bad("it is not a tag of the standard.")
	case n.PrivateCreator != "":
		return bad("a tag of the standard has no private creator.")
	case n.VR != "" && !slices.Contains(strings.Split(e.VRs, "/"), strings.ToUpper(n.VR)):
		return bad("its VR is %s.", e.VRs)
	}
	t.VR = e.VR
	if n.VR != "" {
		t.VR, _ = dcm.ParseVR(strings.ToUpper(n.VR))
	}
	if _, ok := tagKinds[t.VR]; !ok {
		return bad("attributes of its VR cannot be searched by.")
	}
	return t, nil
}

// ListTags returns a page of the tags.
func (s *Service) ListTags(ctx context.Context, limit, offset int) ([]*ExtendedTag, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	list, _, err := s.store.Tags(ctx)
	if err != nil {
		return nil, err
	}
	list = list[min(offset, len(list)):]
	return list[:min(limit, len(list))], nil
}

// Tag returns one tag by its path, or NotFound.
func (s *Service) Tag(ctx context.Context, path string) (*ExtendedTag, error) {
	return s.tagFor(ctx, auth.DICOMRead, path)
}

// tagFor is Tag for those who may do something with it.
func (s *Service) tagFor(ctx context.Context, a auth.Actions, path string) (*ExtendedTag, error) {
	if err := s.guard.Authorize(ctx, a); err != nil {
		return nil, err
	}
	tag, ok := dcm.ParseAttribute(path)
	if !ok {
		return nil, fault.New(fault.Invalid, "%.64q is neither a keyword nor a tag of eight hexadecimal digits.", path)
	}
	list, _, err := s.store.Tags(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if t.Tag == tag {
			return t, nil
		}
	}
	return nil, fault.New(fault.NotFound, "The specified extended query tag cannot be found.")
}

// EnableTag allows searches by a tag, or refuses them.
func (s *Service) EnableTag(ctx context.Context, path string, enabled bool) (*ExtendedTag, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.tagFor(ctx, auth.DICOMTags, path)
	if err != nil {
		return nil, err
	}
	t.Disabled = !enabled
	if err := s.store.SetTag(ctx, t); err != nil {
		return nil, err
	}
	return t, s.loadTags(ctx)
}

// DeleteTag removes a tag. While it is being added that is Conflict.
func (s *Service) DeleteTag(ctx context.Context, path string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.tagFor(ctx, auth.DICOMTags, path)
	if err != nil {
		return err
	}
	if t.Status != TagReady {
		return fault.New(fault.Conflict, "The tag %s is being added; try again when the operation %s is complete.", t.Tag.Hex(), t.Operation)
	}
	if err := s.store.DeleteTag(ctx, t); err != nil {
		return err
	}
	return s.loadTags(ctx)
}

// TagErrors returns a page of the instances that a tag could not be indexed for.
func (s *Service) TagErrors(ctx context.Context, path string, limit, offset int) ([]TagError, error) {
	t, err := s.Tag(ctx, path)
	if err != nil {
		return nil, err
	}
	return s.store.TagErrors(ctx, t, limit, offset)
}

// tagValues are the values of an instance for some tags, from its metadata.
func tagValues(a Attributes, tags []*ExtendedTag) []TagValue {
	var out []TagValue
	for _, t := range tags {
		if v, msg := t.value(a); v != "" || msg != "" {
			out = append(out, TagValue{Tag: t, Value: v, Err: msg})
		}
	}
	return out
}

// value reads the first value of the tag.
func (t *ExtendedTag) value(a Attributes) (value, problem string) {
	object := a.Get(t.Tag)
	if object == nil {
		return "", ""
	}
	if t.Creator != "" {
		if v, _ := firstValue(a.Get(t.Tag.CreatorTag())); v != t.Creator {
			return "", ""
		}
	}
	v, vr := firstValue(object)
	if v == "" {
		return "", ""
	}
	if vr != t.VR.String() {
		return "", "The value is of VR " + vr + ", the tag of VR " + t.VR.String() + "."
	}
	n, ok := normalTag(t.Kind(), v)
	if !ok {
		return "", "The value does not have the form of VR " + t.VR.String() + "."
	}
	return n, ""
}

// normalTag is the form in which values of a tag are kept; false when v is none.
func normalTag(k Kind, v string) (string, bool) {
	switch k {
	case KindInteger:
		n, err := strconv.ParseInt(v, 10, 64)
		return strconv.FormatInt(n, 10), err == nil
	case KindDecimal:
		f, err := strconv.ParseFloat(v, 64)
		return strconv.FormatFloat(f, 'g', -1, 64), err == nil && !math.IsNaN(f)
	}
	return Normal(k, v), true
}

// firstValue reads the first value of an attribute of DICOM JSON as text.
func firstValue(object []byte) (value, vr string) {
	var a struct {
		VR    string            `json:"vr"`
		Value []json.RawMessage `json:"Value"`
	}
	if object == nil || json.Unmarshal(object, &a) != nil || len(a.Value) == 0 {
		return "", a.VR
	}
	raw := a.Value[0]
	switch raw[0] {
	case '"':
		var s string
		_ = json.Unmarshal(raw, &s) // ours
		return s, a.VR
	case '{':
		var n struct{ Alphabetic, Ideographic, Phonetic string }
		_ = json.Unmarshal(raw, &n) // ours
		return strings.TrimRight(n.Alphabetic+"="+n.Ideographic+"="+n.Phonetic, "="), a.VR
	case 'n':
		return "", a.VR
	}
	return string(raw), a.VR
}

// reindexInput and reindexState are an operation that adds tags.
type reindexInput struct {
	Tags []string `json:"tags"`
}

type reindexState struct {
	After Version `json:"after"`
	Last  Version `json:"last"` // where the scan began to end; 0 = not known yet
}

const reindexBatch = 200

// reindex gives the tags that are being added their values for a batch of instances.
func (s *Service) reindex(ctx context.Context, op *Operation) (bool, error) {
	var in reindexInput
	var st reindexState
	if err := decodeState(op, &in, &st); err != nil {
		return false, err
	}
	var tags []*ExtendedTag
	for _, t := range s.tags.get() {
		if t.Operation == op.ID && t.Status == TagAdding {
			tags = append(tags, t)
		}
	}
	if len(tags) == 0 {
		return true, encodeState(op, st, map[string]any{})
	}
	if st.Last == 0 {
		if c, err := s.store.Latest(ctx, false); err != nil {
			return false, err
		} else if c != nil {
			st.Last = Version(c.Sequence)
		}
	}
	last, more, err := s.store.Reindex(ctx, st.After, reindexBatch, func(a Attributes) []TagValue { return tagValues(a, tags) })
	if err != nil {
		return false, err
	}
	st.After = last
	if st.Last > 0 {
		op.Percent = min(99, int(100*last/st.Last))
	}
	if err := encodeState(op, st, map[string]any{}); err != nil || more {
		return false, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	list, _, err := s.store.Tags(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range list {
		if t.Operation == op.ID && t.Status == TagAdding {
			t.Status, t.Disabled = TagReady, t.Errors > 0
			if err := s.store.SetTag(ctx, t); err != nil {
				return false, err
			}
		}
	}
	return true, s.loadTags(ctx)
}

// dropAdding removes the tags that an operation was adding.
func (s *Service) dropAdding(ctx context.Context, operation string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	list, _, err := s.store.Tags(ctx)
	for _, t := range list {
		if t.Status == TagAdding && t.Operation == operation && err == nil {
			err = s.store.DeleteTag(ctx, t)
		}
	}
	return errors.Join(err, s.loadTags(ctx))
}

// ReindexedTags returns the tags that an operation adds; nil for other operations.
func ReindexedTags(op *Operation) []string {
	var in reindexInput
	if op.Kind != OperationReindex || json.Unmarshal(op.Input, &in) != nil {
		return nil
	}
	return in.Tags
}
