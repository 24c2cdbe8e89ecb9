package dicom

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// The attributes that a search returns without being asked: those of AHDS in
// version 1 and 2 together, and those that the standard requires (PS3.18 section
// 10.6.3.3), which viewers rely on.
var (
	studyDefaults = sorted(dcm.TagSpecificCharacterSet, dcm.TagStudyDate, dcm.TagStudyTime, dcm.TagAccessionNumber,
		dcm.TagInstanceAvailability, dcm.TagModalitiesInStudy, dcm.TagReferringPhysicianName, dcm.TagTimezoneOffsetFromUTC,
		dcm.TagStudyDescription, dcm.TagRetrieveURL, dcm.TagPatientName, dcm.TagPatientID, dcm.TagPatientBirthDate, dcm.TagPatientSex,
		dcm.TagStudyInstanceUID, dcm.TagStudyID, dcm.TagNumberOfStudySeries, dcm.TagNumberOfStudyInstances)
	seriesDefaults = sorted(dcm.TagSpecificCharacterSet, dcm.TagModality, dcm.TagTimezoneOffsetFromUTC, dcm.TagSeriesDescription,
		dcm.TagManufacturerModelName, dcm.TagRetrieveURL, dcm.TagSeriesInstanceUID, dcm.TagSeriesNumber, dcm.TagNumberOfSeriesInstances,
		dcm.TagPerformedStepStartDate, dcm.TagPerformedStepStartTime, dcm.TagRequestAttributesSequence)
	instanceDefaults = sorted(dcm.TagSpecificCharacterSet, dcm.TagSOPClassUID, dcm.TagSOPInstanceUID, dcm.TagInstanceAvailability,
		dcm.TagTimezoneOffsetFromUTC, dcm.TagRetrieveURL, dcm.TagInstanceNumber, dcm.TagNumberOfFrames, dcm.TagRows, dcm.TagColumns, dcm.TagBitsAllocated)
)

func sorted(tags ...dcm.Tag) []dcm.Tag {
	slices.Sort(tags)
	return tags
}

// Page is the answer to a search.
type Page struct {
	JSON  []byte // the array of matches; nil when there are none
	Count int
	Next  string // the cursor of the next page; "" when this is the last
}

// next makes room for one more match.
func (p *Page) next() {
	if p.JSON == nil {
		p.JSON = append(make([]byte, 0, 16<<10), '[')
	} else {
		p.JSON = append(p.JSON, ',')
	}
	p.Count++
}

// end ends the array; last is the last match, behind which there may be more.
func (p *Page) end(more bool, last Cursor) *Page {
	if p.JSON != nil {
		p.JSON = append(p.JSON, ']')
	}
	if more {
		p.Next = last.String()
	}
	return p
}

