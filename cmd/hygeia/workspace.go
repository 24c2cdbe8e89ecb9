package main

import (
	"context"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"
)

type workspaceCmd struct {
	Create workspaceCreateCmd `cmd:"" help:"Create a workspace, or change its tags."`
	List   workspaceListCmd   `cmd:"" help:"List all workspaces."`
	Show   workspaceShowCmd   `cmd:"" help:"Show a workspace."`
	Delete workspaceDeleteCmd `cmd:"" help:"Delete a workspace."`
}

// Help shows examples.
func (workspaceCmd) Help() string {
	return `Examples:
  hygeia workspace create clinic
  hygeia workspace list`
}

// workspace is that of the management API.
type workspace struct {
	Name     string            `json:"name"`
	Tags     map[string]string `json:"tags,omitempty"`
	Services []service         `json:"services"`
	Created  time.Time         `json:"created"`
	Changed  time.Time         `json:"changed"`
}

func workspacePath(name string) string { return "/workspaces/" + url.PathEscape(name) }

type workspaceCreateCmd struct {
	clientFlags
	Name string            `arg:"" help:"2 to 24 lower-case letters, digits and hyphens."`
	Tags map[string]string `name:"tag" placeholder:"NAME=VALUE" help:"A tag; may be given several times."`
}

// Help shows an example.
func (workspaceCreateCmd) Help() string {
	return `Example:
  hygeia workspace create clinic --tag team=cardiology`
}

// Run creates.
func (c workspaceCreateCmd) Run(std stdio) error {
	var w workspace
	status, err := c.call(context.Background(), "PUT", workspacePath(c.Name), map[string]any{"tags": c.Tags}, &w)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, w)
	}
	fmt.Fprintf(std.out, "workspace %s is %s\n", w.Name, createdOrThere(status))
	return nil
}

func createdOrThere(status int) string {
	if status == 201 {
		return "created"
	}
	return "up to date"
}

type workspaceListCmd struct{ clientFlags }

// Help shows an example.
func (workspaceListCmd) Help() string {
	return `Example:
  hygeia workspace list -o json`
}

// Run lists.
func (c workspaceListCmd) Run(std stdio) error {
	var list struct {
		Value []workspace `json:"value"`
	}
	if _, err := c.call(context.Background(), "GET", "/workspaces", nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	return printWorkspaces(std, list.Value)
}

func printWorkspaces(std stdio, list []workspace) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tSERVICES\tCREATED")
	for _, w := range list {
		fmt.Fprintf(tw, "%s\t%d\t%s\n", w.Name, len(w.Services), w.Created.Format("2006-01-02 15:04:05Z"))
	}
	return tw.Flush()
}

type workspaceShowCmd struct {
	clientFlags
	Name string `arg:"" help:"The workspace."`
}

// Help shows an example.
func (workspaceShowCmd) Help() string {
	return `Example:
  hygeia workspace show default`
}

// Run shows.
func (c workspaceShowCmd) Run(std stdio) error {
	var w workspace
	if _, err := c.call(context.Background(), "GET", workspacePath(c.Name), nil, &w); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, w)
	}
	if err := printWorkspaces(std, []workspace{w}); err != nil || len(w.Services) == 0 {
		return err
	}
	fmt.Fprintln(std.out)
	return printServices(std, w.Services)
}

type workspaceDeleteCmd struct {
	clientFlags
	Name  string `arg:"" help:"The workspace."`
	Yes   bool   `help:"Needed: there is no way back."`
	Force bool   `help:"Delete the services in it too, with all their data."`
}

// Help shows an example.
func (workspaceDeleteCmd) Help() string {
	return `Example:
  hygeia workspace delete clinic --yes --force`
}

// Run deletes.
func (c workspaceDeleteCmd) Run(std stdio) error {
	if !c.Yes {
		return &usageError{fmt.Sprintf("workspace %s was not deleted; add --yes to delete it for good", c.Name)}
	}
	path := workspacePath(c.Name)
	if c.Force {
		path += "?force=true"
	}
	if _, err := c.call(context.Background(), "DELETE", path, nil, nil); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, map[string]string{"deleted": c.Name})
	}
	fmt.Fprintf(std.out, "workspace %s is deleted\n", c.Name)
	return nil
}
