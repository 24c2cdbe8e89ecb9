package mapping

import (
	"time"

	"github.com/hygeia-health/hygeia/spec/jsonvalue"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Message is a device message inside of its envelope.
type Message struct {
	envelope jsonvalue.Value
	body     jsonvalue.Value
	arrived  time.Time
}

// envelopeNames are the members of the envelope that an event hub puts around a
// message.
var envelopeNames = map[string]bool{"Body": true, "Properties": true, "SystemProperties": true}

// Source is what a transport knows about a message.
type Source struct {
	Arrived time.Time
	// Device is the identity that the transport gave to the sender; it is what
	// IotJsonPathContent takes as the device. May be empty.
	Device string
}

// ParseMessage reads one device message. An object with Body, Properties and
// SystemProperties is an envelope; everything else is a body and gets one, with
// what the source knows. The error is an *Error of class InvalidDataFormat.
func ParseMessage(text []byte, src Source) (Message, error) {
	doc := new(resource.Doc)
	if err := doc.Parse(text, resource.Options{}); err != nil {
		msg := "the message is no JSON"
		if se, ok := err.(*resource.SyntaxError); ok {
			line, column := position(text, se.Offset)
			return Message{}, &Error{Class: InvalidDataFormat, Line: line, Column: column, Msg: msg + ": " + se.Code}
		}
		return Message{}, &Error{Class: InvalidDataFormat, Msg: msg}
	}
	return NewMessage(jsonvalue.Of(doc.Root()), src)
}

// NewMessage is ParseMessage for a value that was parsed before.
func NewMessage(root jsonvalue.Value, src Source) (Message, error) {
	if root.Kind() != resource.Object {
		return Message{}, &Error{Class: InvalidDataFormat, Msg: "a message is a JSON object, not " + root.Kind().String()}
	}
	m := Message{envelope: root, arrived: src.Arrived}
	if isEnvelope(root) {
		m.body = root.Get("Body")
		return m, nil
	}
	var names []string
	var items []jsonvalue.Value
	add := func(name, value string) {
		names, items = append(names, name), append(items, jsonvalue.String(value))
	}
	if src.Device != "" {
		add("iothub-connection-device-id", src.Device)
	}
	if !src.Arrived.IsZero() {
		add("iothub-enqueuedtime", formatTime(src.Arrived, 3))
	}
	m.body = root
	m.envelope = jsonvalue.Object([]string{"Body", "Properties", "SystemProperties"},
		[]jsonvalue.Value{root, jsonvalue.Object(nil, nil), jsonvalue.Object(names, items)})
	return m, nil
}

func isEnvelope(v jsonvalue.Value) bool {
	if !v.Get("Body").Valid() {
		return false
	}
	for name := range v.Members() {
		if !envelopeNames[name] {
			return false
		}
	}
	return true
}

// withToken returns the envelope with the member matchedToken.
func (m *Message) withToken(token jsonvalue.Value) jsonvalue.Value {
	n := m.envelope.Len() + 1
	names, items := make([]string, 0, n), make([]jsonvalue.Value, 0, n)
	for name, v := range m.envelope.Members() {
		if name != "matchedToken" {
			names, items = append(names, name), append(items, v)
		}
	}
	return jsonvalue.Object(append(names, "matchedToken"), append(items, token))
}

// Measurement is a normalized message: one occurrence of one type of data.
type Measurement struct {
	Type          string
	Time          time.Time // in UTC
	Digits        int       // of the fraction of the second, as sent
	Arrived       time.Time
	DeviceID      string
	PatientID     string
	EncounterID   string
	CorrelationID string
	Properties    []Property
}

// Property is one named value of a measurement.
type Property struct {
	Name  string `json:"Name"`
	Value string `json:"Value"`
}

// AppendJSON appends the measurement as AHDS writes it.
func (m *Measurement) AppendJSON(dst []byte) []byte {
	field := func(name, value string) {
		if value == "" {
			return
		}
		dst = append(resource.AppendString(append(dst, ','), name), ':')
		dst = resource.AppendString(dst, value)
	}
	dst = append(dst, `{"Type":`...)
	dst = resource.AppendString(dst, m.Type)
	field("OccurrenceTimeUtc", formatTime(m.Time, m.Digits))
	if !m.Arrived.IsZero() {
		field("IngestionTimeUtc", formatTime(m.Arrived, 3))
	}
	field("DeviceId", m.DeviceID)
	field("PatientId", m.PatientID)
	field("EncounterId", m.EncounterID)
	field("CorrelationId", m.CorrelationID)
	dst = append(dst, `,"Properties":[`...)
	for i, p := range m.Properties {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = resource.AppendString(append(dst, `{"Name":`...), p.Name)
		dst = resource.AppendString(append(dst, `,"Value":`...), p.Value)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// MarshalJSON implements json.Marshaler.
func (m Measurement) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil), nil }
