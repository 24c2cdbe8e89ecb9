package main

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
}

// Help shows an example.
func (dicomServiceCreateCmd) Help() string {
	return `Example:
  hygeia dicom-service create default images
  hygeia dicom-service create default sites --partitions`
}

// Run creates.
func (c dicomServiceCreateCmd) Run(std stdio) error {
	return dicomKind.create(std, c.clientFlags, c.serviceArgs, map[string]any{"partitions": c.Partitions, "authority": c.Authority, "audience": c.Audience, "tags": c.Tags})
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
