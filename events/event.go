package events

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of an event.
type Kind uint8

// The kinds, with the event types of Azure Health Data Services.
const (
	FHIRCreated Kind = iota + 1
	FHIRUpdated
	FHIRDeleted
	DICOMCreated
	DICOMUpdated
	DICOMDeleted
)

var types = [...]string{
	FHIRCreated:  "Microsoft.HealthcareApis.FhirResourceCreated",
	FHIRUpdated:  "Microsoft.HealthcareApis.FhirResourceUpdated",
	FHIRDeleted:  "Microsoft.HealthcareApis.FhirResourceDeleted",
	DICOMCreated: "Microsoft.HealthcareApis.DicomImageCreated",
	DICOMUpdated: "Microsoft.HealthcareApis.DicomImageUpdated",
	DICOMDeleted: "Microsoft.HealthcareApis.DicomImageDeleted",
}

// Type returns the name of the event type.
func (k Kind) Type() string { return types[k] }

// OfImages reports whether events of the kind are of a DICOM service; all others
// are of a FHIR service.
func (k Kind) OfImages() bool { return k >= DICOMCreated }

// KindOf finds a kind by the name of its type, in any case.
func KindOf(typ string) (Kind, bool) {
	for k := FHIRCreated; int(k) < len(types); k++ {
		if strings.EqualFold(types[k], typ) {
			return k, true
		}
	}
	return 0, false
}

// Change is one entry of the change sequence of a service.
type Change struct {
	At      int64 // position in the sequence of the service
	Kind    Kind
	Ref     string // Patient/123, or [partitions/P/]studies/S/series/R/instances/I
	Version int64  // versionId of a resource; sequence number of the change feed for an image
	Time    time.Time
}

// Event is a Change in the log of a workspace.
type Event struct {
	Seq    int64  // position in the log
	Source string // workspace/service
	Change
}

// ID returns the id of an event: a UUID (RFC 9562 section 5.8) made of what the
// event is, so that it is the same at every attempt and on every node.
func (e *Event) ID() string {
	sum := sha256.Sum256([]byte(e.Source + "\x00" + strconv.FormatInt(e.At, 10) + "\x00" + e.Kind.Type()))
	sum[6] = sum[6]&0x0F | 0x80
	sum[8] = sum[8]&0x3F | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Names says how events name workspaces and services.
type Names struct {
	// Topic is the topic of Event Grid and the source of CloudEvents.
	Topic string
	// Host returns the name of the service that begins a subject: a host name of
	// the form {workspace}-{service}.fhir.DOMAIN, or workspace/service without a domain.
	Host func(source string, k Kind) string
}

// TopicOf returns the topic of a workspace in the form of a resource of Azure.
func TopicOf(workspace string) string {
	return "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/hygeia/providers/Microsoft.HealthcareApis/workspaces/" + workspace
}

// Subject returns the subject of an event.
func (n *Names) Subject(e *Event) string {
	host := n.Host(e.Source, e.Kind)
	if e.Kind.OfImages() {
		return host + "/v1/" + e.Ref
	}
	return host + "/" + e.Ref
}

// image are the identifiers of an instance, out of its Ref.
type image struct{ partition, study, series, instance string }

func imageOf(ref string) image {
	var im image
	part := strings.Split(ref, "/")
	for i := 0; i+1 < len(part); i += 2 {
		switch part[i] {
		case "partitions":
			im.partition = part[i+1]
		case "studies":
			im.study = part[i+1]
		case "series":
			im.series = part[i+1]
		case "instances":
			im.instance = part[i+1]
		}
	}
	return im
}

// field returns a value that filters can name: a string, an int64, or nil when
// the event does not have it. Keys are those of both schemas, in any case.
func (n *Names) field(e *Event, key string) any {
	switch key {
	case "id":
		return e.ID()
	case "topic", "source":
		return n.Topic
	case "subject":
		return n.Subject(e)
	case "eventtype", "type":
		return e.Kind.Type()
	case "dataversion":
		return strconv.FormatInt(e.Version, 10)
	}
	if e.Kind.OfImages() {
		return n.imageField(e, key)
	}
	typ, id, _ := strings.Cut(e.Ref, "/")
	switch key {
	case "data.resourcetype":
		return typ
	case "data.resourcefhiraccount":
		return n.Host(e.Source, e.Kind)
	case "data.resourcefhirid":
		return id
	case "data.resourceversionid":
		return e.Version
	}
	return nil
}

func (n *Names) imageField(e *Event, key string) any {
	im := imageOf(e.Ref)
	switch key {
	case "data.partitionname":
		if im.partition != "" {
			return im.partition
		}
	case "data.imagestudyinstanceuid":
		return im.study
	case "data.imageseriesinstanceuid":
		return im.series
	case "data.imagesopinstanceuid":
		return im.instance
	case "data.servicehostname":
		return n.Host(e.Source, e.Kind)
	case "data.sequencenumber":
		return e.Version
	}
	return nil
}
