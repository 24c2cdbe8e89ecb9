package dicom

import (
	"encoding/binary"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Outcome is what became of one file of a store request.
type Outcome struct {
	UIDs
	File     int // its place among the files of the request, from 0
	Class    string
	Reason   uint16 // of failure; 0 when it is stored
	Warning  uint16
	Comments []string // what was found wrong, without values
}

// StoreResult is the answer to a store request.
type StoreResult struct {
	Stored, Failed []Outcome
}

// Warned reports whether something stored has a warning.
func (r *StoreResult) Warned() bool {
	for i := range r.Stored {
		if r.Stored[i].Warning != 0 {
			return true
		}
	}
	return false
}

// AppendJSON appends the store instances response (PS3.18 section I.2). base is
// the URL of the service up to /studies; study the one of the request, if it
// had one. In version 2 the list of failed attributes is always there.
func (r *StoreResult) AppendJSON(dst []byte, base, study string, version int) []byte {
	d := &dcm.Dataset{}
	if study != "" && len(r.Stored) > 0 {
		d.Put(dcm.NewText(dcm.TagRetrieveURL, dcm.UR, base+"/studies/"+r.Stored[0].Study))
	}
	if len(r.Failed) > 0 {
		e := dcm.Element{Tag: dcm.TagFailedSOPSequence, VR: dcm.SQ}
		for i := range r.Failed {
			o := &r.Failed[i]
			it := o.reference()
			it.Put(reason(dcm.TagFailureReason, o.Reason))
			if len(o.Comments) > 0 {
				it.Put(o.attributes())
			}
			e.Items = append(e.Items, it)
		}
		d.Put(e)
	}
	if len(r.Stored) > 0 {
		e := dcm.Element{Tag: dcm.TagReferencedSOPSequence, VR: dcm.SQ}
		for i := range r.Stored {
			o := &r.Stored[i]
			it := o.reference()
			it.Put(dcm.NewText(dcm.TagRetrieveURL, dcm.UR, base+"/studies/"+o.Study+"/series/"+o.Series+"/instances/"+o.SOP))
			if o.Warning != 0 {
				it.Put(reason(dcm.TagWarningReason, o.Warning))
			}
			if version >= 2 || len(o.Comments) > 0 {
				it.Put(o.attributes())
			}
			e.Items = append(e.Items, it)
		}
		d.Put(e)
	}
	return d.AppendJSON(dst, dcm.JSONOptions{})
}

// reference is the class and the instance, as far as they are known.
func (o *Outcome) reference() *dcm.Dataset {
	it := &dcm.Dataset{}
	if o.Class != "" {
		it.Put(dcm.NewText(dcm.TagReferencedSOPClassUID, dcm.UI, o.Class))
	}
	if o.SOP != "" {
		it.Put(dcm.NewText(dcm.TagReferencedSOPInstanceUID, dcm.UI, o.SOP))
	}
	return it
}

func (o *Outcome) attributes() dcm.Element {
	e := dcm.Element{Tag: dcm.TagFailedAttributesSequence, VR: dcm.SQ}
	for _, c := range o.Comments {
		it := &dcm.Dataset{}
		it.Put(dcm.NewText(dcm.TagErrorComment, dcm.LO, c))
		e.Items = append(e.Items, it)
	}
	return e
}

func reason(t dcm.Tag, code uint16) dcm.Element {
	return dcm.Element{Tag: t, VR: dcm.US, Value: binary.LittleEndian.AppendUint16(nil, code), Length: 2}
}
