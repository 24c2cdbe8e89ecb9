package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// asyncJob is a request to which the server answers at once where its status is,
// as $export and $import are (the asynchronous pattern of Bulk Data Access).
type asyncJob struct {
	to    string // the FHIR service, for messages
	verb  string // what it does, for messages: export, import
	poll  time.Duration
	quiet bool // no progress on standard error
	get   func(ctx context.Context, address string) (*http.Response, error)
}

// statusOf returns the address of the status, from the answer to the request.
func (j asyncJob) statusOf(res *http.Response) (string, error) {
	defer res.Body.Close()
	status := res.Header.Get("Content-Location")
	if res.StatusCode != http.StatusAccepted || status == "" {
		return "", fmt.Errorf("%s does not %s: it answers %s", j.to, j.verb, res.Status)
	}
	return status, nil
}

// wait asks until the job has ended and reads its answer into out. When ctx ends
// first it returns an error; the job goes on.
func (j asyncJob) wait(ctx context.Context, std stdio, status string, out any) error {
	last := ""
	for {
		res, err := j.get(ctx, status)
		if err != nil {
			return err
		}
		if res.StatusCode == http.StatusOK {
			defer res.Body.Close()
			return json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out)
		}
		_ = res.Body.Close()
		if p := res.Header.Get("X-Progress"); p != last && !j.quiet {
			fmt.Fprintln(std.err, p)
			last = p
		}
		pause := j.poll
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
			pause = time.Duration(n) * time.Second
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
