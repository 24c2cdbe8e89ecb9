package imaging

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Patients says what becomes of a study whose Patient is not there.
type Patients string

// The ways.
const (
	// Reference leaves it at a logical reference, by the identifier, until
	// there is a Patient with it.
	Reference Patients = "reference"
	// Create makes the Patient.
	Create Patients = "create"
)

// Config is what can be set about a Follower.
type Config struct {
	Scope         string            // workspace/service, which the ids of the resources come from
	Partitions    bool              // the service has data partitions
	Patients      Patients          // default Reference
	PatientSystem string            // system of the Patient IDs that come without an issuer; "" is none
	Issuers       map[string]string // system by Issuer of Patient ID
	Destination   string            // the name of the FHIR service: another one is written to from the beginning

	// Settle is how long a study must have been quiet before it is worked off, and
	// Patience how long at most that is waited for; default 1 s and 10 s.
	Settle, Patience time.Duration
}

func (c *Config) defaults() {
	if c.Patients == "" {
		c.Patients = Reference
	}
	if c.Settle <= 0 {
		c.Settle = time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 10 * time.Second
	}
}

// settings names what the resources depend on: when it is another, all studies
// are worked off again.
func (c *Config) settings() string {
	text, err := json.Marshal([]any{2, c.Scope, c.Partitions, c.Patients, c.PatientSystem, c.Issuers, c.Destination})
	if err != nil { // strings and maps of them always can be written
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// id returns the id of a resource of ours: always the same for the same names.
func (c *Config) id(parts ...string) string {
	h := sha256.New()
	for _, p := range append([]string{c.Scope}, parts...) {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
