package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

type eventsCmd struct {
	Create      eventSubscriptionCreateCmd  `cmd:"" help:"Create an event subscription, or change it."`
	List        eventSubscriptionListCmd    `cmd:"" help:"List the event subscriptions of a workspace."`
	Show        eventSubscriptionShowCmd    `cmd:"" help:"Show an event subscription and how its deliveries stand."`
	Delete      eventSubscriptionDeleteCmd  `cmd:"" help:"Delete an event subscription."`
	DeadLetters eventSubscriptionLettersCmd `cmd:"" name:"dead-letters" help:"List the events that were given up."`
	Redrive     eventSubscriptionRedriveCmd `cmd:"" help:"Try the events again that were given up."`
}

// Help shows examples.
func (eventsCmd) Help() string {
	return `Examples:
  hygeia event-subscription create default results --endpoint https://hooks.example.org/in --type FhirResourceCreated
  hygeia event-subscription show default results`
}

// eventSubscription is one of the management API, as far as a list shows it.
type eventSubscription struct {
	Name        string `json:"name"`
	State       string `json:"provisioningState"`
	Reason      string `json:"reason,omitempty"`
	Schema      string `json:"eventDeliverySchema"`
	Destination struct {
		Type       string `json:"endpointType"`
		Properties struct {
			EndpointURL string   `json:"endpointUrl"`
			URLs        []string `json:"urls"`
			Topic       string   `json:"topic"`
		} `json:"properties"`
	} `json:"destination"`
	Status *struct {
		Behind      int64      `json:"eventsBehind"`
		Retrying    int        `json:"eventsRetrying"`
		DeadLetters int        `json:"deadLetters"`
		Delivered   int64      `json:"deliveredSinceStart"`
		Failed      int64      `json:"failedAttemptsSinceStart"`
		Outcome     string     `json:"lastDeliveryOutcome"`
		Probation   *time.Time `json:"probationUntil"`
	} `json:"status"`
}

// endpoint is where the events go, as --endpoint has it.
func (s *eventSubscription) endpoint() string {
	p := &s.Destination.Properties
	switch s.Destination.Type {
	case "Kafka":
		return "kafka://" + strings.Join(p.URLs, ",") + "/" + p.Topic
	case "NATS":
		return strings.Join(p.URLs, ",") + "/" + p.Topic
	}
	return p.EndpointURL
}

// eventSubscriptionArgs name an event subscription.
type eventSubscriptionArgs struct {
	Workspace string `arg:"" help:"The workspace."`
	Name      string `arg:"" help:"The event subscription."`
}

