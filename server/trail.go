package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/platform/audit"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/web"
)

// The places of the audit trail: its folder and key below the data folder, and
// its archive beside the blobs. No workspace has such names.
const (
	trailFolder  = "_audit"
	trailKey     = "audit.key"
	trailArchive = "_audit"
)

// AuditFolder returns where the audit trail of a data folder is.
func AuditFolder(data string) string { return filepath.Join(data, trailFolder) }

// segmentTime is when a file of the trail ends that is not full: what is older than
// audit.hot leaves at most this much later.
const segmentTime = 7 * 24 * time.Hour

// trail is the audit trail with its policy. It is nil when there is none.
type trail struct {
	log     *audit.Log
	dir     string
	cfg     AuditConfig
	slog    *slog.Logger
	off     bool // authentication is off: nobody has a name
	stop    context.CancelFunc
	stopped chan struct{}
}

func openTrail(s *Server) (*trail, error) {
	if !s.cfg.Audit.Enabled {
		return nil, nil
	}
	dir := AuditFolder(s.cfg.Data)
	key, err := trailSigner(&s.cfg)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	t := &trail{dir: dir, cfg: s.cfg.Audit, slog: s.log, off: s.identity == nil, stopped: make(chan struct{})}
	t.log, err = audit.Open(dir, audit.Options{Key: key, Sync: s.cfg.Audit.Sync, SegmentTime: min(s.cfg.Audit.Hot, segmentTime), Failed: t.failed})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	go t.retain(ctx, blob.Sub(s.blobs, archiveOf(&s.cfg, key)))
	return t, nil
}

// archiveOf returns where the archive of the trail is below the blobs. Nodes that
// share a database may share a bucket, and each has a trail of its own with the
// same names of files: it is below the name of its key.
func archiveOf(cfg *Config, key ed25519.PrivateKey) string {
	if cfg.Database == "" {
		return trailArchive
	}
	return trailArchive + "/" + hex.EncodeToString(key[ed25519.SeedSize:][:8])
}

// trailSigner reads or makes the key that signs the heads; it is sealed like
// the keys of the identity provider.
func trailSigner(cfg *Config) (ed25519.PrivateKey, error) {
	sealer, err := openSealer(cfg)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.Data, trailKey)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		sealed := sealer.Seal(trailKey, base64.StdEncoding.EncodeToString(key.Seed()))
		return key, os.WriteFile(path, []byte(sealed+"\n"), 0o600)
	}
	if err != nil {
		return nil, err
	}
	seed, err := sealer.Open(trailKey, strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	raw, err := base64.StdEncoding.DecodeString(seed)
	if err != nil || len(raw) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	return ed25519.NewKeyFromSeed(raw), nil
}

// failed is told by the log when writing begins to fail and when it goes on.
func (t *trail) failed(err error) {
	if err != nil {
		t.slog.LogAttrs(context.Background(), slog.LevelError, "the audit trail cannot be written", slog.String("on_failure", t.cfg.OnFailure), slog.Any("err", err))
		return
	}
	t.slog.LogAttrs(context.Background(), slog.LevelInfo, "the audit trail is written again")
}

// retainEvery is how often old files are looked for.
const retainEvery = time.Hour

// retain archives old files until ctx ends.
func (t *trail) retain(ctx context.Context, archive blob.Store) {
	defer close(t.stopped)
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := t.log.Retain(ctx, archive, t.cfg.Hot, t.cfg.Keep); err != nil && ctx.Err() == nil {
			t.slog.LogAttrs(ctx, slog.LevelError, "the audit trail cannot be archived", slog.Any("err", err))
		}
	}
}

// Close writes what waits and ends the trail.
func (t *trail) Close() error {
	if t == nil {
		return nil
	}
	t.stop()
	<-t.stopped
	return t.log.Close()
}

// The limits of custom audit headers of Azure Health Data Services.
const (
	maxCustom      = 10
	maxCustomValue = 2048
	maxCustomName  = 128 // ours
)

// customHeaders are the beginnings of headers that are copied into the trail.
var customHeaders = []string{"X-Ms-Azurefhir-Audit-", "X-Hygeia-Audit-"}

// audited marks a request for the trail. It answers and returns false when
// nothing can be recorded now, or the client wants too much in the trail.
func (rt *router) audited(w http.ResponseWriter, r *http.Request) bool {
	if rt.trail == nil {
		return true
	}
	q := web.From(r.Context())
	if err := rt.trail.log.Ready(); err != nil && rt.trail.cfg.OnFailure == "refuse" {
		rt.refuse(w, r, fault.From(err))
		return false
	}
	q.Audited = true
	for name, vals := range r.Header {
		for _, prefix := range customHeaders {
			rest, ok := strings.CutPrefix(name, prefix)
			if !ok || rest == "" {
				continue
			}
			if q.Custom == nil {
				q.Custom = map[string]string{}
			}
			value := strings.Join(vals, ", ")
			q.Custom[strings.ToLower(rest)] = value
			if len(q.Custom) > maxCustom || len(value) > maxCustomValue || len(rest) > maxCustomName {
				q.Custom = nil
				rt.refuse(w, r, fault.New(fault.HeadersTooLarge, "at most %d audit headers of at most %d bytes are possible, with names of at most %d", maxCustom, maxCustomValue, maxCustomName))
				return false
			}
		}
	}
	return true
}

// recorder returns what the chain calls before it answers an audited request.
func (t *trail) recorder() func(*http.Request, *web.Request, int) error {
	if t == nil {
		return nil
	}
	return t.record
}

