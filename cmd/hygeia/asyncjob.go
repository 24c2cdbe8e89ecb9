package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// asyncFlags are common to export and import, whose requests the server answers
// at once with where their status is (the asynchronous pattern of Bulk Data Access).
type asyncFlags struct {
	To     string        `default:"${url}/default/fhir" placeholder:"URL" help:"URL of the FHIR service (${default}), below $HYGEIA_URL."`
	Token  string        `env:"HYGEIA_TOKEN" help:"Bearer token."`
	Output string        `short:"o" default:"text" enum:"text,json" help:"text or json."`
	Poll   time.Duration `default:"1s" help:"How often to ask, when the server does not say."`
}

// request does one request with a token, which may be empty; an answer that is
// not 2xx is an error.
func (f asyncFlags) request(ctx context.Context, method, address, token string, in any) (*http.Response, error) {
	req, err := newRequest(ctx, method, address, token, in)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/fhir+json")
	}
	req.Header.Set("Accept", "application/fhir+json")
	req.Header.Set("Prefer", "respond-async")
	res, err := send(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return nil, outcomeError(res, text)
	}
	return res, nil
}

// begin asks for an operation and returns the address of its status.
func (f asyncFlags) begin(ctx context.Context, method, address string, in any) (string, error) {
	res, err := f.request(ctx, method, address, f.Token, in)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	status := res.Header.Get("Content-Location")
	if res.StatusCode != http.StatusAccepted || status == "" {
		return "", fmt.Errorf("%s is not done as a job: the server answers %s", address, res.Status)
	}
	return status, nil
}

// wait asks until the operation has ended and reads its answer into out. When ctx
// ends first it returns an error; the operation goes on.
// A server that does not answer for a moment, because it is started again, is asked again.
func (f asyncFlags) wait(ctx context.Context, std stdio, status string, out any) error {
	last, tries := "", 0
	for {
		res, err := f.request(ctx, http.MethodGet, status, f.Token, nil)
		if err != nil {
			if tries++; tries < maxTries && passing(ctx, err) && pause(ctx, patience(err, tries)) {
				continue
			}
			return err
		}
		tries = 0
		if res.StatusCode == http.StatusOK {
			defer res.Body.Close()
			return json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out)
		}
		_ = res.Body.Close()
		if p := res.Header.Get("X-Progress"); p != last && f.Output == "text" {
			fmt.Fprintln(std.err, p)
			last = p
		}
		if !pause(ctx, cmp.Or(retryAfter(res.Header), f.Poll)) {
			return ctx.Err()
		}
	}
}

// maxTries is how often in a row a server may fail to answer; the pauses between
// add up to half a minute.
const maxTries = 6

// backoff is the pause before try n+1: 1s, 2s, 4s ...
func backoff(n int) time.Duration { return time.Second << (n - 1) }

// patience is the pause before try n+1 after an error: as long as the server
// asks for, but no less than backoff.
func patience(err error, n int) time.Duration {
	if e, ok := errors.AsType[*apiError](err); ok {
		return max(e.after, backoff(n))
	}
	return backoff(n)
}

// longestPause bounds what a server may ask for.
const longestPause = 5 * time.Minute

// retryAfter is how long a server wants to be left alone (RFC 9110 section
// 10.2.3): seconds or a time; 0 when it does not say.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, longestPause)
	}
	if t, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(t), 0), longestPause)
	}
	return 0
}

// passing reports whether an error may be another one in a moment: nobody
// answered, the answer was cut off, or the server says so.
func passing(ctx context.Context, err error) bool {
	_, wrong := errors.AsType[*usageError](err)
	_, full := errors.AsType[errDisk](err)
	if wrong || full || ctx.Err() != nil {
		return false
	}
	e, answered := errors.AsType[*apiError](err)
	if !answered {
		return true
	}
	switch e.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// outcomeError reads the first issue of an OperationOutcome.
func outcomeError(res *http.Response, text []byte) error {
	var o struct {
		Issue []struct {
			Diagnostics string `json:"diagnostics"`
		} `json:"issue"`
	}
	if err := json.Unmarshal(text, &o); err != nil || len(o.Issue) == 0 || o.Issue[0].Diagnostics == "" {
		return &apiError{res.StatusCode, "the server answers " + res.Status, retryAfter(res.Header)}
	}
	return &apiError{res.StatusCode, o.Issue[0].Diagnostics, retryAfter(res.Header)}
}
