package dicom

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Reasons of failures and warnings, as (0008,1197) and (0008,1196) have them:
// those of PS3.4 annex B.2.3, and those of AHDS.
const (
	reasonProcessing      = 0x0110 // 272
	reasonValidation      = 0xA900 // 43264: data set does not match, or is not valid
	reasonMismatch        = 0xA901 // 43265: the study in the URL is another
	reasonDuplicate       = 0xB00E // 45070: the instance is there already
	reasonOutOfResources  = 0xA700 // 42752: no room
	warningValidation     = 1      // some elements are not valid; they are not in the metadata
	errorNumberValidation = 100
)

// finding is one thing that is wrong with an instance.
type finding struct {
	tag dcm.Tag
	msg string
}

// comment is the text for (0000,0902).
func (f finding) comment() string {
	return fmt.Sprintf("DICOM%d: %s - %s", errorNumberValidation, f.tag, f.msg)
}

// verdict is what validation says about an instance.
type verdict struct {
	reason   uint16 // of failure; 0 when it can be stored
	warning  uint16
	findings []finding
}

// required are the attributes without which nothing can be stored.
var required = []dcm.Tag{dcm.TagStudyInstanceUID, dcm.TagSeriesInstanceUID, dcm.TagSOPInstanceUID, dcm.TagSOPClassUID}

// validate checks an instance by the rules of an API version. Elements that are
// not valid are taken out of d, so that they are neither in the metadata nor
// in the index; the file keeps them. The order of checks is that of AHDS: presence,
// the study of the URL, values.
func validate(f *dcm.File, study string, version int, tags []*ExtendedTag) verdict {
	var v verdict
	d := f.Data
	fail := func(reason uint16, t dcm.Tag, msg string) {
		if v.reason == 0 {
			v.reason = reason
		}
		v.findings = append(v.findings, finding{t, msg})
	}
	for _, t := range required {
		switch s := d.String(t); {
		case d.Get(t) == nil:
			fail(reasonValidation, t, "The required tag is missing.")
		case s == "":
			fail(reasonValidation, t, "The required tag has no value.")
		case !dcm.CheckUID(s):
			fail(reasonValidation, t, "The value is not a valid UID.")
		}
	}
	checkPatientID(d, version, fail, &v)
	if v.reason == 0 && study != "" && !strings.EqualFold(strings.TrimRight(study, " "), d.String(dcm.TagStudyInstanceUID)) {
		fail(reasonMismatch, dcm.TagStudyInstanceUID, "The study is not the one of the request.")
	}
	if v.reason != 0 {
		return v
	}
	bad := invalid(d)
	for _, b := range bad {
		if version == 1 && isIndexed(b.tag, tags) || b.tag == dcm.TagPatientID {
			fail(reasonValidation, b.tag, b.msg)
		}
	}
	if v.reason != 0 {
		return v
	}
	for _, b := range bad {
		d.Remove(b.tag)
	}
	if len(bad) > 0 {
		v.warning, v.findings = warningValidation, append(v.findings, bad...)
	}
	return v
}

// checkPatientID: the attribute must be there; v1 wants a value, v2 notes its absence. A value must be valid.
func checkPatientID(d *dcm.Dataset, version int, fail func(uint16, dcm.Tag, string), v *verdict) {
	e := d.Get(dcm.TagPatientID)
	empty := d.String(dcm.TagPatientID) == ""
	switch {
	case version == 1 && e == nil:
		fail(reasonValidation, dcm.TagPatientID, "The required tag is missing.")
	case version == 1 && empty:
		fail(reasonValidation, dcm.TagPatientID, "The required tag has no value.")
	case empty:
		v.warning = warningValidation
		v.findings = append(v.findings, finding{dcm.TagPatientID, "The required tag is missing or has no value."})
	}
}

// invalid returns the top-level elements that are not valid, or have an item that is not.
func invalid(d *dcm.Dataset) []finding {
	var out []finding
	for i := range d.Elements {
		e := &d.Elements[i]
		if err := checkElement(d, e); err != nil {
			out = append(out, finding{e.Tag, err.Error()})
		}
	}
	return out
}

var errItem = errors.New("An item holds an attribute that is not valid: ")

func checkElement(d *dcm.Dataset, e *dcm.Element) error {
	if e.Tag.Group() == 2 || e.Tag&0xFFFF == 0 {
		return nil
	}
	for _, it := range e.Items {
		for j := range it.Elements {
			if err := checkElement(it, &it.Elements[j]); err != nil {
				return fmt.Errorf("%w%s %w", errItem, it.Elements[j].Tag, err)
			}
		}
	}
	return d.Check(e)
}

// isIndexed reports whether an attribute is one that searches lean on; tags are
// the extended query tags.
func isIndexed(t dcm.Tag, tags []*ExtendedTag) bool {
	switch t {
	case dcm.TagStudyInstanceUID, dcm.TagSeriesInstanceUID, dcm.TagSOPInstanceUID:
		return true
	}
	for i := range Columns {
		if Columns[i].Tag == t && Columns[i].Item == 0 {
			return true
		}
	}
	return slices.ContainsFunc(tags, func(x *ExtendedTag) bool { return x.Tag == t && t.Group()%2 == 0 })
}
