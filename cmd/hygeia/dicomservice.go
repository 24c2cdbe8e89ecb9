package main

import (
	"context"
	"fmt"
)

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
	var s service
	body := map[string]any{"partitions": c.Partitions, "authority": c.Authority, "audience": c.Audience, "tags": c.Tags}
	path := servicePath("dicom", c.Workspace, c.Name)
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
	fmt.Fprintf(std.out, "DICOM service %s/%s is %s: %s\n", s.Workspace, s.Name, createdOrThere(status), s.URL)
	return nil
}

type dicomServiceListCmd struct {
	clientFlags
	Workspace string `arg:"" default:"default" help:"The workspace (${default})."`
}

// Help shows an example.
func (dicomServiceListCmd) Help() string {
	return `Example:
  hygeia dicom-service list default -o json`
}

// Run lists.
func (c dicomServiceListCmd) Run(std stdio) error {
	var list struct {
		Value []service `json:"value"`
	}
	if _, err := c.call(context.Background(), "GET", workspacePath(c.Workspace)+"/dicomservices", nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	return printServices(std, list.Value)
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
	var s service
	if _, err := c.call(context.Background(), "GET", servicePath("dicom", c.Workspace, c.Name), nil, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, s)
	}
	return printServices(std, []service{s})
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
	if !c.Yes {
		return &usageError{fmt.Sprintf("DICOM service %s/%s was not deleted; add --yes to delete it with all its data", c.Workspace, c.Name)}
	}
	if _, err := c.call(context.Background(), "DELETE", servicePath("dicom", c.Workspace, c.Name), nil, nil); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, map[string]string{"deleted": c.Workspace + "/" + c.Name})
	}
	fmt.Fprintf(std.out, "DICOM service %s/%s is deleted\n", c.Workspace, c.Name)
	return nil
}
