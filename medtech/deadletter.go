package medtech

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hygeia-health/hygeia/medtech/mapping"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Stage is a part of the pipeline, with the names of AHDS.
type Stage string

// The stages.
const (
	StageNormalize Stage = "Normalization"
	StageGroup     Stage = "Grouping"
	StageFHIR      Stage = "FHIRConversion"
)

// Error classes besides those of package mapping.
const (
	PatientNotFound        mapping.Class = "PatientNotFound"
	DeviceNotFound         mapping.Class = "DeviceNotFound"
	EncounterNotFound      mapping.Class = "EncounterNotFound"
	MultipleResourceFound  mapping.Class = "MultipleResourceFound"
	PatientDeviceMismatch  mapping.Class = "PatientDeviceMismatch"
	IdentityNotDefined     mapping.Class = "ResourceIdentityNotDefined"
	InvalidFHIRService     mapping.Class = "InvalidFhirService"
	MeasurementProcessing  mapping.Class = "MeasurementProcessing"
	CompressionUnsupported mapping.Class = "CompressionNotSupported"
)

// LetterState says what became of a dead letter.
type LetterState string

// The states.
const (
	LetterOpen      LetterState = "open"
	LetterRedriven  LetterState = "redriven"
	LetterDiscarded LetterState = "discarded"
)

// DeadLetter is a message that, in part or as a whole, has become no Observation.
type DeadLetter struct {
	ID            int64         `json:"id"`
	Offset        int64         `json:"offset"`
	Arrived       time.Time     `json:"arrived"`
	Failed        time.Time     `json:"failed"`
	Source        string        `json:"source"`
	Stage         Stage         `json:"operationName"`
	Class         mapping.Class `json:"errorType"`
	Message       string        `json:"message"`
	Type          string        `json:"type,omitempty"` // of the measurement
	Line          int           `json:"lineNumber,omitempty"`
	Column        int           `json:"linePosition,omitempty"`
	DeviceMapping int64         `json:"deviceMappingVersion"`
	FHIRMapping   int64         `json:"fhirMappingVersion"`
	State         LetterState   `json:"state"`
	Edited        bool          `json:"edited,omitempty"`
	Device        string        `json:"-"` // the sender, for a redrive
	Body          []byte        `json:"-"`
}

// MarshalJSON implements json.Marshaler: the body is JSON when it is, else text.
func (d DeadLetter) MarshalJSON() ([]byte, error) {
	type plain DeadLetter
	var body any
	if d.Body != nil {
		var doc resource.Doc
		if doc.Parse(d.Body, resource.Options{}) == nil {
			body = json.RawMessage(doc.Root().AppendCompact(nil))
		} else {
			body = string(d.Body)
		}
	}
	return json.Marshal(struct {
		plain
		Body any `json:"payload,omitempty"`
	}{plain(d), body})
}

// DeadLetterQuery selects dead letters.
type DeadLetterQuery struct {
	IDs    []int64 // only these; nil = any
	Class  string
	State  LetterState // "" = any; Redrive and Discard take open ones only
	Before int64       // only those with a smaller id; 0 = any
	Limit  int
}

// DeadLetterPage is a page of dead letters.
type DeadLetterPage struct {
	Letters []DeadLetter
	Next    int64 // DeadLetterQuery.Before of the next page; 0 on the last one
}

// DeadLetters returns a page of dead letters, newest first, without their bodies.
func (s *Service) DeadLetters(ctx context.Context, q DeadLetterQuery) (DeadLetterPage, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechRead); err != nil {
		return DeadLetterPage{}, err
	}
	return s.store.DeadLetters(ctx, q)
}

// DeadLetter returns one with its body.
func (s *Service) DeadLetter(ctx context.Context, id int64) (DeadLetter, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechRead); err != nil {
		return DeadLetter{}, err
	}
	return s.store.DeadLetter(ctx, id)
}

// EditDeadLetter replaces the body of an open dead letter, for a redrive.
func (s *Service) EditDeadLetter(ctx context.Context, id int64, body []byte) error {
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return err
	}
	if _, err := mapping.ParseMessage(body, mapping.Source{}); err != nil {
		return fault.New(fault.Invalid, "the payload is no message: %v", err)
	}
	return s.store.EditDeadLetter(ctx, id, body)
}

// Redrive processes the messages of open dead letters once more, as new
// messages at the end of the log.
func (s *Service) Redrive(ctx context.Context, q DeadLetterQuery) (int, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return 0, err
	}
	n, err := s.store.Redrive(ctx, q, s.now())
	s.wakeUp()
	return n, err
}

// Discard closes open dead letters.
func (s *Service) Discard(ctx context.Context, q DeadLetterQuery) (int, error) {
	if err := s.guard.Authorize(ctx, auth.MedTechWrite); err != nil {
		return 0, err
	}
	return s.store.Discard(ctx, q)
}
