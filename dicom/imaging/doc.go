// Package imaging keeps resources of a FHIR service in step with the studies of a
// DICOM service: an ImagingStudy for each study, linked to its Patient, and the
// Endpoint where the images are.
//
// A Follower reads the change feed from where it was before. What changed it
// notes, study by study, in the transaction that moves its position; a study
// that changes again meanwhile is still one note. A note whose study has been
// quiet for a moment is worked off: the resource is made from what the index
// has now, never from the change, and written if it differs from the one that is
// there. So a note can be worked off twice, or late, and the result is the same.
//
// Files in reading order: config.go, store.go (the ports), follower.go (notes),
// sync.go (one study), study.go, subject.go and patient.go (the resources),
// merge.go (with what others wrote), values.go (what data sets say).
//
// Invariants: the resource is read before the study, and written only if nobody
// changed it since, so that an older state never replaces a newer one; a note
// goes away only when its study did not change since it was taken up; no message
// and no log line holds a value of a data set.
package imaging
