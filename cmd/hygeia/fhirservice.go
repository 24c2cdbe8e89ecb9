package main

type fhirServiceCmd struct {
	Create fhirServiceCreateCmd `cmd:"" help:"Create a FHIR service, or change it."`
	List   fhirServiceListCmd   `cmd:"" help:"List the FHIR services of a workspace."`
	Show   fhirServiceShowCmd   `cmd:"" help:"Show a FHIR service."`
	Delete fhirServiceDeleteCmd `cmd:"" help:"Delete a FHIR service with all its data."`
}

// Help shows examples.
func (fhirServiceCmd) Help() string {
	return `Examples:
  hygeia fhir-service create default records
  hygeia fhir-service list default`
}

type fhirServiceCreateCmd struct {
	clientFlags
	serviceArgs
	Compat     string            `enum:",ahds" default:"" help:"ahds: with the documented deviations of Azure Health Data Services."`
	Narrative  string            `enum:",safe" default:"" help:"safe: refuse narratives with scripts and the like."`
	Authority  string            `placeholder:"URL" help:"OpenID provider whose tokens count besides those of the built-in one."`
	Audience   string            `help:"Audience that its tokens must have."`
	Versioning map[string]string `placeholder:"TYPE=POLICY" help:"versioned, versioned-update or no-version for a resource type, or for default; may be given several times."`
	Tags       map[string]string `name:"tag" placeholder:"NAME=VALUE" help:"A tag; may be given several times."`
}

// Help shows an example.
func (fhirServiceCreateCmd) Help() string {
	return `Example:
  hygeia fhir-service create default records --compat ahds
  hygeia fhir-service create default devices --versioning Observation=no-version`
}

// Run creates.
func (c fhirServiceCreateCmd) Run(std stdio) error {
	return fhirKind.create(std, c.clientFlags, c.serviceArgs, map[string]any{"compat": c.Compat, "narrative": c.Narrative, "versioning": c.Versioning, "authority": c.Authority, "audience": c.Audience, "tags": c.Tags})
}

type fhirServiceListCmd struct {
	clientFlags
	listArgs
}

// Help shows an example.
func (fhirServiceListCmd) Help() string {
	return `Example:
  hygeia fhir-service list default -o json`
}

// Run lists.
func (c fhirServiceListCmd) Run(std stdio) error {
	return fhirKind.list(std, c.clientFlags, c.listArgs)
}

type fhirServiceShowCmd struct {
	clientFlags
	serviceArgs
}

// Help shows an example.
func (fhirServiceShowCmd) Help() string {
	return `Example:
  hygeia fhir-service show default fhir`
}

// Run shows.
func (c fhirServiceShowCmd) Run(std stdio) error {
	return fhirKind.show(std, c.clientFlags, c.serviceArgs)
}

type fhirServiceDeleteCmd struct {
	clientFlags
	serviceArgs
	Yes bool `help:"Needed: there is no way back."`
}

// Help shows an example.
func (fhirServiceDeleteCmd) Help() string {
	return `Example:
  hygeia fhir-service delete default records --yes`
}

// Run deletes.
func (c fhirServiceDeleteCmd) Run(std stdio) error {
	return fhirKind.delete(std, c.clientFlags, c.serviceArgs, c.Yes)
}
