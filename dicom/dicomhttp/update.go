package dicomhttp

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hygeia-health/hygeia/dicom"
)

// bulkUpdate is POST /studies/$bulkUpdate of AHDS v2.
func (x *exchange) bulkUpdate() error {
	var body struct {
		Studies []string        `json:"studyInstanceUids"`
		Change  json.RawMessage `json:"changeDataset"`
	}
	if err := x.body(&body); err != nil {
		return err
	}
	id, err := x.h.s.Update(x.r.Context(), x.rt.partition, body.Studies, body.Change)
	if bad, ok := errors.AsType[*dicom.FailedAttributes](err); ok {
		return x.json(http.StatusBadRequest, bad.AppendJSON(nil), typeDICOMJSON)
	}
	return x.started(id, err)
}
