package auth

import (
	"maps"
	"slices"
)

// The built-in roles, named as in Azure Health Data Services where it has one.
const (
	RoleFHIRReader      = "FHIR Data Reader"
	RoleFHIRWriter      = "FHIR Data Writer"
	RoleFHIRContributor = "FHIR Data Contributor"
	RoleFHIRExporter    = "FHIR Data Exporter"
	RoleFHIRImporter    = "FHIR Data Importer"
	RoleFHIRConverter   = "FHIR Data Converter"
	RoleSMARTUser       = "FHIR SMART User"
	RoleDICOMOwner      = "DICOM Data Owner"
	RoleDICOMReader     = "DICOM Data Reader"
	RoleMedTechSender   = "MedTech Data Sender"
	RoleWorkspaceOwner  = "Workspace Owner"
)

// roles is the table of built-in roles. The SMART user may read and write, but
// only through the scopes of a token (see Principal.SMARTOnly).
var roles = map[string]Actions{
	RoleFHIRReader:    FHIRRead,
	RoleFHIRWriter:    FHIRRead | FHIRWrite | FHIRDelete | FHIRValidate,
	RoleFHIRExporter:  FHIRRead | FHIRExport,
	RoleFHIRImporter:  FHIRRead | FHIRImport,
	RoleFHIRConverter: FHIRConvert,
	RoleFHIRContributor: FHIRRead | FHIRWrite | FHIRDelete | FHIRHardDelete | FHIRExport | FHIRImport | FHIRConvert |
		FHIRValidate | FHIREditProfiles | FHIRReindex | FHIRBulk | FHIRSearchParams,
	RoleSMARTUser:      FHIRSMART,
	RoleDICOMOwner:     DICOMRead | DICOMWrite | DICOMDelete | DICOMTags | DICOMExport,
	RoleDICOMReader:    DICOMRead,
	RoleMedTechSender:  MedTechSend,
	RoleWorkspaceOwner: All &^ FHIRSMART,
}

// BuiltinRole returns what a built-in role allows.
func BuiltinRole(name string) (Actions, bool) {
	a, ok := roles[name]
	return a, ok
}

// BuiltinRoles returns the names of the built-in roles, sorted.
func BuiltinRoles() []string { return slices.Sorted(maps.Keys(roles)) }
