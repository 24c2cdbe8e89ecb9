package bulk

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/r4"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// ImportRequest is the kick-off request of an import.
type ImportRequest struct {
	Body      resource.Node // Parameters
	URL       string
	Base      string
	Requester string
}

// importing is what the job of an import has to do.
type importing struct {
	Request  string  `json:"request"`
	Base     string  `json:"base"`
	Initial  bool    `json:"initial,omitempty"`
	Negative bool    `json:"negative,omitempty"`
	Unit     int64   `json:"unit"` // bytes of a part
	Inputs   []input `json:"inputs"`
}

// input is one file.
type input struct {
	Type string `json:"type,omitempty"` // the only type in it; "" = any
	URL  string `json:"url"`
	Tag  string `json:"tag,omitempty"`
	Size int64  `json:"size"`
}

// The bounds of processingUnitBytesToRead, and its default.
const (
	minUnit     = 64 << 10
	maxUnit     = 1 << 30
	defaultUnit = 32 << 20
	maxInputs   = 10_000 // as of Azure Health Data Services
)

// StartImport checks a request and queues its job, or finds the unfinished job
// of an equal request.
func (s *Service) StartImport(ctx context.Context, req *ImportRequest) (id string, err error) {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbImport); err != nil {
		return "", err
	}
	d, err := parseImport(req)
	if err != nil {
		return "", err
	}
	for i := range d.Inputs {
		if err := s.inspect(ctx, &d.Inputs[i], i); err != nil {
			return "", err
		}
	}
	j, _, err := s.d.Jobs.Submit(ctx, jobs.Spec{Kind: kindImport, Scope: s.d.Scope, Requester: req.Requester, Definition: d, Unique: true, Keep: s.d.Keep})
	return j.ID, err
}

// inspect asks for the size and the tag of a file.
func (s *Service) inspect(ctx context.Context, in *input, i int) error {
	info, err := s.d.Sources.Stat(ctx, in.URL)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return fault.At(fault.Invalid, "value", "", "input %d: %s", i+1, fault.From(err).Msg)
	}
	if err != nil {
		return err
	}
	if in.Tag != "" && strings.Trim(in.Tag, `"`) != strings.Trim(info.Tag, `"`) {
		return fault.At(fault.Invalid, "conflict", "", "input %d: the etag of the file is %s", i+1, info.Tag)
	}
	in.Tag, in.Size = info.Tag, info.Size
	return nil
}

// parseImport reads the Parameters of Azure Health Data Services.
func parseImport(req *ImportRequest) (*importing, error) {
	d := &importing{Request: req.URL, Base: req.Base, Unit: defaultUnit}
	if !req.Body.Get("resourceType").Is("Parameters") {
		return nil, fault.At(fault.Invalid, "structure", "", "the body must be a Parameters resource")
	}
	given := map[string]bool{"input": false}
	for p := range req.Body.Get("parameter").Children() {
		name := p.Get("name").Text()
		if given[name] {
			return nil, bad("%s may be given once only", name)
		}
		if err := d.parameter(name, p); err != nil {
			return nil, err
		}
		given[name] = name != "input"
	}
	switch {
	case len(d.Inputs) == 0:
		return nil, bad("at least one input is required")
	case len(d.Inputs) > maxInputs:
		return nil, bad("at most %d inputs are possible", maxInputs)
	}
	seen := map[string]bool{}
	for _, in := range d.Inputs {
		if seen[in.URL] {
			return nil, bad("the same file stands twice among the inputs")
		}
		seen[in.URL] = true
	}
	return d, nil
}

