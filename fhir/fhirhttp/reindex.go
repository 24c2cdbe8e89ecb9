package fhirhttp

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/platform/jobs"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Reindexing does $reindex. A Bulk may be one; *bulk.Service is.
type Reindexing interface {
	StartReindex(ctx context.Context, req *bulk.ReindexRequest) (jobs.Job, error)
	Reindex(ctx context.Context, id string) (jobs.Job, error)
	EndReindex(ctx context.Context, id string) error
}

// Params tells about custom search parameters. A Service may have it; *fhir.Service has.
type Params interface {
	Params(ctx context.Context) ([]fhir.Param, error)
	IndexOf(ctx context.Context, in *fhir.Interaction) ([]fhir.IndexEntry, error)
	Disabled(url string) bool
	SwitchParams(ctx context.Context, list []fhir.ParamSwitch) error
}

// reindex answers $reindex: of the service as a job, of one resource as a look
// at the index entries that it has.
func (x *exchange) reindex() error {
	if x.target.place == atOperation && x.in.ID != "" {
		return x.indexOf()
	}
	b, ok := x.h.opt.Bulk.(Reindexing)
	if !ok {
		return fault.At(fault.NotFound, "not-supported", "", "this service has no reindex")
	}
	ctx := x.r.Context()
	if x.target.place == atReindex {
		if x.r.Method == http.MethodDelete {
			if err := b.EndReindex(ctx, x.target.job); err != nil {
				return err
			}
			x.accepted("")
			return nil
		}
		j, err := b.Reindex(ctx, x.target.job)
		if err != nil {
			return err
		}
		x.out = appendReindex(x.out[:0], &j)
		x.sendJSON(http.StatusOK, x.out)
		return nil
	}
	req := bulk.ReindexRequest{Requester: requester(ctx)}
	if x.r.ContentLength != 0 {
		if err := x.readFHIR(); err != nil {
			return err
		}
		req.Body = x.doc.Root()
	}
	j, err := b.StartReindex(ctx, &req)
	if err != nil {
		return err
	}
	x.w.Header()["Content-Location"] = []string{x.baseURL() + "/_operations/reindex/" + j.ID}
	x.out = appendReindex(x.out[:0], &j)
	x.sendJSON(http.StatusCreated, x.out)
	return nil
}

// appendReindex appends a reindex as Parameters, in the words of Azure Health
// Data Services.
func appendReindex(dst []byte, j *jobs.Job) []byte {
	dst = append(dst, `{"resourceType":"Parameters","id":`...)
	dst = resource.AppendString(dst, j.ID)
	dst = append(dst, `,"parameter":[{"name":"id","valueString":`...)
	dst = resource.AppendString(dst, j.ID)
	status := string(j.State)
	status = strings.ToUpper(status[:1]) + status[1:]
	dst = append(dst, `},{"name":"status","valueString":`...)
	dst = resource.AppendString(dst, status)
	number := func(name string, v int64) {
		dst = append(dst, `},{"name":"`+name+`","valueDecimal":`...)
		dst = strconv.AppendInt(dst, v, 10)
	}
	number("totalResourcesToReindex", j.Progress.Total)
	number("resourcesSuccessfullyReindexed", j.Progress.Done)
	progress := int64(0)
	switch {
	case j.State == jobs.Completed:
		progress = 100
	case j.Progress.Total > 0:
		progress = min(99, 100*j.Progress.Done/j.Progress.Total)
	}
	number("progress", progress)
	dst = append(dst, `},{"name":"queuedTime","valueDateTime":`...)
	dst = appendInstant(dst, j.Created.UTC())
	if !j.Started.IsZero() {
		dst = append(dst, `},{"name":"startTime","valueDateTime":`...)
		dst = appendInstant(dst, j.Started.UTC())
	}
	if !j.Finished.IsZero() {
		dst = append(dst, `},{"name":"endTime","valueDateTime":`...)
		dst = appendInstant(dst, j.Finished.UTC())
	}
	if j.Error != "" {
		dst = append(dst, `},{"name":"failureDetails","valueString":`...)
		dst = resource.AppendString(dst, j.Error)
	}
	if types := bulk.ReindexTypes(*j); len(types) > 0 {
		dst = append(dst, `},{"name":"resources","valueString":`...)
		dst = resource.AppendString(dst, strings.Join(types, ","))
	}
	return append(dst, `}]}`...)
}