// Search answers a query. base is the URL of the service up to /studies.
func (s *Service) Search(ctx context.Context, partition string, q *Query, base string) (*Page, error) {
	if err := s.guard.Authorize(ctx, auth.DICOMRead); err != nil {
		return nil, err
	}
	part, err := s.partition(ctx, partition, false)
	if err != nil {
		return nil, err
	}
	q.Partition = part
	p := &Page{}
	tags := q.tags()
	var last Cursor
	more, err := s.store.Search(ctx, q, func(m *Match) error {
		p.next()
		p.JSON = m.appendJSON(p.JSON, q, tags, base)
		last = m.Cursor
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.end(more, last), nil
}

// tags are the attributes to return, in order. Those of the levels above come
// along unless the path has named the level.
func (q *Query) tags() []dcm.Tag {
	var out []dcm.Tag
	add := func(level Level, list []dcm.Tag, all map[dcm.Tag]bool) {
		if q.Level < level || level < q.Level && level < q.Under.named() {
			return
		}
		out = append(out, list...)
		if q.All {
			for t := range all {
				out = append(out, t)
			}
		}
	}
	add(LevelStudy, studyDefaults, studyTags)
	add(LevelSeries, seriesDefaults, seriesTags)
	add(LevelInstance, instanceDefaults, nil)
	if q.Level >= LevelSeries {
		out = append(out, dcm.TagStudyInstanceUID)
	}
	if q.Level == LevelInstance {
		out = append(out, dcm.TagSeriesInstanceUID)
	}
	out = append(out, q.Include...)
	for i := range q.Filters {
		if f := &q.Filters[i]; f.Column >= 0 {
			out = append(out, Columns[f.Column].Tag)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// named is the level up to which, exclusively, UIDs of a path name levels.
func (u UIDs) named() Level {
	switch {
	case u.Series != "":
		return LevelInstance
	case u.Study != "":
		return LevelSeries
	}
	return LevelStudy
}

// appendJSON appends the attributes of a match.
func (m *Match) appendJSON(dst []byte, q *Query, tags []dcm.Tag, base string) []byte {
	dst = append(dst, '{')
	first := true
	bulk := BulkBase(base, m.UIDs)
	rest := m.Instance
	for _, t := range tags {
		var object []byte
		switch {
		case computed(t) || t == dcm.TagInstanceAvailability:
			object = m.computed(t, q.Level, base)
		case studyTags[t] && t != dcm.TagSpecificCharacterSet && t != dcm.TagTimezoneOffsetFromUTC:
			object = m.Study.Get(t)
		case seriesTags[t] && q.Level >= LevelSeries && m.Series != nil && t != dcm.TagSpecificCharacterSet && t != dcm.TagTimezoneOffsetFromUTC:
			object = m.Series.Get(t)
		case m.Instance != nil:
			object, rest = rest.seek(t)
		case q.Level == LevelSeries:
			object = m.Series.Get(t)
		default:
			object = m.Study.Get(t)
		}
		if object == nil {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendAttribute(dst, t, object, bulk)
	}
	if q.All && q.Level == LevelInstance {
		return m.appendRest(dst, tags, bulk)
	}
	return append(dst, '}')
}

// appendRest appends what the instance has beside the tags that were written.
func (m *Match) appendRest(dst []byte, tags []dcm.Tag, bulk string) []byte {
	for t, object := range m.Instance.All() {
		if _, ok := slices.BinarySearch(tags, t); ok || studyTags[t] || seriesTags[t] {
			continue
		}
		dst = appendAttribute(append(dst, ','), t, object, bulk)
	}
	return append(dst, '}')
}

// seek returns the object of a tag and the list from there on, for tags that are
// asked for in their order.
func (a Attributes) seek(t dcm.Tag) ([]byte, Attributes) {
	for len(a) > 0 {
		u, object, rest := a.first()
		if u >= t {
			if u == t {
				return object, a
			}
			return nil, a
		}
		a = rest
	}
	return nil, nil
}

// computed returns what the index knows and no file has.
func (m *Match) computed(t dcm.Tag, level Level, base string) []byte {
	n := int64(-1)
	switch t {
	case dcm.TagNumberOfStudySeries:
		n = m.StudySeries
	case dcm.TagNumberOfStudyInstances:
		n = m.StudyInstances
	case dcm.TagNumberOfSeriesInstances:
		if level < LevelSeries {
			return nil
		}
		n = m.SeriesInstances
	case dcm.TagInstanceAvailability:
		return []byte(`{"vr":"CS","Value":["ONLINE"]}`)
	case dcm.TagRetrieveURL:
		return m.retrieveURL(level, base)
	case dcm.TagModalitiesInStudy:
		if m.Modalities == "" {
			return nil
		}
		quoted := strings.ReplaceAll(strings.ReplaceAll(m.Modalities, `"`, ""), `\`, `","`)
		return []byte(`{"vr":"CS","Value":["` + quoted + `"]}`)
	}
	return append(strconv.AppendInt([]byte(`{"vr":"IS","Value":[`), n, 10), "]}"...)
}

func (m *Match) retrieveURL(level Level, base string) []byte {
	b := []byte(`{"vr":"UR","Value":["` + base + "/studies/" + m.UIDs.Study)
	if level >= LevelSeries {
		b = append(b, "/series/"+m.UIDs.Series...)
	}
	if level == LevelInstance {
		b = append(b, "/instances/"+m.SOP...)
	}
	return append(b, `"]}`...)
}