func (d *importing) parameter(name string, p resource.Node) (err error) {
	switch name {
	case "inputFormat":
		if v := p.Get("valueString").Text(); v != "application/fhir+ndjson" {
			err = bad("inputFormat must be application/fhir+ndjson")
		}
	case "mode":
		switch v := p.Get("valueString").Text(); strings.ToLower(v) {
		case "initialload":
			d.Initial = true
		case "incrementalload":
		default:
			err = bad("mode must be InitialLoad or IncrementalLoad, not %.64q", v)
		}
	case "allowNegativeVersions":
		if d.Negative = p.Get("valueBoolean").Bool(); p.Get("valueBoolean").Kind() != resource.Bool {
			err = bad("allowNegativeVersions must be a valueBoolean")
		}
	case "eventualConsistency":
		// Whoever can live with results that are seen later can live with ones
		// that are seen at once.
		if p.Get("valueBoolean").Kind() != resource.Bool {
			err = bad("eventualConsistency must be a valueBoolean")
		}
	case "processingUnitBytesToRead":
		n, e := strconv.ParseInt(string(p.Get("valueInteger").Raw()), 10, 64)
		if n == 0 { // as if it were not there
			n = defaultUnit
		}
		if d.Unit = min(max(n, minUnit), maxUnit); e != nil || n < 0 {
			err = bad("processingUnitBytesToRead must be a valueInteger, and not below zero")
		}
	case "input":
		err = d.input(p)
	case "inputSource", "storageDetail":
		// They describe the store of Azure; each input has its whole address.
	default:
		err = fault.At(fault.Invalid, "not-supported", "", "$import has no parameter %.64q", name)
	}
	return err
}

// compressed matches the names of files that are no NDJSON as they are.
var compressed = regexp.MustCompile(`(?i)^[^?]*\.(gz|tgz|zip|bz2|xz|zst)(\?|$)`)

// input reads one file: its parts are type, url and etag.
func (d *importing) input(p resource.Node) error {
	in, n := input{}, len(d.Inputs)+1
	given := map[string]bool{}
	for part := range p.Get("part").Children() {
		name := part.Get("name").Text()
		if given[name] {
			return bad("input %d: %s may be given once only", n, name)
		}
		given[name] = true
		switch name {
		case "type":
			if in.Type = part.Get("valueString").Text(); !r4.IsResource(in.Type) {
				return bad("input %d: R4 has no resource type %.64q", n, in.Type)
			}
		case "url":
			if in.URL = part.Get("valueUri").Text(); in.URL == "" {
				in.URL = part.Get("valueUrl").Text()
			}
		case "etag":
			if in.Tag = part.Get("valueUri").Text(); in.Tag == "" {
				in.Tag = part.Get("valueString").Text()
			}
		default:
			return bad("input %d has no part %.64q", n, name)
		}
	}
	if in.URL == "" {
		return bad("input %d has no url", n)
	}
	if compressed.MatchString(in.URL) {
		return bad("input %d is compressed, and only NDJSON as it is can be read in parts", n)
	}
	d.Inputs = append(d.Inputs, in)
	return nil
}

// EndImport cancels an import. To do so again is no error; one that is finished is a Conflict.
func (s *Service) EndImport(ctx context.Context, id string) error {
	if err := s.d.FHIR.Allow(ctx, fhir.VerbImport); err != nil {
		return err
	}
	j, err := s.anyJob(ctx, kindImport, id)
	if err != nil || cancelled(j) {
		return err
	}
	if j.State.Finished() {
		return fault.New(fault.Conflict, "the import is %s already", j.State)
	}
	_, err = s.d.Jobs.Cancel(ctx, id)
	return err
}

// ImportManifest is the result of an import, as of Azure Health Data Services.
type ImportManifest struct {
	TransactionTime time.Time      `json:"transactionTime"`
	Request         string         `json:"request"`
	Output          []ImportOutput `json:"output"`
	Error           []ImportOutput `json:"error"`
}

// ImportOutput counts what came of one file: resources of a type, or errors.
type ImportOutput struct {
	Type     string `json:"type"`
	Count    int64  `json:"count"`
	InputURL string `json:"inputUrl"`
	URL      string `json:"url,omitempty"` // of the errors
}
