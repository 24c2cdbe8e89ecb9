// Package loader puts FHIR resources from files into a FHIR service over its
// REST API, and DICOM files into a DICOM service. It is the library behind the commands load and demo.
//
// # What it reads
//
// Files and folders of .json (a resource, or a Bundle), .ndjson and .jsonl (a
// resource per line), each also with .gz, DICOM files (.dcm), and archives of them: .zip, .tar,
// .tar.gz and .tgz. Files of organizations, practitioners, roles and patients, as
// Synthea (hospitalInformation...) and bulk exports (Practitioner.000.ndjson)
// name them, go first in this order, because the other files may refer to them
// by conditional references. A log.ndjson, as
// bulk export clients write it, is not data and left out, as is any file inside a folder or
// archive that has another ending.
//
// # What it sends
//
// A transaction Bundle is sent as one transaction. All other resources are sent
// in batch Bundles of PUT Type/id, so that loading the same files again creates
// nothing: the service finds the content unchanged. For the same reason an entry
// "POST Type" whose resource has an id, or whose fullUrl is a urn:uuid, becomes
// PUT Type/<that id>; references to its fullUrl stay valid inside the
// transaction, since the fullUrl is kept (R4 section 3.1.0.11.2). Entries with
// ifNoneExist stay as they are. A resource without any id gets one that is
// derived from its content. Options.AsIs turns all of this rewriting off.
//
// A Bundle of type collection or searchset is taken apart; when its entries are
// named by urn:uuid they are sent as one transaction, so that references between
// them are resolved. A document or message is loaded as the one Bundle it is.
//
// DICOM files are stored by STOW-RS, several small ones in a request. Those that
// are there already count as unchanged.
//
// # What goes wrong
//
// Busy answers (409, 429, 502, 503, 504) and broken connections are tried again, by
// Retry-After where given. A batch that is refused as a whole is halved until
// the culprit is alone. Each resource that could not be loaded is one line in
// the error file, without its content. A refused login or a service that
// cannot be reached ends the run.
//
// Reading order: loader.go (a run), source.go (files and archives), document.go
// (Bundles and lines to entries), client.go (sending), images.go (DICOM files), progress.go.
package loader
