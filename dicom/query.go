package dicom

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Query is a search (QIDO-RS), parsed and checked.
type Query struct {
	Partition Partition
	Level     Level // of the matches
	Under     UIDs  // the study and series in the path
	Filters   []Filter
	Limit     int
	Offset    int
	After     *Cursor   // the match that the page before ended with
	Include   []dcm.Tag // attributes wanted beside the default ones
	All       bool      // all attributes of the levels
	// Instance wants the metadata of an instance with each match: its own, or of
	// the latest one below it.
	Instance bool
	// Erroneous are extended query tags in the filters that some instances could
	// not be indexed for.
	Erroneous []string

	fuzzy bool
	extra []*ExtendedTag // that can be searched by
}

// Filter is one condition. Exactly one of Column (>= 0), UID, Modalities and Tag
// says what it is about.
type Filter struct {
	Column     int // index into Columns; -1 when it is one of the others
	UID        bool
	Level      Level // of the attribute
	Modalities bool
	Tag        *ExtendedTag // an extended query tag
	Kind       Kind

	Any      []string // one of these, normalised
	Pattern  string   // with * and ?, normalised
	From, To string   // a range when either is set; both inclusive
	Words    []string // each begins a word of the name (fuzzy matching)
}

// Ranged reports whether the filter is a range.
func (f *Filter) Ranged() bool { return f.From != "" || f.To != "" }

// Cursor is a place in the order of matches.
type Cursor struct {
	Day string // the study date, when the matches are sorted by it
	Key int64
}

// String returns the cursor as clients give it back.
func (c Cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.Day + "." + strconv.FormatInt(c.Key, 36)))
}

func parseCursor(s string) (*Cursor, error) {
	if b, err := base64.RawURLEncoding.DecodeString(s); err == nil {
		day, key, ok := strings.Cut(string(b), ".")
		if n, err := strconv.ParseInt(key, 36, 64); ok && err == nil && n > 0 {
			return &Cursor{day, n}, nil
		}
	}
	return nil, invalid400("The cursor is not one of this service.")
}

// Match is one result of a search.
type Match struct {
	UIDs
	Cursor          Cursor
	Study, Series   Attributes // of the levels
	Instance        Attributes // metadata, as Query.Instance says
	Modalities      string     // of the study: CT\MR
	StudySeries     int64      // counts
	StudyInstances  int64
	SeriesInstances int64
}

// The limits of AHDS for a page.
const (
	defaultLimit = 100
	maxLimit     = 200
)

func invalid400(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// ParseQuery reads the parameters of a search for a level below the UIDs of the
// path. Everything that is not understood is Invalid.
func (s *Service) ParseQuery(level Level, under UIDs, params url.Values) (*Query, error) {
	if err := under.check(); err != nil {
		return nil, err
	}
	q := &Query{Level: level, Under: under, Limit: defaultLimit, extra: s.tags.get()}
	attributes, err := q.options(params)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, name := range attributes {
		if err := q.attribute(name, params[name], q.fuzzy, seen); err != nil {
			return nil, err
		}
	}
	for _, t := range q.Include {
		if levelOf(t) > q.Level && !computed(t) {
			q.Instance = true
		}
	}
	q.Instance = q.Instance || q.Level == LevelInstance
	return q, nil
}

// options reads what is no attribute: how much of the matches is wanted, and how
// names are compared. It returns the names of the other parameters in order.
func (q *Query) options(params url.Values) (attributes []string, err error) {
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch values := params[name]; name {
		case "limit":
			q.Limit, err = intParam(name, values, 1, maxLimit)
		case "offset":
			q.Offset, err = intParam(name, values, 0, 1<<31)
		case "cursor":
			q.After, err = parseCursor(values[0])
		case "fuzzymatching":
			q.fuzzy = strings.EqualFold(values[0], "true")
			if len(values) > 1 || !q.fuzzy && !strings.EqualFold(values[0], "false") {
				err = invalid400("fuzzymatching is true or false.")
			}
		case "includefield":
			err = q.include(values)
		default:
			attributes = append(attributes, name)
		}
		if err != nil {
			return nil, err
		}
	}
	return attributes, nil
}

