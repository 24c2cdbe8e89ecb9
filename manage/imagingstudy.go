package manage

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// ImagingStudy says how a DICOM service keeps resources of a FHIR service in
// step with its studies.
type ImagingStudy struct {
	// Destination is the FHIR service of the same workspace that gets the resources.
	Destination string `json:"destination" yaml:"destination"`
	// Patients is reference (also when empty) or create.
	Patients string `json:"patients,omitempty" yaml:"patients,omitempty"`
	// PatientSystem is the system of the Patient IDs that come without an issuer.
	PatientSystem string `json:"patientSystem,omitempty" yaml:"patient_system,omitempty"`
	// Issuers are systems by Issuer of Patient ID.
	Issuers map[string]string `json:"issuers,omitempty" yaml:"issuers,omitempty"`
	// Address is the URL by which others reach the DICOM service, without the
	// version; empty: as the server knows itself.
	Address string `json:"address,omitempty" yaml:"address,omitempty"`
}

// PatientWays are the values of ImagingStudy.Patients.
var PatientWays = []string{"reference", "create"}

// maxIssuers bounds the issuers of one service.
const maxIssuers = 1000

// Equal reports whether i and j say the same.
func (i *ImagingStudy) Equal(j *ImagingStudy) bool { return same(i, j) }

func (i *ImagingStudy) check() error {
	if i == nil {
		return nil
	}
	if i.Destination == "" {
		return fault.New(fault.Invalid, "imagingStudy: destination is missing: the FHIR service of the workspace that gets the ImagingStudies")
	}
	if err := CheckServiceName(i.Destination); err != nil {
		return fault.New(fault.Invalid, "imagingStudy: destination: %v", err)
	}
	if i.Patients != "" && !slices.Contains(PatientWays, i.Patients) {
		return fault.New(fault.Invalid, "imagingStudy: patients %.40q is unknown; it is reference or create", i.Patients)
	}
	if i.PatientSystem != "" && !isSystem(i.PatientSystem) {
		return fault.New(fault.Invalid, "imagingStudy: patientSystem %.100q is no URI such as https://hospital.example.org/mrn", i.PatientSystem)
	}
	if len(i.Issuers) > maxIssuers {
		return fault.New(fault.Invalid, "imagingStudy: %d issuers are more than %d", len(i.Issuers), maxIssuers)
	}
	for issuer, system := range i.Issuers {
		if issuer == "" || !isSystem(system) {
			return fault.New(fault.Invalid, "imagingStudy: issuers: %.100q of %.64q is no URI such as https://hospital.example.org/mrn", system, issuer)
		}
	}
	if i.Address == "" {
		return nil
	}
	u, err := url.Parse(i.Address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "/") {
		return fault.New(fault.Invalid, "imagingStudy: address %.100q is no URL such as https://images.example.org/default/dicom, without a slash at the end", i.Address)
	}
	return nil
}

// isSystem reports whether s can be the system of an identifier: an absolute URI.
func isSystem(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && len(s) <= 512 && !strings.ContainsFunc(s, unicode.IsSpace)
}
