package events

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Schema is the form in which events are delivered.
type Schema string

// The schemas, with their names in Event Grid.
const (
	EventGrid  Schema = "EventGridSchema"
	CloudEvent Schema = "CloudEventSchemaV1_0"
)

// timeLayout has the precision of the change sequence.
const timeLayout = "2006-01-02T15:04:05.000Z"

// extra are members that a delivery adds to the event, in the order they are written.
type extra struct {
	name  string
	value any
}

// appendEvent appends an event as a JSON object of a schema.
func (n *Names) appendEvent(b []byte, e *Event, s Schema, more ...extra) []byte {
	if s == CloudEvent {
		b = appendString(append(b, `{"source":`...), n.Topic)
		b = appendString(append(b, `,"subject":`...), n.Subject(e))
		b = appendString(append(b, `,"type":`...), e.Kind.Type())
		b = appendTime(append(b, `,"time":`...), e)
		b = appendString(append(b, `,"id":`...), e.ID())
		b = n.appendData(append(b, `,"data":`...), e)
		b = append(b, `,"specversion":"1.0","datacontenttype":"application/json","dataschema":"#`...)
		b = append(strconv.AppendInt(b, e.Version, 10), '"')
	} else {
		b = appendString(append(b, `{"id":`...), e.ID())
		b = appendString(append(b, `,"topic":`...), n.Topic)
		b = appendString(append(b, `,"subject":`...), n.Subject(e))
		b = n.appendData(append(b, `,"data":`...), e)
		b = appendString(append(b, `,"eventType":`...), e.Kind.Type())
		b = append(strconv.AppendInt(append(b, `,"dataVersion":"`...), e.Version, 10), `","metadataVersion":"1"`...)
		b = appendTime(append(b, `,"eventTime":`...), e)
	}
	for _, x := range more {
		name := x.name
		if s == CloudEvent {
			name = strings.ToLower(name) // names of attributes have no capitals (CloudEvents 1.0 section 3.1)
		}
		b = append(appendString(append(b, ','), name), ':')
		v, err := json.Marshal(x.value)
		if err != nil {
			v = []byte("null") // strings and numbers only
		}
		b = append(b, v...)
	}
	return append(b, '}')
}

// appendData appends the member data.
func (n *Names) appendData(b []byte, e *Event) []byte {
	host := n.Host(e.Source, e.Kind)
	if !e.Kind.OfImages() {
		typ, id, _ := strings.Cut(e.Ref, "/")
		b = appendString(append(b, `{"resourceType":`...), typ)
		b = appendString(append(b, `,"resourceFhirAccount":`...), host)
		b = appendString(append(b, `,"resourceFhirId":`...), id)
		b = strconv.AppendInt(append(b, `,"resourceVersionId":`...), e.Version, 10)
		return append(b, '}')
	}
	im := imageOf(e.Ref)
	b = append(b, '{')
	if im.partition != "" {
		b = append(appendString(append(b, `"partitionName":`...), im.partition), ',')
	}
	b = appendString(append(b, `"imageStudyInstanceUid":`...), im.study)
	b = appendString(append(b, `,"imageSeriesInstanceUid":`...), im.series)
	b = appendString(append(b, `,"imageSopInstanceUid":`...), im.instance)
	b = appendString(append(b, `,"serviceHostName":`...), host)
	b = strconv.AppendInt(append(b, `,"sequenceNumber":`...), e.Version, 10)
	return append(b, '}')
}

func appendTime(b []byte, e *Event) []byte {
	return append(e.Time.UTC().AppendFormat(append(b, '"'), timeLayout), '"')
}

// appendString appends a JSON string. Names, ids and UIDs need no escapes, so
// the usual way is a copy.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7F {
			v, err := json.Marshal(s)
			if err != nil {
				v = []byte(`""`) // cannot happen: a string always marshals
			}
			return append(b, v...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// AppendCursor appends an event for the pull cursor: a CloudEvent with the
// extension attribute sequence, which is its position in the log.
func (n *Names) AppendCursor(b []byte, e *Event) []byte {
	return n.appendEvent(b, e, CloudEvent, extra{"sequence", strconv.FormatInt(e.Seq, 10)})
}