func intParam(name string, values []string, low, high int) (int, error) {
	n, err := strconv.Atoi(values[0])
	if err != nil || len(values) > 1 || n < low || n > high {
		return 0, invalid400("%s is a number from %d to %d.", name, low, high)
	}
	return n, nil
}

func (q *Query) include(values []string) error {
	for _, v := range values {
		for f := range strings.SplitSeq(v, ",") {
			f = strings.TrimSpace(f)
			if strings.EqualFold(f, "all") {
				q.All = true
				continue
			}
			t, ok := dcm.ParseAttribute(f)
			if !ok {
				return invalid400("includefield: %.64q is neither a keyword nor a tag of eight hexadecimal digits.", f)
			}
			if !slices.Contains(q.Include, t) {
				q.Include = append(q.Include, t)
			}
		}
	}
	return nil
}

// computed are attributes that are not in any file but counted or made.
func computed(t dcm.Tag) bool {
	switch t {
	case dcm.TagModalitiesInStudy, dcm.TagNumberOfStudySeries, dcm.TagNumberOfStudyInstances, dcm.TagNumberOfSeriesInstances, dcm.TagRetrieveURL:
		return true
	}
	return false
}

// attribute adds the filter of one parameter.
func (q *Query) attribute(name string, values []string, fuzzy bool, seen map[string]bool) error {
	outer, inner, nested := strings.Cut(name, ".")
	tag, ok := dcm.ParseAttribute(outer)
	var item dcm.Tag
	if ok && nested {
		item, ok = dcm.ParseAttribute(inner)
	}
	if !ok {
		return invalid400("Unknown query parameter %.64q: neither a keyword nor a tag.", name)
	}
	id := tag.Hex() + item.Hex()
	if seen[id] || len(values) > 1 {
		return invalid400("The attribute %.64q is there more than once.", name)
	}
	seen[id] = true
	f, err := q.field(name, tag, item)
	if err != nil {
		return err
	}
	if values[0] == "" {
		return invalid400("The attribute %.64q has no value.", name)
	}
	if err := f.value(name, values[0], fuzzy); err != nil {
		return err
	}
	q.Filters = append(q.Filters, f)
	return nil
}

// field finds what an attribute is in the index.
func (q *Query) field(name string, tag, item dcm.Tag) (Filter, error) {
	f := Filter{Column: -1, Kind: KindUID}
	switch tag {
	case dcm.TagStudyInstanceUID:
		f.UID, f.Level = true, LevelStudy
	case dcm.TagSeriesInstanceUID:
		f.UID, f.Level = true, LevelSeries
	case dcm.TagSOPInstanceUID:
		f.UID, f.Level = true, LevelInstance
	case dcm.TagModalitiesInStudy:
		f.Modalities, f.Kind = true, KindText
	}
	if f.UID && item == 0 {
		if f.Level == LevelStudy && q.Under.Study != "" || f.Level == LevelSeries && q.Under.Series != "" {
			return f, invalid400("The attribute %.64q is in the path already.", name)
		}
	}
	if !f.UID && !f.Modalities {
		f.Column = slices.IndexFunc(Columns[:], func(c Column) bool { return c.Tag == tag && c.Item == item })
		if f.Column >= 0 {
			f.Level, f.Kind = Columns[f.Column].Level, Columns[f.Column].Kind
		} else if err := q.extended(&f, name, tag, item); err != nil {
			return f, err
		}
	}
	if f.Level > q.Level {
		return f, invalid400("The attribute %.64q cannot be searched by at the level of %s.", name, strings.ToLower(q.Level.String()))
	}
	return f, nil
}

// extended makes a filter of an extended query tag.
func (q *Query) extended(f *Filter, name string, tag, item dcm.Tag) error {
	i := slices.IndexFunc(q.extra, func(t *ExtendedTag) bool { return t.Tag == tag })
	switch {
	case i < 0 || item != 0:
		return invalid400("The attribute %.64q cannot be searched by.", name)
	case q.extra[i].Status != TagReady:
		return invalid400("The attribute %.64q is being added; it cannot be searched by yet.", name)
	case q.extra[i].Disabled:
		return invalid400("Searches by the attribute %.64q are disabled.", name)
	}
	f.Tag = q.extra[i]
	f.Level, f.Kind = f.Tag.Level, f.Tag.Kind()
	if f.Tag.Errors > 0 {
		q.Erroneous = append(q.Erroneous, tag.Hex())
	}
	if !slices.Contains(q.Include, tag) {
		q.Include = append(q.Include, tag)
	}
	return nil
}

