package imaging

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// maxInstances is how many instances an ImagingStudy lists. One of a larger study
// has the counts only: a resource that is read with every search is no place for
// thousands of UIDs, which the Endpoint gives too.
const maxInstances = 1000

// The systems of the standard (R4 section 10.3; DICOM PS3.20 annex A).
const (
	systemUID        = "urn:dicom:uid"
	systemDCM        = "http://dicom.nema.org/resources/ontology/DCM"
	systemURI        = "urn:ietf:rfc:3986"
	systemIdentifier = "http://terminology.hl7.org/CodeSystem/v2-0203"
	systemConnection = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
	urlAbsent        = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
	accession        = "ACSN"
	wadoRS           = "dicom-wado-rs"
)

type coding struct {
	Extension []extension `json:"extension,omitempty"`
	System    string      `json:"system,omitempty"`
	Code      string      `json:"code,omitempty"`
	Display   string      `json:"display,omitempty"`
}

type extension struct {
	URL  string `json:"url"`
	Code string `json:"valueCode"`
}

type concept struct {
	Coding []coding `json:"coding,omitempty"`
	Text   string   `json:"text,omitempty"`
}

type identifier struct {
	Type     *concept  `json:"type,omitempty"`
	System   string    `json:"system,omitempty"`
	Value    string    `json:"value,omitempty"`
	Assigner *assigner `json:"assigner,omitempty"`
}

type assigner struct {
	Display string `json:"display"`
}

type reference struct {
	Extension  []extension `json:"extension,omitempty"`
	Reference  string      `json:"reference,omitempty"`
	Type       string      `json:"type,omitempty"`
	Identifier *identifier `json:"identifier,omitempty"`
}

// imagingStudy has the elements that are ours: all others of a resource stay as
// they are. Of Identifier and Endpoint some may be those of others.
type imagingStudy struct {
	Identifier  []json.RawMessage `json:"identifier"`
	Status      string            `json:"status"`
	Modality    []coding          `json:"modality,omitempty"`
	Subject     json.RawMessage   `json:"subject"`
	Started     string            `json:"started,omitempty"`
	Endpoint    []json.RawMessage `json:"endpoint"`
	NumSeries   int               `json:"numberOfSeries"`
	NumInstance int64             `json:"numberOfInstances"`
	Procedure   []concept         `json:"procedureCode,omitempty"`
	Description string            `json:"description,omitempty"`
	Series      []seriesElement   `json:"series,omitempty"`
}

type seriesElement struct {
	UID         string            `json:"uid"`
	Number      *int64            `json:"number,omitempty"`
	Modality    coding            `json:"modality"`
	Description string            `json:"description,omitempty"`
	NumInstance int64             `json:"numberOfInstances"`
	Started     string            `json:"started,omitempty"`
	Instance    []instanceElement `json:"instance,omitempty"`
}

type instanceElement struct {
	UID    string `json:"uid"`
	Class  coding `json:"sopClass"`
	Number *int64 `json:"number,omitempty"`
}

// studyIdentifier is what names a study in FHIR.
func studyIdentifier(uid string) identifier {
	return identifier{System: systemUID, Value: "urn:oid:" + uid}
}

// identifiers returns those of a study: its UID and its accession number.
func (s *Study) identifiers(uid string) []identifier {
	list := []identifier{studyIdentifier(uid)}
	if n := text(s.Attrs, dcm.TagAccessionNumber); n != "" {
		list = append(list, identifier{
			Type:   &concept{Coding: []coding{{System: systemIdentifier, Code: accession}}},
			System: entitySystem(firstItem(s.Attrs.Get(tagIssuerOfAccessionNumber))), Value: n,
		})
	}
	return list
}

