package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// service is that of the management API.
type service struct {
	Name      string `json:"name"`
	Workspace string `json:"workspace"`
	server.ServiceSpec
	State   string    `json:"state"`
	URL     string    `json:"url"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// serviceArgs name a service.
type serviceArgs struct {
	Workspace string `arg:"" help:"The workspace."`
	Name      string `arg:"" help:"The service."`
}

// listArgs say whose services are listed.
type listArgs struct {
	Workspace string `arg:"" default:"default" help:"The workspace (${default})."`
}

// serviceKind is what the commands of a kind of service have in common.
type serviceKind struct {
	kind  string // as in the paths of the API
	label string // for people
	data  string // what goes with the service when it is deleted
	print func(stdio, []service) error
}

var (
	fhirKind    = serviceKind{"fhir", "FHIR service", "all its data", printServices}
	dicomKind   = serviceKind{"dicom", "DICOM service", "all its data", printServices}
	medtechKind = serviceKind{"medtech", "MedTech service", "its messages and mappings", printMedTechServices}
)

func servicePath(kind, workspace, name string) string {
	return workspacePath(workspace) + "/" + kind + "services/" + url.PathEscape(name)
}

// create puts a service, which may be there already.
func (k serviceKind) create(std stdio, c clientFlags, a serviceArgs, body map[string]any) error {
	path := servicePath(k.kind, a.Workspace, a.Name)
	if err := c.keepUnsaid(context.Background(), path, body); err != nil {
		return err
	}
	var s service
	status, err := c.call(context.Background(), http.MethodPut, path, body, &s)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, s)
	}
	fmt.Fprintf(std.out, "%s %s/%s is %s: %s\n", k.label, s.Workspace, s.Name, createdOrThere(status), s.URL)
	return nil
}

func (k serviceKind) list(std stdio, c clientFlags, a listArgs) error {
	var list struct {
		Value []service `json:"value"`
	}
	if _, err := c.call(context.Background(), http.MethodGet, workspacePath(a.Workspace)+"/"+k.kind+"services", nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	return k.print(std, list.Value)
}

func (k serviceKind) show(std stdio, c clientFlags, a serviceArgs) error {
	var s service
	if _, err := c.call(context.Background(), http.MethodGet, servicePath(k.kind, a.Workspace, a.Name), nil, &s); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, s)
	}
	return k.print(std, []service{s})
}

func (k serviceKind) delete(std stdio, c clientFlags, a serviceArgs, yes bool) error {
	if !yes {
		return &usageError{fmt.Sprintf("%s %s/%s was not deleted; add --yes to delete it with %s", k.label, a.Workspace, a.Name, k.data)}
	}
	return c.deleteObject(std, k.label, a.Workspace+"/"+a.Name, servicePath(k.kind, a.Workspace, a.Name))
}

// keepUnsaid puts the settings for which the create commands have no flag, as a
// service that exists has them, into the body that changes it.
func (c clientFlags) keepUnsaid(ctx context.Context, path string, body map[string]any) error {
	var have map[string]any
	if _, err := c.call(ctx, http.MethodGet, path, nil, &have); err != nil {
		if isNotFound(err) {
			return nil
		}
		return err
	}
	for _, notSetting := range []string{"name", "workspace", "kind", "state", "url", "created", "changed"} {
		delete(have, notSetting)
	}
	for name, value := range have {
		if _, said := body[name]; !said {
			body[name] = value
		}
	}
	return nil
}

func printServices(std stdio, list []service) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WORKSPACE\tNAME\tKIND\tCOMPAT\tSTATE\tURL")
	for _, s := range list {
		compat := s.Compat
		if compat == "" {
			compat = map[string]string{"fhir": "r4"}[string(s.Kind)]
		}
		if compat == "" {
			compat = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Workspace, s.Name, s.Kind, compat, s.State, s.URL)
	}
	return tw.Flush()
}

func printMedTechServices(std stdio, list []service) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WORKSPACE\tNAME\tDESTINATION\tRESOLUTION\tSTATE\tURL")
	for _, s := range list {
		resolution := s.Resolution
		if resolution == "" {
			resolution = "Create"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Workspace, s.Name, s.Destination, resolution, s.State, s.URL)
	}
	return tw.Flush()
}
