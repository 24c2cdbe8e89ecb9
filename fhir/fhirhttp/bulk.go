package fhirhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/fhir/bulk"
	"github.com/hygeia-health/hygeia/platform/auth"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// Bulk does the asynchronous operations. *bulk.Service is one.
type Bulk interface {
	StartExport(ctx context.Context, req *bulk.ExportRequest) (job string, err error)
	Export(ctx context.Context, job, base string) (*bulk.Status, error)
	EndExport(ctx context.Context, job string) error
	StartImport(ctx context.Context, req *bulk.ImportRequest) (job string, err error)
	Import(ctx context.Context, job, base string) (*bulk.Status, error)
	EndImport(ctx context.Context, job string) error
	ImportErrors(ctx context.Context, job, name string) (io.ReadCloser, error)
	File(ctx context.Context, job, name string, offset int64) (io.ReadCloser, blob.Info, error)
}

var (
	typeNDJSON    = []string{"application/fhir+ndjson"}
	typePlainJSON = []string{"application/json"}
)

// Subset appends what _elements leaves of a resource: for lines of an export.
func Subset(dst []byte, n resource.Node, elements []string) []byte {
	return appendSubset(dst, n, &view{elements: elements})
}

// bulk answers the requests of the asynchronous pattern (Bulk Data Access 2.0,
// "Bulk Data Export Operation Request Flow"). Accept and _format have their own meaning here.
func (x *exchange) bulk() error {
	x.format.contentType = typeFHIR
	b := x.h.opt.Bulk
	switch {
	case b == nil:
		return fault.At(fault.NotFound, "not-supported", "", "this service has no bulk operations")
	case x.target.place == atExportFile:
		return x.exportFile(b)
	case x.target.place == atExport && x.r.Method == http.MethodDelete:
		return x.ended(b.EndExport(x.r.Context(), x.target.job))
	case x.target.place == atExport:
		return x.jobStatus(b.Export(x.r.Context(), x.target.job, x.baseURL()))
	case x.target.place == atImportFile:
		return x.importErrors(b)
	case x.target.place == atImport && x.r.Method == http.MethodDelete:
		return x.ended(b.EndImport(x.r.Context(), x.target.job))
	case x.target.place == atImport:
		return x.jobStatus(b.Import(x.r.Context(), x.target.job, x.baseURL()))
	case x.in.Verb == fhir.VerbImport:
		return x.startImport(b)
	}
	return x.startExport(b)
}

// asyncHeaders checks the headers of a kick-off request, which are both
// required for an export, and says whether the client is lenient.
func (x *exchange) asyncHeaders() (lenient bool, err error) {
	async := false
	for _, h := range x.r.Header["Prefer"] {
		for tok := range strings.FieldsFuncSeq(h, func(r rune) bool { return r == ',' || r == ';' }) {
			switch strings.ToLower(strings.ReplaceAll(strings.TrimSpace(tok), " ", "")) {
			case "respond-async":
				async = true
			case "handling=lenient":
				lenient = true
			}
		}
	}
	if !async {
		return false, fault.At(fault.Invalid, "required", "", "this operation is asynchronous: send Prefer: respond-async")
	}
	if x.in.Verb == fhir.VerbImport {
		return lenient, nil
	}
	for r := range strings.SplitSeq(strings.Join(x.r.Header["Accept"], ","), ",") {
		if typ, q := mediaRange(r); q > 0 && typ == "application/fhir+json" {
			return lenient, nil
		}
	}
	return false, fault.At(fault.Invalid, "required", "", "send Accept: application/fhir+json")
}

func (x *exchange) startExport(b Bulk) error {
	lenient, err := x.asyncHeaders()
	if err != nil {
		return err
	}
	job, err := b.StartExport(x.r.Context(), &bulk.ExportRequest{
		Type: x.in.Type, ID: x.in.ID, Params: x.in.Params, Base: x.baseURL(), Lenient: lenient, Requester: requester(x.r.Context()),
		URL: strings.TrimSuffix(x.h.opt.BaseURL(x.r), "/") + x.r.URL.RequestURI(),
	})
	if err != nil {
		return err
	}
	x.accepted(x.baseURL() + "/_operations/export/" + job)
	return nil
}

// ended answers the DELETE of a job.
func (x *exchange) ended(err error) error {
	if err == nil {
		x.accepted("")
	}
	return err
}

