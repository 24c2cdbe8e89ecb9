package main

import "github.com/hygeia-health/hygeia/server"

type dicomServiceCmd struct {
	Create dicomServiceCreateCmd `cmd:"" help:"Create a DICOM service, or change it."`
	List   dicomServiceListCmd   `cmd:"" help:"List the DICOM services of a workspace."`
	Show   dicomServiceShowCmd   `cmd:"" help:"Show a DICOM service."`
	Delete dicomServiceDeleteCmd `cmd:"" help:"Delete a DICOM service with all its data."`
	Export dicomServiceExportCmd `cmd:"" help:"Copy images into a container of the server."`
	Import dicomServiceImportCmd `cmd:"" help:"Store the images of a container of the server."`
}

// Help shows examples.
func (dicomServiceCmd) Help() string {
	return `Examples:
  hygeia dicom-service create default images
  hygeia dicom-service list default`
}

type dicomServiceCreateCmd struct {
	clientFlags
	serviceArgs
	Partitions bool              `help:"Give it data partitions, each with its own studies. This cannot be changed later."`
	Authority  string            `placeholder:"URL" help:"OpenID provider whose tokens count besides those of the built-in one."`
	Audience   string            `help:"Audience that its tokens must have."`
	Tags       map[string]string `name:"tag" placeholder:"NAME=VALUE" help:"A tag; may be given several times."`

	ImagingStudies string            `placeholder:"SERVICE" help:"Keep an ImagingStudy for each study in this FHIR service of the workspace; without it none are kept."`
	Patients       string            `enum:",reference,create" default:"" help:"Patients of ImagingStudies: reference links those that are there (the default), create makes those that are missing."`
	PatientSystem  string            `placeholder:"URI" help:"System of Patient IDs that come without an issuer."`
	Issuers        map[string]string `name:"issuer" placeholder:"NAME=URI" help:"System of the Patient IDs of an issuer; may be given several times."`
	Address        string            `placeholder:"URL" help:"By which others reach the DICOM service, for the Endpoint of its ImagingStudies."`
}

// Help shows an example.
func (dicomServiceCreateCmd) Help() string {
	return `Example:
  hygeia dicom-service create default images
  hygeia dicom-service create default sites --partitions
  hygeia dicom-service create default dicom --imaging-studies fhir --patients create`
}

// imagingStudy returns what the flags say about ImagingStudies.
func (c *dicomServiceCreateCmd) imagingStudy() (*server.ImagingStudy, error) {
	if c.ImagingStudies != "" {
		return &server.ImagingStudy{Destination: c.ImagingStudies, Patients: c.Patients, PatientSystem: c.PatientSystem, Issuers: c.Issuers, Address: c.Address}, nil
	}
	if c.Patients != "" || c.PatientSystem != "" || len(c.Issuers) > 0 || c.Address != "" {
		return nil, &usageError{"--patients, --patient-system, --issuer and --address are only for --imaging-studies SERVICE"}
	}
	return nil, nil
}

// Run creates.
func (c dicomServiceCreateCmd) Run(std stdio) error {
	images, err := c.imagingStudy()
	if err != nil {
		return err
	}
	return dicomKind.create(std, c.clientFlags, c.serviceArgs, map[string]any{"partitions": c.Partitions, "authority": c.Authority, "audience": c.Audience, "tags": c.Tags, "imagingStudy": images})
}

type dicomServiceListCmd struct {
	clientFlags
	listArgs
}

// Help shows an example.
func (dicomServiceListCmd) Help() string {
	return `Example:
  hygeia dicom-service list default -o json`
}

// Run lists.
func (c dicomServiceListCmd) Run(std stdio) error {
	return dicomKind.list(std, c.clientFlags, c.listArgs)
}

type dicomServiceShowCmd struct {
	clientFlags
	serviceArgs
}

// Help shows an example.
func (dicomServiceShowCmd) Help() string {
	return `Example:
  hygeia dicom-service show default dicom`
}

// Run shows.
func (c dicomServiceShowCmd) Run(std stdio) error {
	return dicomKind.show(std, c.clientFlags, c.serviceArgs)
}

type dicomServiceDeleteCmd struct {
	clientFlags
	serviceArgs
	Yes bool `help:"Needed: there is no way back."`
}

// Help shows an example.
func (dicomServiceDeleteCmd) Help() string {
	return `Example:
  hygeia dicom-service delete default images --yes`
}

// Run deletes.
func (c dicomServiceDeleteCmd) Run(std stdio) error {
	return dicomKind.delete(std, c.clientFlags, c.serviceArgs, c.Yes)
}
