package imaging

import (
	"encoding/json"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// patient is a Patient that is made because there is none.
type patient struct {
	ResourceType string       `json:"resourceType"`
	ID           string       `json:"id"`
	Identifier   []identifier `json:"identifier"`
	Name         []humanName  `json:"name,omitempty"`
	Gender       string       `json:"gender,omitempty"`
	BirthDate    string       `json:"birthDate,omitempty"`
}

type humanName struct {
	Extension []extension `json:"extension,omitempty"`
	Family    string      `json:"family,omitempty"`
	Given     []string    `json:"given,omitempty"`
	Prefix    []string    `json:"prefix,omitempty"`
	Suffix    []string    `json:"suffix,omitempty"`
}

// urlRepresentation says in which script a name is written.
const urlRepresentation = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"

// newPatient returns the Patient of a study.
func (c *Config) newPatient(s *Study, id *identifier) patient {
	issuer := ""
	if id.Assigner != nil {
		issuer = id.Assigner.Display
	}
	p := patient{
		ResourceType: "Patient", ID: c.id("Patient", id.System, issuer, id.Value), Identifier: []identifier{*id},
		Name: names(s.Attrs), BirthDate: date(text(s.Attrs, dcm.TagPatientBirthDate)),
	}
	switch sex := strings.ToUpper(text(s.Attrs, dcm.TagPatientSex)); sex {
	case "":
	case "M":
		p.Gender = "male"
	case "F":
		p.Gender = "female"
	case "O":
		p.Gender = "other"
	default:
		p.Gender = "unknown"
	}
	return p
}

// names reads Patient's Name: up to three groups, each with five components
// (PS3.5 section 6.2.1).
func names(a dicom.Attributes) (list []humanName) {
	values := valuesOf(a.Get(dcm.TagPatientName))
	var pn struct{ Alphabetic, Ideographic, Phonetic string }
	if len(values) == 0 || json.Unmarshal(values[0], &pn) != nil {
		return nil
	}
	several := pn.Ideographic != "" || pn.Phonetic != ""
	for _, g := range []struct{ text, script string }{{pn.Alphabetic, "ABC"}, {pn.Ideographic, "IDE"}, {pn.Phonetic, "SYL"}} {
		n, ok := groupOf(g.text)
		if !ok {
			continue
		}
		if several {
			n.Extension = []extension{{urlRepresentation, g.script}}
		}
		list = append(list, n)
	}
	return list
}

func groupOf(s string) (n humanName, ok bool) {
	var part [5]string
	for i, p := range strings.SplitN(s, "^", 6) {
		if i < len(part) {
			part[i] = clean(p)
		}
		ok = ok || i < len(part) && part[i] != ""
	}
	add := func(list []string, s string) []string {
		if s != "" {
			list = append(list, s)
		}
		return list
	}
	n.Family = part[0]
	n.Given = add(add(nil, part[1]), part[2])
	n.Prefix, n.Suffix = add(nil, part[3]), add(nil, part[4])
	return n, ok
}
