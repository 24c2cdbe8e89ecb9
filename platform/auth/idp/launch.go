package idp

import (
	"net/http"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// launch is a context that an EHR opened (SMART App Launch 2.2, EHR launch).
type launch struct {
	At        string `json:"at"`
	Patient   string `json:"patient,omitempty"`
	Encounter string `json:"encounter,omitempty"`
	Client    string `json:"client,omitempty"` // "" = whichever application gets the handle
	Banner    bool   `json:"banner"`
}

// launchTime is how long a handle can be used.
const launchTime = 5 * time.Minute

// serveLaunch answers POST /auth/launch: the EHR, with a token of its own that
// may read in the FHIR service, gets a handle to start an application with.
func (p *Provider) serveLaunch(w http.ResponseWriter, r *http.Request) error {
	var b struct {
		Audience  string `json:"aud"`
		Patient   string `json:"patient"`
		Encounter string `json:"encounter"`
		Client    string `json:"client_id"`
		Banner    bool   `json:"need_patient_banner"`
	}
	challenge := func(err error) error {
		w.Header().Set("WWW-Authenticate", `Bearer realm="hygeia"`)
		return err
	}
	if _, err := p.bearer(r); err != nil {
		return challenge(err)
	}
	q := &adminRequest{w: w, r: r, ctx: r.Context()}
	if err := q.decode(&b); err != nil {
		return err
	}
	at := p.scopeOf(r, b.Audience)
	if strings.Count(at, "/") != 2 {
		return fault.New(fault.Invalid, "aud must be the base URL of a FHIR service here")
	}
	who, err := auth.NewRealm(at, p, []auth.Trust{{Keys: p, BuiltIn: true}}, p.d.Now).Authenticate(r.Context(), r.Header.Get("Authorization"))
	if err != nil {
		return challenge(err)
	}
	p.d.Who(r, who.ID, who.Client)
	ctx := auth.WithPrincipal(r.Context(), who)
	if err := auth.NewGuard(at).Authorize(ctx, auth.FHIRRead); err != nil {
		return err
	}
	if who.Limited {
		return fault.New(fault.Forbidden, "a token with SMART scopes cannot open a launch context")
	}
	if b.Patient != "" {
		if err := p.d.Patient(ctx, at, who, b.Patient); err != nil {
			return fault.New(fault.Invalid, "there is no such patient")
		}
	}
	if b.Client != "" {
		if _, ok := p.client(b.Client); !ok {
			return fault.New(fault.Invalid, "there is no client %.64q", b.Client)
		}
	}
	handle := newSecret()
	l := launch{At: at, Patient: b.Patient, Encounter: b.Encounter, Client: b.Client, Banner: b.Banner}
	if _, err := p.store.put(ctx, ticket{hash: hashSecret(handle), kind: ticketLaunch, expires: p.d.Now().Add(launchTime), body: l}); err != nil {
		return err
	}
	respond(w, http.StatusOK, map[string]any{"launch": handle, "iss": b.Audience, "expires_in": int(launchTime / time.Second)})
	return nil
}

// readLaunch finds the context of a handle.
func (p *Provider) readLaunch(r *http.Request, req *authRequest, handle string) error {
	if handle == "" {
		return nil
	}
	l, hash := new(launch), hashSecret(handle)
	ok, _, err := p.store.get(r.Context(), hash, ticketLaunch, p.d.Now(), l)
	if err != nil {
		return err
	}
	if !ok || l.At != req.at || l.Client != "" && l.Client != req.client.ID {
		return &redirectError{req, "invalid_request", "the launch is unknown, expired, or not for this application and service"}
	}
	req.launch, req.launchTicket = l, hash
	return nil
}