func eventSubscriptionPath(workspace, name string) string {
	p := workspacePath(workspace) + "/eventsubscriptions"
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

type eventSubscriptionCreateCmd struct {
	clientFlags
	eventSubscriptionArgs
	Endpoint      string   `placeholder:"URL" help:"The webhook, or a broker with its topic: kafka://HOST:9092/TOPIC, nats://HOST:4222/SUBJECT."`
	User          string   `help:"User at a broker."`
	Password      string   `placeholder:"REF" help:"Where the server finds the password of the user: env:NAME or file:PATH."`
	TLS           bool     `name:"tls" help:"Speak TLS with a broker."`
	Type          []string `help:"Event types, such as FhirResourceCreated; default all."`
	SubjectBegins string   `help:"What the subject begins with."`
	SubjectEnds   string   `help:"What the subject ends with."`
	Schema        string   `enum:",EventGridSchema,CloudEventSchemaV1_0" default:"" help:"EventGridSchema (default of a webhook) or CloudEventSchemaV1_0 (of a broker)."`
	Batch         int      `help:"Events per request, at most (1; 500 for a broker)."`
	Attempts      int      `default:"30" help:"Attempts for one event (${default})."`
	TimeToLive    int      `default:"1440" help:"Minutes in which an event is tried (${default})."`
	DeadLetters   string   `placeholder:"CONTAINER" help:"Container of the blob store for events that are given up."`
	Ordered       bool     `help:"Keep the order of the events of each resource."`
	SecretFile    string   `placeholder:"FILE" help:"File with the signing secret (whsec_...)."`
	File          string   `short:"f" placeholder:"FILE" help:"Take the whole subscription from a JSON file instead; - is standard input."`
}

// Help shows examples.
func (eventSubscriptionCreateCmd) Help() string {
	return `Examples:
  hygeia event-subscription create default results --endpoint https://hooks.example.org/in --dead-letters failed-events
  hygeia event-subscription create default stream --endpoint nats://bus.example.org:4222/health.events --user hygeia --password env:NATS_PASSWORD
  hygeia event-subscription create default results -f subscription.json

The webhook is asked at once whether it wants events; it has to answer. A private
address, and every broker, has to be allowed by the configuration key events.allow.`
}

func (c eventSubscriptionCreateCmd) body(std stdio) (any, error) {
	if c.File != "" {
		var text []byte
		var err error
		if c.File == "-" {
			text, err = io.ReadAll(std.in)
		} else {
			text, err = os.ReadFile(c.File)
		}
		if err != nil {
			return nil, err
		}
		if !json.Valid(text) {
			return nil, fmt.Errorf("%s is not JSON", c.File)
		}
		return json.RawMessage(text), nil
	}
	if c.Endpoint == "" {
		return nil, &usageError{"an event subscription needs --endpoint URL, or -f FILE"}
	}
	kind, properties := c.destination()
	if c.Batch != 0 {
		properties["maxEventsPerBatch"] = c.Batch
	}
	if c.SecretFile != "" {
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return nil, err
		}
		properties["signingSecret"] = strings.TrimSpace(string(text))
	}
	types := make([]string, len(c.Type))
	for i, t := range c.Type {
		if types[i] = t; !strings.Contains(t, ".") {
			types[i] = "Microsoft.HealthcareApis." + t
		}
	}
	body := map[string]any{
		"destination": map[string]any{"endpointType": kind, "properties": properties},
		"filter":      map[string]any{"includedEventTypes": types, "subjectBeginsWith": c.SubjectBegins, "subjectEndsWith": c.SubjectEnds},
		"retryPolicy": map[string]any{"maxDeliveryAttempts": c.Attempts, "eventTimeToLiveInMinutes": c.TimeToLive},
		"ordered":     c.Ordered, "eventDeliverySchema": c.Schema,
	}
	if c.DeadLetters != "" {
		body["deadLetterDestination"] = map[string]any{"endpointType": "StorageBlob", "properties": map[string]any{"blobContainerName": c.DeadLetters}}
	}
	return body, nil
}

// destination reads the endpoint. What is not right the server says.
func (c *eventSubscriptionCreateCmd) destination() (kind string, properties map[string]any) {
	scheme, rest, _ := strings.Cut(c.Endpoint, "://")
	hosts, topic, _ := strings.Cut(rest, "/")
	urls := strings.Split(hosts, ",")
	switch scheme {
	case "kafka":
		kind = "Kafka"
	case "nats", "tls":
		kind = "NATS"
		for i := range urls {
			urls[i] = scheme + "://" + urls[i]
		}
	default:
		properties = map[string]any{"endpointUrl": c.Endpoint}
		if c.User != "" || c.Password != "" || c.TLS { // the server refuses them
			properties["user"], properties["password"], properties["tls"] = c.User, c.Password, c.TLS
		}
		return "WebHook", properties
	}
	return kind, map[string]any{"urls": urls, "topic": topic, "user": c.User, "password": c.Password, "tls": c.TLS}
}

// Run creates.
func (c eventSubscriptionCreateCmd) Run(std stdio) error {
	body, err := c.body(std)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	status, err := c.call(context.Background(), "PUT", eventSubscriptionPath(c.Workspace, c.Name), body, &raw)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, raw)
	}
	var s eventSubscription
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "event subscription %s is %s: %s\n", s.Name, createdOrThere(status), s.State)
	if s.Reason != "" {
		fmt.Fprintln(std.out, s.Reason)
	}
	return nil
}

type eventSubscriptionListCmd struct {
	clientFlags
	Workspace string `arg:"" default:"default" help:"The workspace (${default})."`
}

// Help shows an example.
func (eventSubscriptionListCmd) Help() string {
	return `Example:
  hygeia event-subscription list default -o json`
}

