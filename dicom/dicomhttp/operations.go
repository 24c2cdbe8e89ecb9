package dicomhttp

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
)

// operationID is the id of the path, with or without hyphens.
func (x *exchange) operationID() string {
	return strings.ToLower(strings.ReplaceAll(x.rt.rest, "-", ""))
}

// operation is GET /operations/{id} of AHDS: 202 while it is not complete.
func (x *exchange) operation() error {
	op, err := x.h.s.Operation(x.r.Context(), x.operationID())
	if err != nil {
		return err
	}
	names := [...]string{"notStarted", "running", "succeeded", "failed", "canceled"}
	if x.rt.version < 2 {
		names[dicom.OperationDone] = "completed"
	}
	view := struct {
		ID        string          `json:"operationId"`
		Type      string          `json:"type"`
		Created   time.Time       `json:"createdTime"`
		Updated   time.Time       `json:"lastUpdatedTime"`
		Status    string          `json:"status"`
		Percent   int             `json:"percentComplete"`
		Resources []string        `json:"resources,omitempty"`
		Results   json.RawMessage `json:"results,omitempty"`
	}{
		ID: op.ID, Type: string(op.Kind), Created: op.Created, Updated: op.Updated, Status: names[op.Status], Percent: op.Percent,
		Results: op.Result,
	}
	if string(op.Result) == "{}" {
		view.Results = nil
	}
	if op.Kind == dicom.OperationImport && view.Results != nil {
		view.Results = append([]byte(`{"errorHref":"`+x.operationURL(op.ID)+`/errors",`), view.Results[1:]...)
	}
	for _, tag := range dicom.ReindexedTags(op) {
		view.Resources = append(view.Resources, x.base()+"/extendedquerytags/"+tag)
	}
	code := http.StatusOK
	if !op.Status.Ended() {
		code = http.StatusAccepted
		x.w.Header().Set("Location", x.operationURL(op.ID))
	}
	return x.answer(code, view)
}

// operationErrors is GET /operations/{id}/errors: what an export or an import
// could not do, as lines of JSON.
func (x *exchange) operationErrors() error {
	lines, err := x.h.s.OperationErrors(x.r.Context(), x.operationID())
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, lines, "application/x-ndjson")
}
