package dicom

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// WorkitemKey is an attribute that work items are found by.
type WorkitemKey struct {
	Tag  dcm.Tag
	Item dcm.Tag // the attribute inside the items of the sequence Tag; 0 for none
	Kind Kind
	// Common says that many work items have the same value.
	Common bool
}

// WorkitemKeys are the attributes that AHDS searches by. New ones are added at the end.
var WorkitemKeys = [...]WorkitemKey{
	{dcm.TagPatientName, 0, KindName, false},
	{dcm.TagPatientID, 0, KindText, false},
	{0x0040A370, dcm.TagAccessionNumber, KindText, false},
	{0x0040A370, dcm.TagRequestedProcedureID, KindText, false},
	{0x00404005, 0, KindDateTime, true},
	{0x00404025, tagCodeValue, KindText, true},
	{0x00404026, tagCodeValue, KindText, true},
	{0x00404027, tagCodeValue, KindText, true},
	{tagProcedureStepState, 0, KindText, true},
	{dcm.TagStudyInstanceUID, 0, KindUID, false},
}

// workitemValues reads what a work item is found by, each value once.
func workitemValues(d *dcm.Dataset) (out []WorkitemValue) {
	for i := range WorkitemKeys {
		k := &WorkitemKeys[i]
		from := []*dcm.Dataset{d}
		t := k.Tag
		if k.Item != 0 {
			from, t = nil, k.Item
			if e := d.Get(k.Tag); e != nil {
				from = e.Items
			}
		}
		for _, s := range from {
			for _, v := range s.Strings(t) {
				if w := (WorkitemValue{i, Normal(k.Kind, v)}); w.Value != "" && !slices.Contains(out, w) {
					out = append(out, w)
				}
			}
		}
	}
	return out
}

// workitemDefaults are what a search returns without being asked: the
// attributes of table CC.2.5-3 with a return key of type 1 or 2.
var workitemDefaults = sorted(
	dcm.TagSOPClassUID, dcm.TagSOPInstanceUID,
	0x00741200, 0x00741204, tagWorklistLabel, 0x00741210, 0x00404025, 0x00404026, 0x00404027, 0x00404034, 0x00404005,
	0x00404018, 0x00404041, 0x00404021, dcm.TagStudyInstanceUID,
	dcm.TagPatientName, dcm.TagPatientID, 0x00100021, 0x00100024, 0x00101002, dcm.TagPatientBirthDate, dcm.TagPatientSex,
	0x00380010, 0x00380014, 0x00081080, 0x00081084, 0x0040A370,
	0x00102000, 0x001021C0, 0x00380050,
	tagProcedureStepState, tagProgressInformation)

// WorkitemQuery is a search of the worklist, parsed and checked.
type WorkitemQuery struct {
	Partition Partition
	Filters   []WorkitemFilter
	Limit     int
	Offset    int
	After     int64 // the key that the page before ended with; 0 for the first

	tags []dcm.Tag // what is returned; nil means everything
}

// WorkitemFilter is a condition on one of WorkitemKeys.
type WorkitemFilter struct {
	Key int
	Filter
}

// SearchWorkitems answers a search (PS3.18 section 11.9). Everything that is not
// understood is Invalid.
func (s *Service) SearchWorkitems(ctx context.Context, partition string, params url.Values) (*Page, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	part, err := s.partition(ctx, partition, false)
	if err != nil {
		return nil, err
	}
	q, err := parseWorkitemQuery(params)
	if err != nil {
		return nil, err
	}
	q.Partition = part
	p := &Page{}
	last := int64(0)
	more, err := s.store.SearchWorkitems(ctx, q, func(key int64, a Attributes) error {
		p.next()
		p.JSON = a.only(q.tags).AppendJSON(p.JSON, "")
		last = key
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.end(more, Cursor{Key: last}), nil
}

// only returns the attributes with one of the tags, which are sorted; nil means all.
func (a Attributes) only(tags []dcm.Tag) Attributes {
	if tags == nil {
		return a
	}
	var out Attributes
	for t, object := range a.All() {
		if _, ok := slices.BinarySearch(tags, t); ok {
			out = out.add(t, object)
		}
	}
	return out
}

func parseWorkitemQuery(params url.Values) (*WorkitemQuery, error) {
	opt := &Query{Limit: defaultLimit}
	names, err := opt.options(params)
	if err != nil {
		return nil, err
	}
	q := &WorkitemQuery{Limit: opt.Limit, Offset: opt.Offset}
	if opt.After != nil {
		q.After = opt.After.Key
	}
	wanted := slices.Concat(workitemDefaults, opt.Include)
	seen := map[int]bool{}
	for _, name := range names {
		k, err := workitemKey(name)
		values := params[name]
		switch {
		case err != nil:
			return nil, err
		case seen[k] || len(values) > 1:
			return nil, invalid400("The attribute %.64q is there more than once.", name)
		case values[0] == "":
			return nil, invalid400("The attribute %.64q has no value.", name)
		}
		seen[k] = true
		f := WorkitemFilter{Key: k, Filter: Filter{Column: -1, Kind: WorkitemKeys[k].Kind}}
		if err := f.value(name, values[0], opt.fuzzy); err != nil {
			return nil, err
		}
		q.Filters = append(q.Filters, f)
		wanted = append(wanted, WorkitemKeys[k].Tag)
	}
	if !opt.All {
		q.tags = slices.Compact(sorted(wanted...))
	}
	return q, nil
}

// workitemKey finds the key of a query parameter: keywords or tags, separated by
// a dot when the attribute is in a sequence.
func workitemKey(name string) (int, error) {
	outer, inner, nested := strings.Cut(name, ".")
	tag, ok := dcm.ParseAttribute(outer)
	item := dcm.Tag(0)
	if ok && nested {
		item, ok = dcm.ParseAttribute(inner)
	}
	for i := range WorkitemKeys {
		if ok && WorkitemKeys[i].Tag == tag && WorkitemKeys[i].Item == item {
			return i, nil
		}
	}
	return 0, invalid400("Invalid workitem query. AttributeId %.64q is not queryable.  If the parameter is an attribute keyword, check the casing as they are case-sensitive.", name)
}
