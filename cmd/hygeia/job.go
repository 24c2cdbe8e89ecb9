package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"
)

type jobCmd struct {
	List   jobListCmd   `cmd:"" help:"List jobs, newest first."`
	Show   jobShowCmd   `cmd:"" help:"Show a job and its parts."`
	Cancel jobCancelCmd `cmd:"" help:"Cancel a job."`
}

// job is that of the management API.
type job struct {
	ID        string      `json:"id"`
	Kind      string      `json:"kind"`
	Service   string      `json:"service"`
	Requester string      `json:"requester,omitempty"`
	State     string      `json:"state"`
	Stopping  bool        `json:"stopping,omitempty"`
	Priority  int         `json:"priority,omitempty"`
	Attempts  int         `json:"attempts"`
	Worker    string      `json:"worker,omitempty"`
	Progress  jobProgress `json:"progress"`
	Error     string      `json:"error,omitempty"`
	Created   time.Time   `json:"created"`
	Started   *time.Time  `json:"started,omitempty"`
	Changed   time.Time   `json:"changed"`
	Finished  *time.Time  `json:"finished,omitempty"`
	Expires   *time.Time  `json:"expires,omitempty"`
	Children  []job       `json:"children,omitempty"`
}

type jobProgress struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
	Note  string `json:"note,omitempty"`
}

func (p jobProgress) String() string {
	text := strconv.FormatInt(p.Done, 10)
	if p.Total > 0 {
		text += " of " + strconv.FormatInt(p.Total, 10)
	}
	if p.Note != "" {
		text += " " + p.Note
	}
	return text
}

func printJobs(std stdio, list []job) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tKIND\tSERVICE\tSTATE\tPROGRESS\tCREATED\tERROR")
	for _, j := range list {
		state := j.State
		if j.Stopping {
			state = "stopping"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Kind, j.Service, state, j.Progress, j.Created.Format("2006-01-02 15:04:05Z"), j.Error)
	}
	return tw.Flush()
}

type jobListCmd struct {
	clientFlags
	Kind    string `placeholder:"KIND" help:"Only this kind: export, import, reindex."`
	Service string `placeholder:"WORKSPACE/SERVICE" help:"Only jobs of this service."`
	State   string `placeholder:"STATE" help:"Only this state: queued, running, waiting, completed, failed, cancelled."`
	Limit   int    `default:"100" help:"At most so many (${default})."`
}

// Help shows an example.
func (jobListCmd) Help() string {
	return `Example:
  hygeia job list --state running -o json`
}

// Run lists.
func (c jobListCmd) Run(std stdio) error {
	q := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{"kind": c.Kind, "service": c.Service, "state": c.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var list struct {
		Value []job `json:"value"`
	}
	if _, err := c.call(context.Background(), "GET", "/jobs?"+q.Encode(), nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	return printJobs(std, list.Value)
}

type jobShowCmd struct {
	clientFlags
	ID string `arg:"" help:"The job."`
}

// Help shows an example.
func (jobShowCmd) Help() string {
	return `Example:
  hygeia job show 06gvtuds58000nqgja7sbjrb`
}

// Run shows.
func (c jobShowCmd) Run(std stdio) error {
	var j job
	if _, err := c.call(context.Background(), "GET", "/jobs/"+url.PathEscape(c.ID), nil, &j); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, j)
	}
	return printJobs(std, append([]job{j}, j.Children...))
}

type jobCancelCmd struct {
	clientFlags
	ID string `arg:"" help:"The job."`
}

// Help shows an example.
func (jobCancelCmd) Help() string {
	return `Example:
  hygeia job cancel 06gvtuds58000nqgja7sbjrb`
}

// Run cancels.
func (c jobCancelCmd) Run(std stdio) error {
	var j job
	if _, err := c.call(context.Background(), "DELETE", "/jobs/"+url.PathEscape(c.ID), nil, &j); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, j)
	}
	fmt.Fprintf(std.out, "job %s is being cancelled\n", j.ID)
	return nil
}
