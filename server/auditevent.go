package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/hygeia-health/hygeia/platform/audit"
)

// The trail as AuditEvent resources (R4 section 6.2), for those who collect
// them from several systems. They are made when they are asked for: the trail is
// what counts.

type coding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

type reference struct {
	Reference string `json:"reference,omitempty"`
	Display   string `json:"display,omitempty"`
}

type auditAgent struct {
	Who       *reference `json:"who,omitempty"`
	AltID     string     `json:"altId,omitempty"`
	Requestor bool       `json:"requestor"`
	Network   *struct {
		Address string `json:"address"`
		Type    string `json:"type"`
	} `json:"network,omitempty"`
}

type auditEntity struct {
	What *reference `json:"what,omitempty"`
	Name string     `json:"name,omitempty"`
}

type auditEvent struct {
	ResourceType string        `json:"resourceType"`
	ID           string        `json:"id"`
	Type         coding        `json:"type"`
	Subtype      []coding      `json:"subtype,omitempty"`
	Action       string        `json:"action"`
	Recorded     time.Time     `json:"recorded"`
	Outcome      string        `json:"outcome"`
	OutcomeDesc  string        `json:"outcomeDesc,omitempty"`
	Agent        []auditAgent  `json:"agent"`
	Source       auditSource   `json:"source"`
	Entity       []auditEntity `json:"entity,omitempty"`
}

type auditSource struct {
	Observer reference `json:"observer"`
}

// auditActions are the codes of http://hl7.org/fhir/audit-event-action.
var auditActions = map[string]string{
	http.MethodPost: "C", http.MethodPut: "U", http.MethodPatch: "U", http.MethodDelete: "D", http.MethodGet: "R", http.MethodHead: "R",
}

// asAuditEvent turns a record into a resource.
func asAuditEvent(r *audit.Record) auditEvent {
	e := auditEvent{
		ResourceType: "AuditEvent", ID: strconv.FormatInt(r.N, 10), Recorded: r.Time, Action: auditActions[r.Method], Outcome: "0",
		Type:    coding{"http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"},
		Subtype: []coding{{"http://hl7.org/fhir/restful-interaction", r.Action}},
		Source:  auditSource{reference{Display: "Hygeia " + r.Service}},
	}
	if r.Action == "search" || e.Action == "" {
		e.Action = "E"
	}
	if r.Outcome() != "success" {
		e.Outcome, e.OutcomeDesc = "4", "HTTP "+strconv.Itoa(r.Status)
		if r.Status >= 500 {
			e.Outcome = "8"
		}
	}
	a := auditAgent{Requestor: true, AltID: r.Principal, Who: &reference{Reference: r.User, Display: r.Client}}
	if r.User == "" && r.Client == "" {
		a.Who = nil
	}
	if r.Address != "" {
		a.Network = &struct {
			Address string `json:"address"`
			Type    string `json:"type"`
		}{r.Address, "2"}
	}
	e.Agent = []auditAgent{a}
	switch {
	case r.Type != "" && r.ID != "":
		e.Entity = []auditEntity{{What: &reference{Reference: r.Type + "/" + r.ID}}}
	case r.Type != "":
		e.Entity = []auditEntity{{Name: r.Type}}
	case r.ID != "": // no FHIR resource: a study, a path of the management API
		e.Entity = []auditEntity{{Name: r.ID}}
	}
	return e
}

// auditBundle is a page of the trail as a searchset.
func auditBundle(records []audit.Record, next string) any {
	type entry struct {
		FullURL  string     `json:"fullUrl"`
		Resource auditEvent `json:"resource"`
	}
	type link struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	}
	b := struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Link         []link  `json:"link,omitempty"`
		Entry        []entry `json:"entry,omitempty"`
	}{ResourceType: "Bundle", Type: "searchset"}
	if next != "" {
		b.Link = []link{{"next", next}}
	}
	for i := range records {
		b.Entry = append(b.Entry, entry{"urn:hygeia:audit:" + strconv.FormatInt(records[i].N, 10), asAuditEvent(&records[i])})
	}
	return b
}

// answerTyped writes JSON under a content type that was set.
func answerTyped(w http.ResponseWriter, body any) {
	out, err := json.Marshal(body)
	if err != nil { // cannot happen: our own plain types
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(out, '\n')) // the client is gone when this fails
}
