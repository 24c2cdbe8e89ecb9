package fhirhttp

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/fhir"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/search"
)

// cursorParam is the opaque token of the next page.
const cursorParam = "ct"

// includesParam is the opaque token of further included resources of a page.
const includesParam = "includesCt"

// page answers a search or a history.
func (x *exchange) page() error {
	if x.in.Method == http.MethodPost {
		if err := x.readForm(); err != nil {
			return err
		}
	}
	held, err := x.h.opt.Pages.Enter(x.r.Context(), x.pageSize())
	if err != nil {
		return &fault.Error{Kind: fault.Throttled, Msg: "too many large pages at the same time", RetryAfter: time.Second, Err: err}
	}
	defer x.h.opt.Pages.Leave(held)
	x.in.Base = x.baseURL()
	x.in.Partial = x.partialIndices()
	resp, err := x.h.svc.Do(x.r.Context(), &x.in)
	if err != nil {
		return err
	}
	if x.out, err = x.appendPage(x.out[:0], &x.in, resp, &x.view); err != nil {
		return err
	}
	x.sendJSON(http.StatusOK, x.out)
	return nil
}

// pageSize guesses how large the answer may become, before it is known: pages
// that nobody reads must not take all the memory there is.
func (x *exchange) pageSize() int64 {
	const resourceSize, largest = 8 << 10, 16 << 20
	count := x.in.Params["_count"]
	if len(count) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(count[0], 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return min(n*resourceSize, largest)
}

// appendPage appends a Bundle of type searchset or history.
func (x *exchange) appendPage(dst []byte, in *fhir.Interaction, resp *fhir.Response, v *view) ([]byte, error) {
	page := resp.Page
	if page == nil {
		return dst, errNoRecord(in)
	}
	history := in.Verb == fhir.VerbHistory
	dst = append(dst, `{"resourceType":"Bundle","type":"`...)
	if history {
		dst = append(dst, `history"`...)
	} else {
		dst = append(dst, `searchset"`...)
	}
	if page.Total >= 0 {
		dst = append(dst, `,"total":`...)
		dst = strconv.AppendInt(dst, page.Total, 10)
	}
	dst = x.appendLinks(dst, in, resp)
	first := true
	outcome := len(resp.Dropped)+len(page.Explain) > 0
	if outcome && x.h.opt.AHDS && !history {
		dst, outcome = appendWarnings(appendSep(dst, &first), in, resp), false
	}
	records := page.Records
	if resp.Parts != nil {
		records = nil
	}
	for i := range resp.Parts {
		dst = appendSep(dst, &first)
		var err error
		if dst, err = x.appendPart(dst, &resp.Parts[i], v); err != nil {
			return dst, err
		}
	}
	for i := range records {
		dst = appendSep(dst, &first)
		var err error
		if history {
			dst, err = x.appendVersion(dst, &page.Records[i], v)
		} else {
			dst, err = x.appendEntry(dst, &page.Records[i], v, "match")
		}
		if err != nil {
			return dst, err
		}
	}
	for i := range page.Included {
		dst = appendSep(dst, &first)
		var err error
		if dst, err = x.appendEntry(dst, &page.Included[i], v, "include"); err != nil {
			return dst, err
		}
	}
	if outcome {
		dst = appendWarnings(appendSep(dst, &first), in, resp)
	}
	if !first {
		dst = append(dst, ']')
	}
	return append(dst, '}'), nil
}

// appendSep opens the array of entries, or separates two.
func appendSep(dst []byte, first *bool) []byte {
	if *first {
		*first = false
		return append(dst, `,"entry":[`...)
	}
	return append(dst, ',')
}

// appendLinks appends the links of a page. Self shows only the parameters that
// counted (R4 section 3.1.1.5.6), next the same with the token.
func (x *exchange) appendLinks(dst []byte, in *fhir.Interaction, resp *fhir.Response) []byte {
	used := url.Values{}
	maps.Copy(used, resp.Used)
	if e := in.Params["_elements"]; len(e) > 0 && used["_elements"] == nil {
		used["_elements"] = e
	}
	path := searchPath(in)
	if resp.Query != nil && resp.Query.After != "" {
		used[cursorParam] = []string{resp.Query.After}
	}
	dst = x.appendLink(append(dst, `,"link":[`...), "self", in, path, used)
	if resp.Page.Next != "" {
		used[cursorParam] = []string{resp.Page.Next}
		total := used["_total"]
		if x.h.opt.AHDS {
			delete(used, "_total")
		}
		dst = x.appendLink(append(dst, ','), "next", in, path, used)
		if total != nil {
			used["_total"] = total
		}
	}
	if resp.Page.NextIncluded != "" {
		delete(used, cursorParam)
		if resp.Query.After != "" {
			used[cursorParam] = []string{resp.Query.After}
		}
		used[includesParam] = []string{resp.Page.NextIncluded}
		path := strings.TrimPrefix(searchPath(in)+"/$"+fhir.OpIncludes, "/")
		relation := "related"
		if x.h.opt.AHDS && includesOnly(resp) {
			relation = "next"
		}
		dst = x.appendLink(append(dst, ','), relation, in, path, used)
		delete(used, includesParam)
	}
	if resp.Query != nil && resp.Query.After != "" && !includesOnly(resp) {
		delete(used, cursorParam)
		dst = x.appendLink(append(dst, ','), "first", in, path, used)
	}
	return append(dst, ']')
}

// includesOnly reports whether an answer has further included resources of a
// page only.
func includesOnly(resp *fhir.Response) bool { return resp.Query.IncludeAfter != "" }

// appendLink appends a link; its parameters stand in the order in which they came,
// with the page token at the end.
func (x *exchange) appendLink(dst []byte, relation string, in *fhir.Interaction, path string, params url.Values) []byte {
	dst = append(append(dst, `{"relation":"`...), relation...)
	dst = append(append(dst, `","url":"`...), x.baseJSON()...)
	at := len(dst)
	dst = resource.AppendString(dst, path)
	dst[at] = '/' // in the place of the quote
	dst = dst[:len(dst)-1]
	sep := byte('?')
	add := func(name string) {
		for _, v := range params[name] {
			dst = appendQuery(append(dst, sep), name)
			dst = appendQuery(append(dst, '='), v)
			sep = '&'
		}
	}
	for _, name := range search.Order(params, in.RawQuery) {
		if name != cursorParam {
			add(name)
		}
	}
	add(cursorParam)
	return append(dst, `"}`...)
}

// appendQuery appends a name or value of a query, escaped as url.QueryEscape does.
func appendQuery(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// searchPath is the path that repeats a search or history with GET.
func searchPath(in *fhir.Interaction) string {
	p := in.Type
	if in.ID != "" {
		p += "/" + in.ID
	}
	if in.Compartment != "" {
		p += "/" + in.Compartment
	}
	if in.Verb != fhir.VerbHistory {
		return p
	}
	if p != "" {
		p += "/"
	}
	return p + "_history"
}

// appendFullURL appends the member fullUrl.
func (x *exchange) appendFullURL(dst []byte, k fhir.Key) []byte {
	dst = append(dst, `"fullUrl":"`...)
	dst = append(dst, x.baseJSON()...)
	dst = append(dst, '/')
	dst = append(dst, k.Type...)
	dst = append(dst, '/')
	dst = append(dst, k.ID...) // letters, digits, dot and minus only
	return append(dst, '"')
}

// appendEntry appends one resource of a search with its search.mode.
func (x *exchange) appendEntry(dst []byte, rec *fhir.Record, v *view, mode string) ([]byte, error) {
	dst = append(dst, '{')
	dst = x.appendFullURL(dst, rec.Key)
	dst = append(dst, `,"resource":`...)
	dst, err := x.appendRecord(dst, rec, v)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `,"search":{"mode":"`...)
	dst = append(dst, mode...)
	return append(dst, `"}}`...), nil
}

// appendPart appends a contained resource: its fullUrl is that of the container
// with its id as a fragment.
func (x *exchange) appendPart(dst []byte, p *fhir.Part, v *view) ([]byte, error) {
	if !p.Resource.Valid() {
		return x.appendEntry(dst, p.Container, v, "match")
	}
	dst = append(dst, '{')
	dst = x.appendFullURL(dst, p.Container.Key)
	if p.ID != "" {
		dst = append(dst[:len(dst)-1], '#')
		at := len(dst)
		dst = resource.AppendString(dst, p.ID)
		dst = append(dst[:at], dst[at+1:]...) // without the quote that opens it
	}
	dst = append(dst, `,"resource":`...)
	if v.whole() {
		dst = p.Resource.AppendCompact(dst)
	} else {
		dst = appendSubset(dst, p.Resource, v)
	}
	return append(dst, `,"search":{"mode":"match"}}`...), nil
}

// appendVersion appends one version of a history (R4 section 3.1.0.10). A
// deletion has no resource.
func (x *exchange) appendVersion(dst []byte, rec *fhir.Record, v *view) ([]byte, error) {
	dst = append(dst, '{')
	dst = x.appendFullURL(dst, rec.Key)
	if !rec.Deleted {
		dst = append(dst, `,"resource":`...)
		var err error
		if dst, err = x.appendRecord(dst, rec, v); err != nil {
			return dst, err
		}
	}
	method, code := rec.Method, "200"
	switch {
	case rec.Deleted:
		method, code = http.MethodDelete, "204"
	case method == http.MethodPost || rec.Version == 1:
		code = "201"
	}
	if method == "" {
		method = http.MethodPut
	}
	dst = append(dst, `,"request":{"method":"`...)
	dst = append(dst, method...)
	dst = append(dst, `","url":"`...)
	dst = append(dst, rec.Type...)
	if method != http.MethodPost {
		dst = append(dst, '/')
		dst = append(dst, rec.ID...)
	}
	dst = append(dst, `"},"response":{"status":"`...)
	dst = append(dst, code...)
	dst = append(dst, '"')
	dst = appendVersionInfo(dst, rec.Version, rec.Seq)
	return append(dst, "}}"...), nil
}

// appendVersionInfo appends the members etag and lastModified.
func appendVersionInfo(dst []byte, version int64, seq fhir.Seq) []byte {
	dst = append(dst, `,"etag":"W/\"`...)
	dst = strconv.AppendInt(dst, version, 10)
	dst = append(dst, `\"","lastModified":`...)
	return appendInstant(dst, seq.Time())
}

// appendWarnings appends the outcome entry that names the parameters left out,
// and what _explain asked for. Each entry of a history must have a request and a
// response (bdl-3 and bdl-4 of R4), so there the outcome is that of the response.
func appendWarnings(dst []byte, in *fhir.Interaction, resp *fhir.Response) []byte {
	if in.Verb == fhir.VerbHistory {
		dst = append(dst, `{"request":{"method":"GET","url":`...)
		dst = resource.AppendString(dst, searchPath(in))
		dst = append(dst, `},"response":{"status":"200","outcome":`...)
		return append(appendFindings(dst, resp), "}}"...)
	}
	dst = appendFindings(append(dst, `{"resource":`...), resp)
	return append(dst, `,"search":{"mode":"outcome"}}`...)
}

// appendFindings appends the OperationOutcome of a page.
func appendFindings(dst []byte, resp *fhir.Response) []byte {
	dst = append(dst, `{"resourceType":"OperationOutcome","issue":[`...)
	for i, w := range resp.Dropped {
		if i > 0 {
			dst = append(dst, ',')
		}
		code := w.Code
		if code == "" {
			code = "not-supported"
		}
		dst = appendIssue(dst, fault.Issue{Severity: "warning", Code: code, Diagnostics: w.Message})
	}
	for i, line := range resp.Page.Explain {
		if i+len(resp.Dropped) > 0 {
			dst = append(dst, ',')
		}
		dst = appendIssue(dst, fault.Issue{Severity: "information", Code: "informational", Diagnostics: line})
	}
	return append(dst, "]}"...)
}
