package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	gohash "hash"
	"strconv"
	"time"
)

// Record is one entry of the trail. Empty members are left out.
type Record struct {
	N    int64     `json:"n"` // position in the trail, from 1
	Time time.Time `json:"t"`
	Kind string    `json:"kind,omitempty"` // "" an access, "start", "head"

	Request     string `json:"request,omitempty"`     // X-Request-Id
	Entry       int    `json:"entry,omitempty"`       // of a Bundle, from 1
	Correlation string `json:"correlation,omitempty"` // the X-Request-Id of the client
	Principal   string `json:"principal,omitempty"`
	Issuer      string `json:"issuer,omitempty"`
	Client      string `json:"client,omitempty"` // the application
	User        string `json:"user,omitempty"`   // fhirUser
	Address     string `json:"address,omitempty"`
	Service     string `json:"service,omitempty"` // workspace/service
	Method      string `json:"method,omitempty"`
	Action      string `json:"action,omitempty"` // read, search, create, token, ...
	Type        string `json:"type,omitempty"`   // of the resource
	ID          string `json:"id,omitempty"`     // of the resource
	Status      int    `json:"status,omitempty"`
	// Custom are headers that the client wants in the trail.
	Custom map[string]string `json:"custom,omitempty"`

	Signature string `json:"sig,omitempty"` // of a head
	Hash      string `json:"h"`
}

// Outcome says how it ended: success, refused (401, 403, 429) or failure.
func (r *Record) Outcome() string {
	switch {
	case r.Status == 401 || r.Status == 403 || r.Status == 429:
		return "refused"
	case r.Status >= 400:
		return "failure"
	}
	return "success"
}

type hash = [sha256.Size]byte

// hashMark stands before the hash of a line; what is before it is hashed.
const hashMark = `,"h":"`

// appendRecord appends the line of r without its hash and end.
func appendRecord(b []byte, r *Record) []byte {
	b = append(b, `{"n":`...)
	b = strconv.AppendInt(b, r.N, 10)
	b = append(b, `,"t":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '"')
	b = member(b, "kind", r.Kind)
	b = member(b, "request", r.Request)
	b = number(b, "entry", r.Entry)
	b = member(b, "correlation", r.Correlation)
	b = member(b, "principal", r.Principal)
	b = member(b, "issuer", r.Issuer)
	b = member(b, "client", r.Client)
	b = member(b, "user", r.User)
	b = member(b, "address", r.Address)
	b = member(b, "service", r.Service)
	b = member(b, "method", r.Method)
	b = member(b, "action", r.Action)
	b = member(b, "type", r.Type)
	b = member(b, "id", r.ID)
	b = number(b, "status", r.Status)
	if len(r.Custom) > 0 {
		if text, err := json.Marshal(r.Custom); err == nil { // never fails: texts only
			b = append(append(b, `,"custom":`...), text...)
		}
	}
	return member(b, "sig", r.Signature)
}

func number(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendInt(b, int64(n), 10)
}

// maxText is how much of a text a record keeps. Clients choose some of them, the path
// of a request for one, and a line must not become longer than maxLine.
const maxText = 8 << 10

// member appends a text, which is almost always plain ASCII.
func member(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil { // never: a string
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// hasher closes lines; it is memory that is used again.
type hasher struct{ sha gohash.Hash }

func newHasher() hasher { return hasher{sha256.New()} }

// seal hashes the line that begins at from and closes it.
func (h hasher) seal(b []byte, from int, prev *hash) []byte {
	h.sha.Reset()
	h.sha.Write(prev[:])
	h.sha.Write(b[from:])
	h.sha.Sum(prev[:0])
	b = append(b, hashMark...)
	b = hex.AppendEncode(b, prev[:])
	return append(b, "\"}\n"...)
}
