package auth

import (
	"fmt"
	"iter"
	"math/bits"
	"strings"
)

// Actions is a set of data actions. One action is a set of one.
type Actions uint64

// The actions. Those of FHIR and DICOM are the data actions of Azure Health
// Data Services; write is there create and update together.
const (
	FHIRRead         Actions = 1 << iota // read, vread, history and search
	FHIRCreate                           // create, also by an update of an id that is not there yet
	FHIRUpdate                           // update and patch
	FHIRDelete                           // delete that keeps the history
	FHIRHardDelete                       // delete of all versions, purge of the history
	FHIRExport                           // $export
	FHIRImport                           // $import
	FHIRConvert                          // $convert-data
	FHIRValidate                         // $validate
	FHIREditProfiles                     // write StructureDefinition, ValueSet, CodeSystem, ConceptMap for validation
	FHIRReindex                          // $reindex
	FHIRBulk                             // $bulk-delete, $bulk-update
	FHIRSearchParams                     // write SearchParameter
	FHIRSMART                            // use the FHIR service as far as SMART scopes of the token say
	DICOMRead                            // retrieve, search, change feed
	DICOMWrite                           // store, work items
	DICOMDelete                          // delete
	DICOMTags                            // extended query tags
	DICOMExport                          // export, bulk import and update jobs
	MedTechSend                          // send messages
	MedTechRead                          // mappings, dead letters, the debugger
	MedTechWrite                         // change mappings, replay dead letters
	EventsRead                           // the event cursor of a workspace
	ManageRead                           // workspaces, services and their settings
	ManageWrite                          // change them
	ManageAccess                         // users, clients, roles and who has them
	AuditRead                            // the audit trail
	endOfActions
)

// FHIRWrite is the AHDS action write: create and update.
const FHIRWrite = FHIRCreate | FHIRUpdate

// All is every action there is.
const All = endOfActions - 1

// actionNames are the names in bit order, as roles and the API write them.
var actionNames = [...]string{
	"fhir/read", "fhir/create", "fhir/update", "fhir/delete", "fhir/hardDelete", "fhir/export", "fhir/import",
	"fhir/convertData", "fhir/resourceValidate", "fhir/editProfileDefinitions", "fhir/reindex", "fhir/bulkOperator",
	"fhir/searchParameter", "fhir/smart",
	"dicom/read", "dicom/write", "dicom/delete", "dicom/manageExtendedQueryTags", "dicom/export",
	"medtech/send", "medtech/read", "medtech/write",
	"events/read",
	"manage/read", "manage/write", "manage/access",
	"audit/read",
}

// Has reports whether s holds all of a.
func (s Actions) Has(a Actions) bool { return s&a == a }

// Each yields the single actions of s.
func (s Actions) Each() iter.Seq[Actions] {
	return func(yield func(Actions) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(s & -s) {
				return
			}
		}
	}
}

// Names returns the names of the actions in s.
func (s Actions) Names() []string {
	names := make([]string, 0, bits.OnesCount64(uint64(s)))
	for a := range s.Each() {
		names = append(names, a.String())
	}
	return names
}

// String returns the name of an action, or the names of several.
func (s Actions) String() string {
	if bits.OnesCount64(uint64(s)) == 1 && s < endOfActions {
		return actionNames[bits.TrailingZeros64(uint64(s))]
	}
	return strings.Join(s.Names(), " ")
}

// ParseActions reads names of actions: fhir/read, fhir/write (create and
// update), fhir/* (all of a service kind) and *.
func ParseActions(names []string) (Actions, error) {
	var s Actions
	for _, name := range names {
		a := named(name)
		if a == 0 {
			return 0, fmt.Errorf("action %.64q is unknown; there are *, %s, and * or fhir/write for several of them", name, strings.Join(actionNames[:], ", "))
		}
		s |= a
	}
	return s, nil
}

// named returns the actions of one name, 0 when there is none.
func named(name string) Actions {
	switch name {
	case "*":
		return All
	case "fhir/write":
		return FHIRWrite
	}
	var s Actions
	kind, all := strings.CutSuffix(name, "*")
	for i, n := range actionNames {
		if n == name || all && len(kind) > 1 && kind[len(kind)-1] == '/' && strings.HasPrefix(n, kind) {
			s |= 1 << i
		}
	}
	return s
}