func (x *exchange) startImport(b Bulk) error {
	if _, err := x.asyncHeaders(); err != nil {
		return err
	}
	for name := range x.in.Params {
		if name != "_format" && name != "_pretty" {
			return fault.At(fault.Invalid, "not-supported", "", "%.64q: the parameters of $import are those of its body", name)
		}
	}
	if err := x.readFHIR(); err != nil {
		return err
	}
	job, err := b.StartImport(x.r.Context(), &bulk.ImportRequest{
		Body: x.doc.Root(), Base: x.baseURL(), Requester: requester(x.r.Context()), URL: x.baseURL() + "/$import",
	})
	if err != nil {
		return err
	}
	x.accepted(x.baseURL() + "/_operations/import/" + job)
	return nil
}

// importErrors streams the errors of one file.
func (x *exchange) importErrors(b Bulk) error {
	r, err := b.ImportErrors(x.r.Context(), x.target.job, x.target.file)
	if err != nil {
		return err
	}
	defer r.Close()
	x.w.Header()["Content-Type"] = typeNDJSON
	x.finish(http.StatusOK, nil)
	x.stream(r)
	return nil
}

// stream sends a file behind the header.
func (x *exchange) stream(r io.Reader) {
	if x.r.Method == http.MethodHead {
		return
	}
	n, err := io.Copy(x.w, r)
	x.sent = int(n)
	if err != nil {
		panic(http.ErrAbortHandler) // the client must see that the file is cut short
	}
}

// requester names who asks, for the job.
func requester(ctx context.Context) string {
	if p := auth.From(ctx); p != nil {
		return p.ID
	}
	return ""
}

// accepted answers 202, with the address of the status where there is one.
func (x *exchange) accepted(location string) {
	if location != "" {
		x.w.Header()["Content-Location"] = []string{location}
	}
	x.finish(http.StatusAccepted, nil)
}

// pollAfter is how many seconds a client should wait before it asks again.
const pollAfter = "1"

// jobStatus answers 202 while a job runs, then 200 with its manifest.
func (x *exchange) jobStatus(st *bulk.Status, err error) error {
	if err != nil {
		return err
	}
	h := x.w.Header()
	h["Cache-Control"] = []string{"no-store"}
	if st.Running {
		h["X-Progress"] = []string{st.Progress}
		h["Retry-After"] = []string{pollAfter}
		x.finish(http.StatusAccepted, nil)
		return nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // the URLs stay readable
	if err := enc.Encode(st.Manifest); err != nil {
		return fault.Wrap("fhirhttp: manifest", err)
	}
	h["Expires"] = []string{string(appendHTTPTime(nil, st.Expires.UTC()))}
	x.format.contentType = typePlainJSON
	x.sendJSON(http.StatusOK, text.Bytes())
	return nil
}

// exportFile streams a file. A Range that begins somewhere and has no end is
// served, so that a client can go on where it was cut off; others are not
// (RFC 9110 section 14.2 lets a server ignore them).
func (x *exchange) exportFile(b Bulk) error {
	offset, ranged := openRange(x.r.Header.Get("Range"))
	r, info, err := b.File(x.r.Context(), x.target.job, x.target.file, offset)
	if err != nil {
		return err
	}
	defer r.Close()
	h := x.w.Header()
	h["Content-Type"] = typeNDJSON
	h["Accept-Ranges"] = []string{"bytes"}
	code := http.StatusOK
	if ranged && offset < info.Size {
		code = http.StatusPartialContent
		h["Content-Range"] = []string{"bytes " + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(info.Size-1, 10) + "/" + strconv.FormatInt(info.Size, 10)}
	} else if ranged {
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(info.Size, 10)}
		x.out = appendOutcome(x.out[:0], fault.New(fault.Invalid, "the file ends at byte %d", info.Size))
		x.sendJSON(http.StatusRequestedRangeNotSatisfiable, x.out)
		return nil
	}
	h["Content-Length"] = []string{strconv.FormatInt(info.Size-offset, 10)}
	x.finish(code, nil)
	x.stream(r)
	return nil
}

// openRange reads "bytes=N-".
func openRange(h string) (offset int64, ok bool) {
	text, ok := strings.CutPrefix(h, "bytes=")
	if !ok {
		return 0, false
	}
	text, ok = strings.CutSuffix(text, "-")
	if !ok {
		return 0, false
	}
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 {
		return 0, false
	}
	return offset, true
}
