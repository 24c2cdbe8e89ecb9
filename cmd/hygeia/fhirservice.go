package main

import (
	"context"
	"fmt"
	"text/tabwriter"
)

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

// serviceArgs name a service.
type serviceArgs struct {
	Workspace string `arg:"" help:"The workspace."`
	Name      string `arg:"" help:"The service."`
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
	var s service
	body := map[string]any{"compat": c.Compat, "narrative": c.Narrative, "versioning": c.Versioning, "authority": c.Authority, "audience": c.Audience, "tags": c.Tags}
	path := servicePath("fhir", c.Workspace, c.Name)
	if err := c.keepUnsaid(context.Background(), path, body); err != nil {
		return err
	}
	status, err := c.call(context.Background(), "PUT", path, body, &s)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, s)
	}
	fmt.Fprintf(std.out, "FHIR service %s/%s is %s: %s\n", s.Workspace, s.Name, createdOrThere(status), s.URL)
	return nil
}

type fhirServiceListCmd struct {
	clientFlags
	Workspace string `arg:"" default:"default" help:"The workspace (${default})."`
}

// Help shows an example.
func (fhirServiceListCmd) Help() string {
	return `Example:
  hygeia fhir-service list default -o json`
}

// Run lists.
func (c fhirServiceListCmd) Run(std stdio) error {
	var list struct {
		Value []service `json:"value"`
	}
	if _, err := c.call(context.Background(), "GET", workspacePath(c.Workspace)+"/fhirservices", nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	return printServices(std, list.Value)
}

func printServices(std stdio, list []service) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WORKSPACE\tNAME\tKIND\tCOMPAT\tSTATE\tURL")
	for _, s := range list {
		compat := s.Compat
		if compat == "" {
			compat = map[string]string{"fhir": "r4"}[s.Kind]
		}
		if compat == "" {
			compat = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Workspace, s.Name, s.Kind, compat, s.State, s.URL)
	}
	return tw.Flush()
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
	var s service
	if _, err := c.call(context.Background(), "GET", servicePath("fhir", c.Workspace, c.Name), nil, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, s)
	}
	return printServices(std, []service{s})
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
	if !c.Yes {
		return &usageError{fmt.Sprintf("FHIR service %s/%s was not deleted; add --yes to delete it with all its data", c.Workspace, c.Name)}
	}
	if _, err := c.call(context.Background(), "DELETE", servicePath("fhir", c.Workspace, c.Name), nil, nil); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, map[string]string{"deleted": c.Workspace + "/" + c.Name})
	}
	fmt.Fprintf(std.out, "FHIR service %s/%s is deleted\n", c.Workspace, c.Name)
	return nil
}
