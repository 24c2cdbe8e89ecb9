package fhirhttp

import (
	"context"
	"net/http"
	"strconv"
	"strings"

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
	details := j.Error
	if n, names := bulk.ReindexFailed(*j); n > 0 {
		number("failureCount", n)
		list := strings.Join(names, ", ")
		if int(n) > len(names) {
			list += ", ..."
		}
		details = strings.TrimPrefix(details+"; these cannot be read and keep their index: "+list, "; ")
	}
	if details != "" {
		dst = append(dst, `},{"name":"failureDetails","valueString":`...)
		dst = resource.AppendString(dst, details)
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