// Run lists.
func (c eventSubscriptionListCmd) Run(std stdio) error {
	var list struct {
		Value json.RawMessage `json:"value"`
	}
	if _, err := c.call(context.Background(), "GET", eventSubscriptionPath(c.Workspace, ""), nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	var subs []eventSubscription
	if err := json.Unmarshal(list.Value, &subs); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tSTATE\tSCHEMA\tENDPOINT")
	for _, s := range subs {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", s.Name, s.State, s.Schema, s.endpoint())
	}
	return tw.Flush()
}

type eventSubscriptionShowCmd struct {
	clientFlags
	eventSubscriptionArgs
}

// Help shows an example.
func (eventSubscriptionShowCmd) Help() string {
	return `Example:
  hygeia event-subscription show default results`
}

// Run shows.
func (c eventSubscriptionShowCmd) Run(std stdio) error {
	var raw json.RawMessage
	if _, err := c.call(context.Background(), "GET", eventSubscriptionPath(c.Workspace, c.Name), nil, &raw); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, raw)
	}
	var s eventSubscription
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	row := func(name string, v any) { fmt.Fprintf(tw, "%s\t%v\n", name, v) }
	row("name", s.Name)
	row("state", s.State)
	if s.Reason != "" {
		row("reason", s.Reason)
	}
	row("endpoint", s.endpoint())
	row("schema", s.Schema)
	if t := s.Status; t != nil {
		row("behind", t.Behind)
		row("retrying", t.Retrying)
		row("dead letters", t.DeadLetters)
		row("delivered since start", t.Delivered)
		row("failed since start", t.Failed)
		if t.Outcome != "" {
			row("last outcome", t.Outcome)
		}
		if t.Probation != nil {
			row("paused until", t.Probation.Format(time.RFC3339))
		}
	}
	return tw.Flush()
}

type eventSubscriptionDeleteCmd struct {
	clientFlags
	eventSubscriptionArgs
	Yes bool `help:"Needed: events that wait to be tried again are lost."`
}

// Help shows an example.
func (eventSubscriptionDeleteCmd) Help() string {
	return `Example:
  hygeia event-subscription delete default results --yes`
}

// Run deletes.
func (c eventSubscriptionDeleteCmd) Run(std stdio) error {
	if !c.Yes {
		return &usageError{fmt.Sprintf("event subscription %s was not deleted; add --yes to delete it with the events that wait to be tried again", c.Name)}
	}
	if _, err := c.call(context.Background(), "DELETE", eventSubscriptionPath(c.Workspace, c.Name), nil, nil); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, map[string]string{"deleted": c.Workspace + "/" + c.Name})
	}
	fmt.Fprintf(std.out, "event subscription %s is deleted\n", c.Name)
	return nil
}

type eventSubscriptionLettersCmd struct {
	clientFlags
	eventSubscriptionArgs
	After int64 `help:"Position to begin after."`
}

// Help shows an example.
func (eventSubscriptionLettersCmd) Help() string {
	return `Example:
  hygeia event-subscription dead-letters default results`
}

// Run lists.
func (c eventSubscriptionLettersCmd) Run(std stdio) error {
	var list struct {
		Value []struct {
			Position int64     `json:"position"`
			Reason   string    `json:"deadLetterReason"`
			Attempts int       `json:"deliveryAttempts"`
			Outcome  string    `json:"lastDeliveryOutcome,omitempty"`
			Time     time.Time `json:"deadLetterTime"`
			Blob     string    `json:"blob,omitempty"`
		} `json:"value"`
	}
	path := fmt.Sprintf("%s/deadletters?limit=1000&after=%d", eventSubscriptionPath(c.Workspace, c.Name), c.After)
	if _, err := c.call(context.Background(), "GET", path, nil, &list); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, list.Value)
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "POSITION\tREASON\tATTEMPTS\tOUTCOME\tTIME\tBLOB")
	for _, l := range list.Value {
		fmt.Fprintf(tw, "%d\t%s\t%d\t%s\t%s\t%s\n", l.Position, l.Reason, l.Attempts, l.Outcome, l.Time.Format(time.RFC3339), l.Blob)
	}
	return tw.Flush()
}

type eventSubscriptionRedriveCmd struct {
	clientFlags
	eventSubscriptionArgs
	Position []int64 `help:"Only the events at these positions."`
}

// Help shows an example.
func (eventSubscriptionRedriveCmd) Help() string {
	return `Example:
  hygeia event-subscription redrive default results`
}

// Run tries again.
func (c eventSubscriptionRedriveCmd) Run(std stdio) error {
	var body any
	if c.Position != nil {
		body = map[string]any{"positions": c.Position}
	}
	var done struct {
		Redriven int `json:"redriven"`
	}
	if _, err := c.call(context.Background(), "POST", eventSubscriptionPath(c.Workspace, c.Name)+"/redrive", body, &done); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(std, done)
	}
	fmt.Fprintf(std.out, "%d events are tried again\n", done.Redriven)
	return nil
}
