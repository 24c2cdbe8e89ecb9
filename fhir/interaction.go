package fhir

import (
	"net/url"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// Verb names what a client asks for, whatever way it came: an HTTP request or
// an entry of a Bundle. The names are those of the R4 RESTful API (section 3.1.0)
// and of CapabilityStatement.rest.interaction.
type Verb string

// The interactions.
const (
	VerbRead         Verb = "read"
	VerbVRead        Verb = "vread"
	VerbCreate       Verb = "create"
	VerbUpdate       Verb = "update"
	VerbPatch        Verb = "patch"
	VerbDelete       Verb = "delete"
	VerbPurgeHistory Verb = "purge-history"
	VerbHistory      Verb = "history" // instance, type or system by ID and Type
	VerbSearch       Verb = "search"  // type, system or compartment
	VerbBundle       Verb = "bundle"  // batch or transaction
	VerbCapabilities Verb = "capabilities"
	VerbVersions     Verb = "versions" // $versions
	VerbReindex      Verb = "reindex"
	VerbParamStatus  Verb = "search-parameter-status"
	VerbParamSwitch  Verb = "search-parameter-switch"
	VerbImport       Verb = "import" // $import and its status
	VerbExport       Verb = "export" // $export, its status and its files
)

// Interaction is one request in the terms of FHIR. The edge makes it, the
// Service answers it; a Bundle is a list of them.
type Interaction struct {
	Verb        Verb
	Method      string // GET, POST, ...
	Type        string // "" at system level
	ID          string
	VersionID   string
	Operation   string // "$everything" without the dollar sign
	Compartment string // the type searched inside the compartment Type/ID: "Observation" or "*"

	Params   url.Values    // search and control parameters, in the URL or the form body
	RawQuery string        // as sent: the order of parameters for the self link
	Body     resource.Node // the resource, for create, update, bundle, operations

	// Conditions. The strings are search criteria as in a URL query.
	IfNoneExist       string // create
	HasIfNoneExist    bool   // so that an empty header can be refused
	Conditional       bool   // update, delete, patch by criteria (in Params) instead of by ID
	IfMatch           string // raw ETag
	IfNoneMatch       string // raw ETag
	IfModifiedSince   time.Time
	IfUnmodifiedSince time.Time // of a read
	HardDelete        bool
	Unlink            bool // _remove-references=true, with HardDelete
	KeepNoOldVersion  bool // _meta-history=false
	MustNotExist      bool // update: Conflict when the id is taken, for callers inside the program
	Strict            bool // Prefer: handling=strict
	Partial           bool // x-ms-use-partial-indices: see search.ParseOptions

	FullURL string // of a Bundle entry; urn:uuid:... targets of references
	Base    string // absolute base URL of this service, no trailing slash: what a reference may begin with and still be local
}

// Response is the answer to one Interaction. Exactly one of Record, Page,
// Outcome and nothing is set.
type Response struct {
	Status  int // HTTP status
	Record  *Record
	Page    *Page
	Parts   []Part           // with _containedType=contained: what of the records of Page is the answer
	Query   *search.Query    // for searches: what was understood
	Dropped []search.Warning // parameters that were ignored (lenient)
	Used    url.Values       // parameters that counted, for the self link
	Outcome Outcome          // for writes
	Deleted int              // conditional delete: how many (Items-Deleted)
	Err     error            // in the answer to a batch entry: why it failed
	History *HistoryQuery
	// Version and Seq of the current version after a delete (ETag), when Record is nil.
	Version int64
	Seq     Seq
}

// Part is an answer of a search for contained resources: one that a container
// has, or the container itself when Resource is not valid.
type Part struct {
	Container *Record
	ID        string        // of the contained resource
	Resource  resource.Node // its text
}
