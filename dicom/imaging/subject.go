package imaging

import (
	"strings"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// patientIdentifier returns the identifier of the patient of a study, nil when
// the study has none. Its system is, in this order, the universal entity of the
// issuer (0010,0024), what the settings say about the issuer (0010,0021), the
// issuer itself if it is a URI or a UID, and without an issuer the one of the
// settings. An issuer that is none of this is only told: it leads to nobody.
func (c *Config) patientIdentifier(s *Study) *identifier {
	value := text(s.Attrs, dcm.TagPatientID)
	if value == "" {
		return nil
	}
	id := &identifier{Value: value, System: entitySystem(firstItem(s.Attrs.Get(tagIssuerOfPatientIDQualifiers)))}
	if id.System != "" {
		return id
	}
	issuer := text(s.Attrs, tagIssuerOfPatientID)
	switch system, known := c.Issuers[issuer]; {
	case issuer == "":
		id.System = c.PatientSystem
	case known:
		id.System = system
	case uri(issuer) != "":
		id.System = issuer
	case strings.Contains(issuer, ".") && dcm.CheckUID(issuer):
		id.System = "urn:oid:" + issuer
	default:
		id.Assigner = &assigner{issuer}
	}
	return id
}

// findable reports whether Patients are looked for by an identifier: a number
// whose issuer has no system could be that of somebody else elsewhere.
func (id *identifier) findable() bool { return id.Assigner == nil }

// noSubject stands where a study says nothing about its patient.
var noSubject = reference{Extension: []extension{{urlAbsent, "unknown"}}, Type: "Patient"}
