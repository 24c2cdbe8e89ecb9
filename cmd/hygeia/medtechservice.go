package main

type medtechServiceCmd struct {
	Create medtechServiceCreateCmd `cmd:"" help:"Create a MedTech service, or change it."`
	List   medtechServiceListCmd   `cmd:"" help:"List the MedTech services of a workspace."`
	Show   medtechServiceShowCmd   `cmd:"" help:"Show a MedTech service."`
	Delete medtechServiceDeleteCmd `cmd:"" help:"Delete a MedTech service with its messages and mappings."`
}

type medtechServiceCreateCmd struct {
	clientFlags
	serviceArgs
	Destination            string            `default:"fhir" help:"The FHIR service of the workspace that gets the Observations (${default})."`
	Resolution             string            `enum:",Create,Lookup,LookupWithEncounter" default:"" help:"How Patient and Device are found: Create (the default), Lookup or LookupWithEncounter."`
	DeviceIdentifierSystem string            `help:"System of device identifiers; without it any."`
	IgnorePeriod           bool              `help:"periodInterval of the FHIR mapping only groups SampledData."`
	Retention              string            `placeholder:"168h" help:"How long processed messages are kept for replays."`
	Compat                 string            `enum:",ms" default:"" help:"ms: mappings and Observations exactly as in Azure Health Data Services."`
	Tags                   map[string]string `name:"tag" placeholder:"NAME=VALUE" help:"A tag; may be given several times."`
}

// Help shows an example.
func (medtechServiceCreateCmd) Help() string {
	return `Example:
  hygeia medtech-service create default devices --destination fhir --resolution Lookup`
}

// Run creates.
func (c medtechServiceCreateCmd) Run(std stdio) error {
	return medtechKind.create(std, c.clientFlags, c.serviceArgs, map[string]any{
		"compat": c.Compat, "tags": c.Tags, "destination": c.Destination, "resolution": c.Resolution,
		"deviceIdentifierSystem": c.DeviceIdentifierSystem, "ignorePeriod": c.IgnorePeriod, "retention": c.Retention,
	})
}

type medtechServiceListCmd struct {
	clientFlags
	listArgs
}

// Help shows an example.
func (medtechServiceListCmd) Help() string {
	return `Example:
  hygeia medtech-service list default -o json`
}

// Run lists.
func (c medtechServiceListCmd) Run(std stdio) error {
	return medtechKind.list(std, c.clientFlags, c.listArgs)
}

type medtechServiceShowCmd struct {
	clientFlags
	serviceArgs
}

// Help shows an example.
func (medtechServiceShowCmd) Help() string {
	return `Example:
  hygeia medtech-service show default medtech`
}

// Run shows.
func (c medtechServiceShowCmd) Run(std stdio) error {
	return medtechKind.show(std, c.clientFlags, c.serviceArgs)
}

type medtechServiceDeleteCmd struct {
	clientFlags
	serviceArgs
	Yes bool `help:"Needed: there is no way back."`
}

// Help shows an example.
func (medtechServiceDeleteCmd) Help() string {
	return `Example:
  hygeia medtech-service delete default devices --yes`
}

// Run deletes.
func (c medtechServiceDeleteCmd) Run(std stdio) error {
	return medtechKind.delete(std, c.clientFlags, c.serviceArgs, c.Yes)
}
