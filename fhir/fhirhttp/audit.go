package fhirhttp

import (
	"net/http"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// noteResource says for the audit trail which resource was written, when the
// address did not.
func (x *exchange) noteResource(rec *fhir.Record) {
	if q := web.From(x.r.Context()); q != nil && q.Audited && rec != nil {
		q.ResourceID = rec.ID
	}
}

// noteEntries says what each entry of a Bundle did. all is the failure of a
// transaction, which all of its entries share.
func (x *exchange) noteEntries(entries []entry, answers []*fhir.Response, all error) {
	q := web.From(x.r.Context())
	if q == nil || !q.Audited {
		return
	}
	q.Entries = make([]web.Entry, len(entries))
	next := 0
	for i := range entries {
		in, err := &entries[i].in, entries[i].err
		e := web.Entry{Method: in.Method, Action: string(in.Verb), Type: in.Type, ID: in.ID}
		if e.Action == "" {
			e.Action = "unknown"
		}
		var resp *fhir.Response
		if err == nil && next < len(answers) {
			resp = answers[next]
			next++
			err = resp.Err
		}
		if err == nil {
			err = all
		}
		switch {
		case err != nil:
			e.Status, _ = status(fault.From(err).Kind)
		case resp != nil:
			if e.Status = resp.Status; e.Status == 0 {
				e.Status = http.StatusOK
			}
			if resp.Record != nil {
				e.Type, e.ID = resp.Record.Type, resp.Record.ID
			}
		}
		q.Entries[i] = e
	}
}
