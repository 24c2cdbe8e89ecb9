package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/server"
)

// clientFlags say which server to talk to, and how to show its answer.
type clientFlags struct {
	To     string `default:"${url}" env:"HYGEIA_URL" placeholder:"URL" help:"URL of the server (${default})."`
	Token  string `env:"HYGEIA_TOKEN" help:"Bearer token."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json."`
}

// workspace and service are those of the management API.
type workspace struct {
	Name     string            `json:"name"`
	Tags     map[string]string `json:"tags,omitempty"`
	Services []service         `json:"services"`
	Created  time.Time         `json:"created"`
	Changed  time.Time         `json:"changed"`
}

type service struct {
	Name       string            `json:"name"`
	Workspace  string            `json:"workspace"`
	Kind       string            `json:"kind"`
	Compat     string            `json:"compat,omitempty"`
	Narrative  string            `json:"narrative,omitempty"`
	Gateway    *server.Gateway   `json:"gateway,omitempty"`
	Authority  string            `json:"authority,omitempty"`
	Audience   string            `json:"audience,omitempty"`
	Versioning map[string]string `json:"versioning,omitempty"`
	Partitions bool              `json:"partitions,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	State      string            `json:"state"`
	URL        string            `json:"url"`
	Created    time.Time         `json:"created"`
	Changed    time.Time         `json:"changed"`
	medtechSettings
}

// apiError is an answer that is not 2xx.
type apiError struct {
	status int
	msg    string
}

func (e *apiError) Error() string { return e.msg }

// isNotFound reports whether the server knows nothing of that name.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.status == http.StatusNotFound
}

// maxAnswer bounds what is read from a server.
const maxAnswer = 64 << 20

// call does one request below /manage/v1 and reads the answer into out, which
// may be nil. It returns the status.
func (c clientFlags) call(ctx context.Context, method, path string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.To, "/")+"/manage/v1"+path, body)
	if err != nil {
		return 0, &usageError{fmt.Sprintf("--to %s is no URL", c.To)}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return 0, fmt.Errorf("%s does not answer (%w); is hygeia serve running there?", c.To, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.To, err)
	}
	if res.StatusCode/100 != 2 {
		return res.StatusCode, problem(res, text)
	}
	if out == nil {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return res.StatusCode, fmt.Errorf("%s does not answer as a Hygeia server does: %w", c.To, err)
	}
	return res.StatusCode, nil
}

// problem reads an RFC 9457 answer.
func problem(res *http.Response, text []byte) error {
	var p struct {
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Detail == "" {
		p.Detail = "the server answers " + res.Status
	}
	return &apiError{res.StatusCode, p.Detail}
}

func workspacePath(name string) string { return "/workspaces/" + url.PathEscape(name) }

func servicePath(kind, workspace, name string) string {
	return workspacePath(workspace) + "/" + kind + "services/" + url.PathEscape(name)
}

// keepUnsaid puts the settings for which the create commands have no flag, as a
// service that exists has them, into the body that changes it.
func (c clientFlags) keepUnsaid(ctx context.Context, path string, body map[string]any) error {
	var have service
	if _, err := c.call(ctx, http.MethodGet, path, nil, &have); err != nil {
		if isNotFound(err) {
			return nil
		}
		return err
	}
	if have.Gateway != nil {
		body["gateway"] = have.Gateway
	}
	if have.Sources != nil {
		body["sources"] = have.Sources
	}
	return nil
}