// resource returns what a study says, without its identifiers, subject and endpoint.
func (s *Study) resource() *imagingStudy {
	r := &imagingStudy{
		Status:    "available",
		Started:   started(text(s.Attrs, dcm.TagStudyDate), text(s.Attrs, dcm.TagStudyTime), text(s.Attrs, dcm.TagTimezoneOffsetFromUTC)),
		NumSeries: len(s.Series), NumInstance: s.Instances, Procedure: codes(s.Attrs.Get(tagProcedureCodes)), Description: text(s.Attrs, dcm.TagStudyDescription),
		Series: make([]seriesElement, 0, len(s.Series)),
	}
	for i := range s.Series {
		e := s.Series[i].element()
		r.Series = append(r.Series, e)
		if e.Modality.Code != "" && !slices.Contains(r.modalities(), e.Modality.Code) {
			r.Modality = append(r.Modality, e.Modality)
		}
	}
	slices.SortFunc(r.Modality, func(a, b coding) int { return strings.Compare(a.Code, b.Code) })
	slices.SortFunc(r.Series, func(a, b seriesElement) int {
		return cmp.Or(byNumber(a.Number, b.Number), strings.Compare(a.UID, b.UID))
	})
	return r
}

func (r *imagingStudy) modalities() []string {
	out := make([]string, len(r.Modality))
	for i, c := range r.Modality {
		out[i] = c.Code
	}
	return out
}

// byNumber puts those without a number last.
func byNumber(a, b *int64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

func (s *Series) element() seriesElement {
	e := seriesElement{
		UID: s.UID, Number: number(s.Attrs, dcm.TagSeriesNumber), NumInstance: s.Count,
		Modality:    coding{System: systemDCM, Code: strings.ToUpper(code(text(s.Attrs, dcm.TagModality)))},
		Description: text(s.Attrs, dcm.TagSeriesDescription), Started: s.started(),
	}
	if e.Modality.Code == "" {
		e.Modality = coding{Extension: []extension{{urlAbsent, "unknown"}}} // the element is required
	}
	for _, in := range s.Instances {
		e.Instance = append(e.Instance, instanceElement{
			UID: in.UID, Class: coding{System: systemURI, Code: "urn:oid:" + in.Class}, Number: unsigned(in.Number),
		})
	}
	slices.SortFunc(e.Instance, func(a, b instanceElement) int {
		return cmp.Or(byNumber(a.Number, b.Number), strings.Compare(a.UID, b.UID))
	})
	return e
}

// started is when the series began, or else its procedure step.
func (s *Series) started() string {
	zone := text(s.Attrs, dcm.TagTimezoneOffsetFromUTC)
	return cmp.Or(started(text(s.Attrs, dcm.TagSeriesDate), text(s.Attrs, dcm.TagSeriesTime), zone),
		started(text(s.Attrs, dcm.TagPerformedStepStartDate), text(s.Attrs, dcm.TagPerformedStepStartTime), zone))
}

// endpoint is the Endpoint of a partition.
type endpoint struct {
	ResourceType string    `json:"resourceType"`
	ID           string    `json:"id"`
	Status       string    `json:"status"`
	Connection   coding    `json:"connectionType"`
	Name         string    `json:"name"`
	Payload      []concept `json:"payloadType"`
	MIME         []string  `json:"payloadMimeType"`
	Address      string    `json:"address"`
}

// newEndpoint describes where the images of a partition are: the base of
// DICOMweb (R4 section 12.13; PS3.18 section 8.2).
func (c *Config) newEndpoint(partition, address string) endpoint {
	e := endpoint{
		ResourceType: "Endpoint", ID: c.endpointID(partition), Status: "active",
		Connection: coding{System: systemConnection, Code: wadoRS}, Name: "DICOMweb of " + c.Scope,
		Payload: []concept{{Text: "DICOM"}}, MIME: []string{"application/dicom", "application/dicom+json"}, Address: address,
	}
	if c.Partitions {
		e.Name += ", partition " + partition
		e.Address += "/partitions/" + partition
	}
	return e
}

func (c *Config) endpointID(partition string) string {
	if !c.Partitions {
		partition = dicom.DefaultPartition
	}
	return c.id("Endpoint", partition)
}
