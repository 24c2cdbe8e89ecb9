package dicom

import (
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Kind says how the values of an attribute are compared.
type Kind uint8

// The kinds.
const (
	KindText     Kind = iota // without regard to case
	KindName                 // without regard to case and accents
	KindUID                  // exactly
	KindDate                 // DA
	KindTime                 // TM
	KindDateTime             // DT
	KindInteger              // IS, SL, SS, SV, UL, US, UV
	KindDecimal              // DS, FD, FL
)

// Ranged reports whether a-b means a range.
func (k Kind) Ranged() bool { return k == KindDate || k == KindTime || k == KindDateTime }

// Column is an attribute that instances are found by, kept in the row of its level.
type Column struct {
	Level Level
	Tag   dcm.Tag
	Item  dcm.Tag // the attribute inside the items of the sequence Tag; 0 for none
	Name  string  // of the column
	Kind  Kind
}

// Columns are the attributes with a column of their own, in the order in which
// Values holds them: those that AHDS and the standard (PS3.18 table 10.6.1-5) want.
var Columns = [...]Column{
	{LevelStudy, dcm.TagPatientName, 0, "patient_name", KindName},
	{LevelStudy, dcm.TagPatientID, 0, "patient_id", KindText},
	{LevelStudy, dcm.TagPatientBirthDate, 0, "birth_date", KindDate},
	{LevelStudy, dcm.TagPatientSex, 0, "sex", KindText},
	{LevelStudy, dcm.TagAccessionNumber, 0, "accession", KindText},
	{LevelStudy, dcm.TagReferringPhysicianName, 0, "referring", KindName},
	{LevelStudy, dcm.TagStudyDate, 0, "study_date", KindDate},
	{LevelStudy, dcm.TagStudyTime, 0, "study_time", KindTime},
	{LevelStudy, dcm.TagStudyDescription, 0, "description", KindText},
	{LevelStudy, dcm.TagStudyID, 0, "study_id", KindText},
	{LevelSeries, dcm.TagModality, 0, "modality", KindText},
	{LevelSeries, dcm.TagSeriesNumber, 0, "number", KindInteger},
	{LevelSeries, dcm.TagSeriesDescription, 0, "description", KindText},
	{LevelSeries, dcm.TagManufacturerModelName, 0, "model", KindText},
	{LevelSeries, dcm.TagPerformedStepStartDate, 0, "pps_date", KindDate},
	{LevelSeries, dcm.TagPerformedStepStartTime, 0, "pps_time", KindTime},
	{LevelSeries, dcm.TagRequestAttributesSequence, dcm.TagScheduledProcedureStepID, "step_id", KindText},
	{LevelSeries, dcm.TagRequestAttributesSequence, dcm.TagRequestedProcedureID, "procedure_id", KindText},
	{LevelInstance, dcm.TagSOPClassUID, 0, "class", KindUID},
	{LevelInstance, dcm.TagInstanceNumber, 0, "number", KindInteger},
}

// Values are what one instance is found by, normalised, in the order of Columns;
// "" stands for no value, and leaves that of a study or series as it was.
type Values [len(Columns)]string

// Cleared is a value of a study or series that takes the place of the one before
// and is none to search for: that of a name without letters, or of a sequence
// whose items do not have the attribute. No normalised value is a space.
const Cleared = " "

// valuesOf reads the values of the columns.
func valuesOf(d *dcm.Dataset) (v Values) {
	for i := range Columns {
		c := &Columns[i]
		var there bool
		if v[i], there = c.valueOf(d); v[i] == "" && there {
			v[i] = Cleared
		}
	}
	return v
}

// valueOf reads the value of a column. there says that the data set has an
// attribute that says what it is, even if that is nothing.
func (c *Column) valueOf(d *dcm.Dataset) (value string, there bool) {
	if c.Item == 0 {
		s := d.String(c.Tag)
		return Normal(c.Kind, s), s != ""
	}
	e := d.Get(c.Tag)
	if e == nil {
		return "", false
	}
	for _, it := range e.Items {
		if s := it.String(c.Item); s != "" {
			return Normal(c.Kind, s), true
		}
	}
	return "", len(e.Items) > 0
}

// Normal returns the form in which a value of a kind is stored and compared.
func Normal(k Kind, s string) string {
	switch k {
	case KindText:
		return strings.ToLower(s)
	case KindName:
		return search.Fold(strings.TrimRight(s, "^="))
	case KindInteger:
		if n, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return s
}

// NameWords returns the words of a name that is normalised, which fuzzy matching
// compares.
func NameWords(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(" ^=-,", r) })
}

// studyTags and seriesTags are the attributes that belong to a study (with its
// patient) and to a series: what a search at that level can return without
// looking at an instance. They are those that AHDS returns, and those of PS3.18 tables 10.6.3-3 and -4.
var (
	studyTags = tagSet(
		dcm.TagSpecificCharacterSet, dcm.TagStudyDate, dcm.TagStudyTime, dcm.TagAccessionNumber, 0x00080051,
		dcm.TagInstanceAvailability, 0x00080063, dcm.TagReferringPhysicianName, dcm.TagTimezoneOffsetFromUTC,
		dcm.TagStudyDescription, 0x00081032, 0x00081048, 0x00081060, 0x00081080, 0x00081110,
		dcm.TagPatientName, dcm.TagPatientID, 0x00100021, 0x00100024, dcm.TagPatientBirthDate, 0x00100032, dcm.TagPatientSex,
		0x00101000, 0x00101010, 0x00101020, 0x00101030, 0x00102160, 0x00102180, 0x001021B0, 0x00104000,
		dcm.TagStudyInstanceUID, dcm.TagStudyID, 0x00321032, 0x00321060)
	seriesTags = tagSet(
		dcm.TagSpecificCharacterSet, dcm.TagSeriesDate, dcm.TagSeriesTime, dcm.TagModality, 0x00080070, dcm.TagTimezoneOffsetFromUTC,
		0x00081010, dcm.TagSeriesDescription, 0x0008103F, 0x00081050, 0x00081070, dcm.TagManufacturerModelName, 0x00180015, 0x00180010, 0x00181030, 0x00185100,
		dcm.TagSeriesInstanceUID, dcm.TagSeriesNumber, 0x00200052, 0x00200060,
		dcm.TagPerformedStepStartDate, dcm.TagPerformedStepStartTime, 0x00400253, 0x00400254, dcm.TagRequestAttributesSequence)
)

func tagSet(tags ...dcm.Tag) map[dcm.Tag]bool {
	m := make(map[dcm.Tag]bool, len(tags))
	for _, t := range tags {
		m[t] = true
	}
	return m
}

// levelOf returns the level that an attribute belongs to.
func levelOf(t dcm.Tag) Level {
	switch {
	case t == dcm.TagSpecificCharacterSet || t == dcm.TagTimezoneOffsetFromUTC:
		return LevelInstance
	case studyTags[t]:
		return LevelStudy
	case seriesTags[t]:
		return LevelSeries
	}
	return LevelInstance
}