// value reads what the attribute is compared with.
func (f *Filter) value(name, v string, fuzzy bool) error {
	v = strings.TrimRight(v, "\x00") // padding, which stored values are compared without
	switch {
	case f.UID, f.Kind == KindUID, f.Modalities, f.Column >= 0 && Columns[f.Column].Tag == dcm.TagModality:
		return f.list(name, v)
	case f.Kind.Ranged():
		return f.rangeOf(name, v)
	case f.Kind == KindInteger:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return invalid400("The value of %.64q is not a number.", name)
		}
		f.Any = []string{strconv.FormatInt(n, 10)}
		return nil
	case f.Kind == KindDecimal:
		n, ok := normalTag(KindDecimal, v)
		if !ok {
			return invalid400("The value of %.64q is not a number.", name)
		}
		f.Any = []string{n}
		return nil
	case f.Kind == KindName && fuzzy:
		if strings.Contains(v, `"`) {
			return invalid400("The value of %.64q may not hold a quotation mark.", name)
		}
		f.Words = NameWords(strings.ReplaceAll(Normal(KindName, v), "*", " "))
		if len(f.Words) == 0 {
			return invalid400("The value of %.64q has no word.", name)
		}
		return nil
	}
	n := Normal(f.Kind, strings.TrimSpace(v))
	if strings.ContainsAny(n, "*?") {
		f.Pattern = n
	} else {
		f.Any = []string{n}
	}
	return nil
}

// list reads values that are separated by commas or backslashes.
func (f *Filter) list(name, v string) error {
	for x := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == '\\' }) {
		x = strings.TrimSpace(x)
		if f.Kind == KindUID && !dcm.CheckUID(x) {
			return invalid400("The value of %.64q is not a valid UID.", name)
		}
		f.Any = append(f.Any, Normal(f.Kind, x))
	}
	if len(f.Any) == 0 {
		return invalid400("The attribute %.64q has no value.", name)
	}
	if len(f.Any) > 200 {
		return invalid400("The attribute %.64q has more than 200 values.", name)
	}
	return nil
}

// rangeOf reads a date or time, or a range of them (PS3.4 section C.2.2.2.5).
func (f *Filter) rangeOf(name, v string) error {
	from, to, isRange := cutRange(v)
	if !isRange {
		from, to = v, v
	}
	for _, x := range []string{from, to} {
		if x != "" && !validMoment(f.Kind, x) {
			return invalid400("The value of %.64q is not a %s or a range of them.", name, [...]string{KindDate: "date (yyyyMMdd)", KindTime: "time (HHmmss.FFFFFF)", KindDateTime: "date time without offset"}[f.Kind])
		}
	}
	if from == "" && to == "" || from != "" && to != "" && from > to {
		return invalid400("The range of %.64q is not valid: the end lies before the begin.", name)
	}
	f.From, f.To = from, to
	return nil
}

// cutRange splits a-b, a- and -b.
func cutRange(v string) (from, to string, ok bool) {
	from, to, ok = strings.Cut(v, "-")
	return strings.TrimSpace(from), strings.TrimSpace(to), ok
}

func validMoment(k Kind, s string) bool {
	vr := map[Kind]dcm.VR{KindDate: dcm.DA, KindTime: dcm.TM, KindDateTime: dcm.DT}[k]
	return !strings.ContainsAny(s, "+-") && dcm.CheckText(vr, s) == nil
}

// String shows the filter for a log or a test, without its values.
func (f *Filter) String() string {
	switch {
	case f.UID:
		return f.Level.String() + "InstanceUID"
	case f.Modalities:
		return "ModalitiesInStudy"
	case f.Tag != nil:
		return f.Tag.Tag.Hex()
	}
	return fmt.Sprintf("%s.%s", f.Level, Columns[f.Column].Name)
}