// indexOf answers GET and POST T/id/$reindex: the entries that the current
// definitions find in the resource. GET writes nothing.
func (x *exchange) indexOf() error {
	p, ok := x.h.svc.(Params)
	if !ok {
		return fault.At(fault.NotFound, "not-supported", "", "this service has no reindex")
	}
	list, err := p.IndexOf(x.r.Context(), &x.in)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"resourceType":"Parameters"`...)
	for i, e := range list {
		if i == 0 {
			x.out = append(x.out, `,"parameter":[`...)
		} else {
			x.out = append(x.out, ',')
		}
		x.out = append(x.out, `{"name":`...)
		x.out = resource.AppendString(x.out, e.Code)
		x.out = append(x.out, `,"valueString":`...)
		x.out = resource.AppendString(x.out, e.Value)
		x.out = append(x.out, '}')
	}
	if len(list) > 0 {
		x.out = append(x.out, ']')
	}
	x.out = append(x.out, '}')
	x.sendJSON(http.StatusOK, x.out)
	return nil
}

// paramStatus answers SearchParameter/$status, an operation of Azure Health Data
// Services: which search parameters can be used. Parameters of R4 always can.
func (x *exchange) paramStatus() error {
	p, ok := x.h.svc.(Params)
	if !ok {
		return fault.At(fault.NotFound, "not-supported", "", "this service has no $status")
	}
	if x.in.Method == http.MethodPost {
		if err := x.readForm(); err != nil {
			return err
		}
	}
	only := func(name string) (values []string) {
		for _, v := range x.in.Params[name] {
			values = append(values, strings.Split(v, ",")...)
		}
		return values
	}
	for name := range x.in.Params {
		switch name {
		case "url", "code", "resourcetype", "_format", "_pretty":
		default:
			return fault.At(fault.Invalid, "not-supported", "", "$status has no parameter %q, only url, code and resourcetype", printable(name))
		}
	}
	custom, err := p.Params(x.r.Context())
	if err != nil {
		return err
	}
	x.sendStatus(p, append(x.h.standardParams(), custom...), only)
	return nil
}

// sendStatus answers with the states of the parameters that are wanted.
func (x *exchange) sendStatus(p Params, list []fhir.Param, only func(name string) []string) {
	x.out = append(x.out[:0], `{"resourceType":"Parameters"`...)
	first := true
	for _, e := range list {
		if !wanted(only("url"), e.URL) || !wanted(only("code"), e.Code) || !wanted(only("resourcetype"), e.Types...) {
			continue
		}
		if first {
			x.out = append(x.out, `,"parameter":[`...)
		} else {
			x.out = append(x.out, ',')
		}
		first = false
		status := "Enabled"
		switch {
		case p.Disabled(e.URL):
			status = "Disabled"
		case !e.Complete:
			status = "Supported"
		}
		x.out = append(x.out, `{"name":"searchParameterStatus","part":[{"name":"url","valueUrl":`...)
		x.out = resource.AppendString(x.out, e.URL)
		x.out = append(x.out, `},{"name":"status","valueString":"`+status+`"}]}`...)
	}
	if !first {
		x.out = append(x.out, ']')
	}
	x.out = append(x.out, '}')
	x.sendJSON(http.StatusOK, x.out)
}

// switchParams answers PUT SearchParameter/$status: Parameters with a
// searchParameterStatus for each parameter, as GET shows them. All are changed, or none.
func (x *exchange) switchParams() error {
	p, ok := x.h.svc.(Params)
	if !ok {
		return fault.At(fault.NotFound, "not-supported", "", "this service has no $status")
	}
	for name := range x.in.Params {
		if name != "_format" && name != "_pretty" {
			return fault.At(fault.Invalid, "not-supported", "", "PUT $status takes no parameter %q; what it changes is in the body", printable(name))
		}
	}
	if err := x.readFHIR(); err != nil {
		return err
	}
	custom, err := p.Params(x.r.Context())
	if err != nil {
		return err
	}
	known := append(x.h.standardParams(), custom...)
	var list []fhir.ParamSwitch
	var urls []string
	root := x.doc.Root()
	if !root.Get("resourceType").Is("Parameters") {
		return fault.At(fault.Invalid, "invalid", "", "$status takes a Parameters resource")
	}
	i := 0
	for n := root.Get("parameter").First(); n.Valid(); n = n.Next() {
		one, err := readSwitch(n, "Parameters.parameter["+strconv.Itoa(i)+"]", known)
		if err != nil {
			return err
		}
		list, urls = append(list, one), append(urls, one.URL)
		i++
	}
	if len(list) == 0 {
		return fault.At(fault.Invalid, "required", "Parameters.parameter", "there is no searchParameterStatus")
	}
	if err := p.SwitchParams(x.r.Context(), list); err != nil {
		return err
	}
	x.sendStatus(p, known, func(name string) []string {
		if name == "url" {
			return urls
		}
		return nil
	})
	return nil
}

// readSwitch reads one searchParameterStatus.
func readSwitch(n resource.Node, at string, known []fhir.Param) (out fhir.ParamSwitch, err error) {
	if !n.Get("name").Is("searchParameterStatus") {
		return out, fault.At(fault.Invalid, "not-supported", at+".name", "$status has no parameter %q, only searchParameterStatus", printable(n.Get("name").Text()))
	}
	status := ""
	for part := n.Get("part").First(); part.Valid(); part = part.Next() {
		switch name := part.Get("name").Text(); name {
		case "url":
			for _, value := range []string{"valueUrl", "valueUri", "valueCanonical", "valueString"} {
				out.URL = cmp.Or(out.URL, part.Get(value).Text())
			}
		case "status":
			status = cmp.Or(part.Get("valueString").Text(), part.Get("valueCode").Text())
		default:
			return out, fault.At(fault.Invalid, "not-supported", at+".part", "searchParameterStatus has no part %q, only url and status", printable(name))
		}
	}
	switch status {
	case "Disabled":
		out.Off = true
	case "Supported", "Enabled":
	default:
		return out, fault.At(fault.Invalid, "value", at+".part", "%q is no status that can be asked for; it is Supported, Enabled or Disabled", printable(status))
	}
	if !slices.ContainsFunc(known, func(p fhir.Param) bool { return p.URL == out.URL }) {
		return out, fault.At(fault.Invalid, "not-found", at+".part", "there is no search parameter with the url %q", printable(out.URL))
	}
	return out, nil
}

func wanted(list []string, have ...string) bool {
	if len(list) == 0 {
		return true
	}
	for _, w := range list {
		for _, h := range have {
			if w == h {
				return true
			}
		}
	}
	return false
}
