package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hygeia-health/hygeia/platform/audit"
	"github.com/hygeia-health/hygeia/server"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that the audit trail was not changed."`
	Query  auditQueryCmd  `cmd:"" help:"List who did what."`
}

// Help shows examples.
func (auditCmd) Help() string {
	return `Examples:
  hygeia audit verify --data /srv/hygeia
  hygeia audit query --type Patient --id 123`
}

type auditVerifyCmd struct {
	Data   string `default:"./hygeia-data" env:"HYGEIA_DATA" placeholder:"DIR" help:"Data folder (${default}); a server may be using it."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// Help shows an example.
func (auditVerifyCmd) Help() string {
	return `Reads the whole trail. The first place that was changed is named by file, line and byte, and the exit code is 1.

Example:
  hygeia audit verify --data /srv/hygeia`
}

// Run verifies.
func (c auditVerifyCmd) Run(std stdio) error {
	rep, err := audit.Verify(server.AuditFolder(c.Data))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds no audit trail", c.Data)
	}
	if err != nil {
		return fmt.Errorf("the audit trail was changed or damaged: %w", err)
	}
	if c.Output == "json" {
		return printJSON(std, rep)
	}
	fmt.Fprintf(std.out, "%d records in %d files fit together, up to %s; %d signed heads, the last one over record %d of %d\n",
		rep.Records, rep.Files, rep.Until.UTC().Format(time.RFC3339), rep.Heads, rep.Signed, rep.Last)
	return nil
}

type auditQueryCmd struct {
	clientFlags
	Data      string `placeholder:"DIR" help:"Read the trail in this data folder, instead of asking a server."`
	Workspace string `short:"w" placeholder:"NAME" help:"Only of this workspace."`
	From      string `placeholder:"TIME" help:"From this time on, such as 2026-11-21T10:00:00Z."`
	Until     string `placeholder:"TIME" help:"Before this time."`
	Service   string `placeholder:"WS/NAME" help:"Only of this service."`
	Principal string `placeholder:"ID" help:"Only by this client or user."`
	Action    string `help:"Only this action, such as read, search-type or token."`
	Type      string `help:"Only of this resource type."`
	ID        string `help:"Only of the resource with this id."`
	Outcome   string `enum:",success,refused,failure" default:"" help:"success, refused or failure."`
	Limit     int    `default:"100" help:"At most so many (${default})."`
	After     int64  `help:"Behind the record with this number: the next page."`
}

// Help shows examples.
func (auditQueryCmd) Help() string {
	return `Examples:
  hygeia audit query --type Patient --id 123
  hygeia audit query --data ./hygeia-data --outcome refused -o json`
}

// Run asks.
func (c auditQueryCmd) Run(std stdio) error {
	var page struct {
		Value []audit.Record `json:"value"`
		Next  string         `json:"next"`
	}
	if c.Data != "" {
		q, err := c.query()
		if err != nil {
			return err
		}
		found, err := audit.Find(context.Background(), server.AuditFolder(c.Data), q)
		if err != nil {
			return err
		}
		page.Value = found.Records
	} else if _, err := c.call(context.Background(), http.MethodGet, c.path(), nil, &page); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, page.Value)
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "N\tTIME\tWHO\tCLIENT\tFROM\tSERVICE\tACTION\tRESOURCE\tSTATUS")
	for _, r := range page.Value {
		resource := r.Type
		switch {
		case strings.HasPrefix(r.ID, "/"):
			resource += r.ID // the path of the management API
		case r.ID != "":
			resource += "/" + r.ID
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n",
			r.N, r.Time.UTC().Format(time.RFC3339), r.Principal, r.Client, r.Address, r.Service, r.Action, resource, r.Status)
	}
	return tw.Flush()
}

// path is the query for a server.
func (c auditQueryCmd) path() string {
	params := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	for name, v := range map[string]string{
		"from": c.From, "to": c.Until, "service": c.Service, "principal": c.Principal, "action": c.Action, "type": c.Type, "id": c.ID, "outcome": c.Outcome,
	} {
		if v != "" {
			params.Set(name, v)
		}
	}
	if c.After > 0 {
		params.Set("after", strconv.FormatInt(c.After, 10))
	}
	base := "/audit"
	if c.Workspace != "" {
		base = workspacePath(c.Workspace) + "/audit"
	}
	return base + "?" + params.Encode()
}

// query is the query for a folder.
func (c auditQueryCmd) query() (audit.Query, error) {
	q := audit.Query{
		Service: c.Service, Principal: c.Principal, Action: c.Action, Type: c.Type, ID: c.ID, Outcome: c.Outcome, Limit: c.Limit, After: c.After,
	}
	if c.Workspace != "" && c.Service == "" {
		q.Service = c.Workspace + "/"
	}
	for text, at := range map[string]*time.Time{c.From: &q.From, c.Until: &q.To} {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return q, &usageError{fmt.Sprintf("%q is no time such as 2026-11-21T10:00:00Z", text)}
		}
		*at = t
	}
	return q, nil
}