func (t *trail) record(r *http.Request, q *web.Request, status int) error {
	rec := audit.Record{
		Request: q.ID, Correlation: q.Correlation, Address: q.ClientIP, Service: q.Service, Method: r.Method,
		Action: q.Operation, Type: q.Type, ID: q.ResourceID, Status: status, Custom: q.Custom,
	}
	if rec.Action == "" {
		rec.Action = "unknown"
	}
	if p := q.Principal; p != nil {
		rec.Principal, rec.Client, rec.User = p.ID, p.Client, p.FHIRUser
		rec.Issuer = p.Issuer
	} else if t.off {
		rec.Principal = "anonymous"
	}
	wait := r.Method != http.MethodGet && r.Method != http.MethodHead
	if len(q.Entries) == 0 {
		return t.append(r.Context(), wait, rec)
	}
	records := make([]audit.Record, 1, 1+len(q.Entries))
	records[0] = rec
	for i, e := range q.Entries {
		rec.Entry, rec.Custom = i+1, nil
		rec.Method, rec.Action, rec.Type, rec.ID, rec.Status = e.Method, e.Action, e.Type, e.ID, e.Status
		records = append(records, rec)
	}
	return t.append(r.Context(), wait, records...)
}

func (t *trail) append(ctx context.Context, wait bool, records ...audit.Record) error {
	if t == nil {
		return nil
	}
	// The record is written even if the client is gone: what was done was done.
	err := t.log.Append(context.WithoutCancel(ctx), wait, records...)
	if err != nil && t.cfg.OnFailure == "log" {
		t.slog.LogAttrs(ctx, slog.LevelError, "an audit record is missing", slog.String("request_id", records[0].Request), slog.Any("err", err))
		return nil
	}
	return err
}

// auditPath reads /manage/v1/audit and /manage/v1/workspaces/{workspace}/audit.
func auditPath(path string) (workspace string, ok bool) {
	if path == "/manage/v1/audit" {
		return "", true
	}
	rest, ok := strings.CutPrefix(path, "/manage/v1/workspaces/")
	if !ok {
		return "", false
	}
	ws, end, _ := strings.Cut(rest, "/")
	return ws, end == "audit"
}

// serve answers a query of the trail.
func (t *trail) serve(w http.ResponseWriter, r *http.Request, workspace string, guarded bool) {
	req := web.From(r.Context())
	req.Route, req.Operation = "/manage/v1/audit", "audit"
	if workspace != "" {
		req.Route = "/manage/v1/workspaces/{workspace}/audit"
	}
	if guarded {
		if err := auth.NewGuard("/"+workspace).Authorize(r.Context(), auth.AuditRead); err != nil {
			web.Problem(w, r, fault.From(err))
			return
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		web.Problem(w, r, fault.New(fault.NotAllowed, "%.16s is not possible here; allowed are GET, HEAD", r.Method))
		return
	}
	q, err := auditQuery(r.URL.Query(), workspace)
	if err != nil {
		web.Problem(w, r, fault.From(err))
		return
	}
	page, err := audit.Find(r.Context(), t.dir, q)
	if err != nil {
		t.slog.LogAttrs(r.Context(), slog.LevelError, "audit query failed", slog.Any("err", err))
		web.Problem(w, r, fault.From(fault.Wrap("audit: query", err)))
		return
	}
	next := ""
	if page.Next > 0 {
		params := r.URL.Query()
		params.Set("after", strconv.FormatInt(page.Next, 10))
		next = web.BaseURL(r) + r.URL.Path + "?" + params.Encode()
	}
	if strings.Contains(r.Header.Get("Accept"), "fhir+json") {
		w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
		answerTyped(w, auditBundle(page.Records, next))
		return
	}
	out := struct {
		Value []audit.Record `json:"value"`
		Next  string         `json:"next,omitempty"`
	}{page.Records, next}
	if out.Value == nil {
		out.Value = []audit.Record{}
	}
	answer(w, http.StatusOK, out)
}

// maxAuditPage bounds a page of the trail.
const maxAuditPage = 10_000

// auditQuery reads the parameters of a query.
func auditQuery(params url.Values, workspace string) (q audit.Query, err error) {
	if workspace != "" {
		q.Service = workspace + "/"
	}
	texts := map[string]*string{
		"principal": &q.Principal, "client": &q.Client, "action": &q.Action, "type": &q.Type, "id": &q.ID, "outcome": &q.Outcome, "request": &q.Request,
	}
	times := map[string]*time.Time{"from": &q.From, "to": &q.To}
	for name, vals := range params {
		v := vals[0]
		if len(vals) > 1 {
			return q, fault.New(fault.Invalid, "%.32s may be given only once", name)
		}
		text, isText := texts[name]
		at, isTime := times[name]
		switch {
		case isText:
			*text = v
		case isTime:
			if *at, err = time.Parse(time.RFC3339, v); err != nil {
				return q, fault.New(fault.Invalid, "%s must be a time such as 2026-11-21T10:00:00Z", name)
			}
		case name == "service":
			if workspace != "" && !strings.HasPrefix(v, workspace+"/") {
				return q, fault.New(fault.Invalid, "the service is not in workspace %s", workspace)
			}
			q.Service = v
		case name == "limit":
			if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 || q.Limit > maxAuditPage {
				return q, fault.New(fault.Invalid, "limit must be a number from 1 to %d", maxAuditPage)
			}
		case name == "after":
			if q.After, err = strconv.ParseInt(v, 10, 64); err != nil || q.After < 0 {
				return q, fault.New(fault.Invalid, "after must be the number of a record")
			}
		default:
			return q, fault.New(fault.Invalid, "the parameter %.32s is unknown; there are from, to, service, principal, client, action, type, id, outcome, request, limit, after", name)
		}
	}
	if q.Outcome != "" && q.Outcome != "success" && q.Outcome != "refused" && q.Outcome != "failure" {
		return q, fault.New(fault.Invalid, "outcome is success, refused or failure")
	}
	return q, nil
}
