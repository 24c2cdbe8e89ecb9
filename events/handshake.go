package events

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// manualTime is how long a receiver may take to open the validation URL.
const manualTime = 5 * time.Minute

// handshake asks a destination whether it wants events (Event Grid: an event with
// a code that comes back, or an address to be opened; CloudEvents: OPTIONS, HTTP
// webhooks 1.0 section 4). The state is Succeeded or AwaitingManualAction; the
// error says why it is neither.
func (s *Service) handshake(ctx context.Context, sub *Subscription, baseURL, code string) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTime)
	defer cancel()
	if sub.Destination.EndpointType != webHook {
		return s.reach(ctx, sub)
	}
	if sub.EventDeliverySchema == CloudEvent {
		return s.abuseCheck(ctx, sub, baseURL)
	}
	return s.validation(ctx, sub, baseURL, code)
}

func refused(format string, args ...any) error {
	return fault.New(fault.Unprocessable, "the webhook was not validated: "+format, args...)
}

func unreachable(err error) error {
	if errors.Is(err, errAddress) {
		return refused("%v; see the configuration key events.allow", errAddress)
	}
	return refused("it cannot be reached (%s)", failure(err))
}

// validation sends the event SubscriptionValidationEvent.
func (s *Service) validation(ctx context.Context, sub *Subscription, baseURL, code string) (State, error) {
	const dataVersion = "2" // of the validation event (Event Grid, validation details)
	type data struct {
		Code string `json:"validationCode"`
		URL  string `json:"validationUrl"`
	}
	id := newCode()
	event := []any{struct {
		ID      string `json:"id"`
		Topic   string `json:"topic"`
		Subject string `json:"subject"`
		Data    data   `json:"data"`
		Type    string `json:"eventType"`
		Time    string `json:"eventTime"`
		Meta    string `json:"metadataVersion"`
		Version string `json:"dataVersion"`
	}{
		id, s.names.Topic, "", data{code, s.validationURL(baseURL, sub.Name, code)},
		"Microsoft.EventGrid.SubscriptionValidationEvent", s.now().UTC().Format(timeLayout), "1", dataVersion,
	}}
	body, err := json.Marshal(event)
	if err != nil {
		return "", fault.Wrap("events: validation", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sub.Destination.Properties.EndpointURL, bytes.NewReader(body))
	if err != nil {
		return "", refused("the address is not usable")
	}
	sub.baseHeaders(req.Header, "SubscriptionValidation")
	req.Header["aeg-delivery-count"] = []string{"0"}
	req.Header["aeg-data-version"] = []string{dataVersion}
	if key := sub.Destination.Properties.SigningSecret; key != "" {
		sign(req.Header, key, id, s.now(), body)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", refused("its answer cannot be read")
	}
	if resp.StatusCode != http.StatusOK {
		return "", refused("it answered %d, not 200", resp.StatusCode)
	}
	var got struct {
		Response string `json:"validationResponse"`
	}
	if len(bytes.TrimSpace(text)) > 0 && json.Unmarshal(text, &got) == nil && got.Response != "" {
		if subtle.ConstantTimeCompare([]byte(got.Response), []byte(code)) != 1 {
			return "", refused("it sent back another code")
		}
		return Succeeded, nil
	}
	return AwaitingManualAction, nil
}

// abuseCheck is the handshake of CloudEvents webhooks.
func (s *Service) abuseCheck(ctx context.Context, sub *Subscription, baseURL string) (State, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, sub.Destination.Properties.EndpointURL, nil)
	if err != nil {
		return "", refused("the address is not usable")
	}
	origin := "hygeia"
	if u, err := url.Parse(baseURL); err == nil && u.Hostname() != "" {
		origin = u.Hostname()
	}
	sub.baseHeaders(req.Header, "SubscriptionValidation")
	req.Header.Set("WebHook-Request-Origin", origin)
	resp, err := s.client.Do(req)
	if err != nil {
		return "", unreachable(err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	resp.Body.Close()
	allowed := strings.TrimSpace(resp.Header.Get("WebHook-Allowed-Origin"))
	if resp.StatusCode < 200 || resp.StatusCode > 299 || allowed != "*" && !strings.EqualFold(allowed, origin) {
		return "", refused("it answered OPTIONS with %d and does not allow the origin %s", resp.StatusCode, origin)
	}
	return Succeeded, nil
}

// newCode returns an id that nobody can guess.
func newCode() string { return rand.Text() }

func (s *Service) validationURL(baseURL, name, code string) string {
	return strings.TrimSuffix(baseURL, "/") + "/" + s.workspace + "/events/validate?" + url.Values{"name": {name}, "code": {code}}.Encode()
}
