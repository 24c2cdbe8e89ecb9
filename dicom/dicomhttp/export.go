package dicomhttp

import (
	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// export is POST /export of AHDS.
func (x *exchange) export() error {
	var body struct {
		Source struct {
			Type     string `json:"type"`
			Settings struct {
				Values []string `json:"values"`
			} `json:"settings"`
		} `json:"source"`
		Destination dicom.Place `json:"destination"`
	}
	if err := x.body(&body); err != nil {
		return err
	}
	if body.Source.Type != "identifiers" {
		return fault.New(fault.Invalid, "The type of the source is identifiers.")
	}
	return x.started(x.h.s.Export(x.r.Context(), x.rt.partition, body.Source.Settings.Values, body.Destination))
}

// importFiles is POST /import, which AHDS does by watching a container.
func (x *exchange) importFiles() error {
	var body struct {
		Source dicom.Place `json:"source"`
	}
	if err := x.body(&body); err != nil {
		return err
	}
	return x.started(x.h.s.Import(x.r.Context(), x.rt.partition, body.Source))
}
