package dicomhttp

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// route is what a method and a path mean.
type route struct {
	version   int
	prefix    string // "/v2"
	partition string
	uids      dicom.UIDs
	workitem  string // its UID
	rest      string // the list of frames, the path of bulk data
	level     dicom.Level
	pattern   string // for the log
	op        string
	allow     string // the methods of the path
	serve     func(*exchange) error
}

var versions = map[string]int{"v1": 1, "v1-prerelease": 1, "v1.0-prerelease": 1, "v2": 2}

var errNoRoute = fault.New(fault.NotFound, "There is nothing at this path. DICOMweb is below /v1 and /v2.")

// parseRoute finds the route of a request.
func parseRoute(r *http.Request, basePath string) (rt route, err error) {
	rt.pattern, rt.op = "/{unknown}", "unknown"
	path, ok := strings.CutPrefix(r.URL.Path, basePath)
	if !ok {
		return rt, errNoRoute
	}
	seg := strings.Split(strings.Trim(path, "/"), "/")
	if len(seg) == 2 && seg[0] == "health" && seg[1] == "check" {
		return rt.method(r, map[string]action{"GET": {"health", (*exchange).health}}, "/health/check")
	}
	v, ok := versions[seg[0]]
	if !ok {
		return rt, errNoRoute
	}
	rt.version, rt.prefix = v, "/"+seg[0]
	seg = seg[1:]
	if len(seg) >= 2 && seg[0] == "partitions" {
		rt.partition = seg[1]
		seg = seg[2:]
	}
	return rt.find(r, seg)
}

// action is what a method of a path does.
type action struct {
	op    string
	serve func(*exchange) error
}

// method picks the action of the request's method.
func (rt route) method(r *http.Request, actions map[string]action, pattern string) (route, error) {
	rt.pattern = rt.prefix + pattern
	if rt.partition != "" {
		rt.pattern = rt.prefix + "/partitions/{partition}" + pattern
	}
	var names []string
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if _, ok := actions[m]; ok {
			names = append(names, m)
			if m == "GET" {
				names = append(names, "HEAD")
			}
		}
	}
	rt.allow = strings.Join(append(names, "OPTIONS"), ", ")
	m := r.Method
	if m == http.MethodHead {
		m = http.MethodGet
	}
	if m == http.MethodOptions {
		rt.op, rt.serve = "options", (*exchange).options
		return rt, nil
	}
	a, ok := actions[m]
	if !ok {
		rt.op = "unknown"
		return rt, fault.New(fault.NotAllowed, "%.20q is not possible at this path; %s are.", r.Method, rt.allow)
	}
	rt.op, rt.serve = a.op, a.serve
	return rt, nil
}

func (x *exchange) options() error {
	x.w.Header().Set("Allow", x.rt.allow)
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// find walks the path below the version.
func (rt route) find(r *http.Request, seg []string) (route, error) {
	switch {
	case len(seg) == 1 && seg[0] == "series":
		rt.level = dicom.LevelSeries
		return rt.method(r, map[string]action{"GET": {"query", (*exchange).search}}, "/series")
	case len(seg) == 1 && seg[0] == "instances":
		rt.level = dicom.LevelInstance
		return rt.method(r, map[string]action{"GET": {"query", (*exchange).search}}, "/instances")
	case len(seg) == 1 && seg[0] == "wado":
		return rt.method(r, map[string]action{"GET": {"retrieve", (*exchange).wadoURI}}, "/wado")
	case len(seg) >= 1 && seg[0] == "studies":
		return rt.studies(r, seg[1:])
	case len(seg) == 1 && seg[0] == "export":
		return rt.method(r, map[string]action{"POST": {"export", (*exchange).export}}, "/export")
	case len(seg) == 1 && seg[0] == "import":
		return rt.method(r, map[string]action{"POST": {"bulk-import-store", (*exchange).importFiles}}, "/import")
	case seg[0] == "workitems" && len(seg) <= 3:
		return rt.workitems(r, seg[1:])
	case rt.partition != "":
		return rt, errNoRoute
	case len(seg) == 1 && seg[0] == "changefeed":
		return rt.method(r, map[string]action{"GET": {"change-feed", (*exchange).changes}}, "/changefeed")
	case len(seg) == 2 && seg[0] == "changefeed" && seg[1] == "latest":
		return rt.method(r, map[string]action{"GET": {"change-feed", (*exchange).latestChange}}, "/changefeed/latest")
	case seg[0] == "extendedquerytags" && len(seg) <= 3:
		return rt.tags(r, seg[1:])
	case len(seg) == 2 && seg[0] == "operations":
		rt.rest = seg[1]
		return rt.method(r, map[string]action{"GET": {"operation", (*exchange).operation}}, "/operations/{operation}")
	case len(seg) == 3 && seg[0] == "operations" && seg[2] == "errors":
		rt.rest = seg[1]
		return rt.method(r, map[string]action{"GET": {"operation", (*exchange).operationErrors}}, "/operations/{operation}/errors")
	case len(seg) == 1 && seg[0] == "partitions":
		return rt.method(r, map[string]action{"GET": {"partition", (*exchange).partitions}}, "/partitions")
	}
	return rt, errNoRoute
}

// tags walks the path below /extendedquerytags.
func (rt route) tags(r *http.Request, seg []string) (route, error) {
	const pattern = "/extendedquerytags"
	if len(seg) == 0 {
		return rt.method(r, map[string]action{
			"GET": {"get-all-extended-query-tag", (*exchange).listTags}, "POST": {"add-extended-query-tag", (*exchange).addTags},
		}, pattern)
	}
	rt.rest = seg[0]
	switch {
	case len(seg) == 1:
		return rt.method(r, map[string]action{
			"GET": {"get-extended-query-tag", (*exchange).showTag}, "PATCH": {"update-extended-query-tag", (*exchange).patchTag},
			"DELETE": {"remove-extended-query-tag", (*exchange).deleteTag},
		}, pattern+"/{tag}")
	case seg[1] == "errors":
		return rt.method(r, map[string]action{"GET": {"get-errors-extended-query-tag", (*exchange).tagErrors}}, pattern+"/{tag}/errors")
	}
	return rt, errNoRoute
}

// workitems walks the path below /workitems.
func (rt route) workitems(r *http.Request, seg []string) (route, error) {
	const pattern = "/workitems"
	if len(seg) == 0 {
		return rt.method(r, map[string]action{
			"GET": {"query-workitem", (*exchange).searchWorkitems}, "POST": {"add-workitem", (*exchange).addWorkitem},
		}, pattern)
	}
	rt.workitem = seg[0]
	switch {
	case len(seg) == 1:
		return rt.method(r, map[string]action{
			"GET": {"retrieve-workitem", (*exchange).workitem}, "POST": {"update-workitem", (*exchange).updateWorkitem},
		}, pattern+"/{workitem}")
	case seg[1] == "state":
		return rt.method(r, map[string]action{"PUT": {"change-state-workitem", (*exchange).changeWorkitemState}}, pattern+"/{workitem}/state")
	case seg[1] == "cancelrequest":
		return rt.method(r, map[string]action{"POST": {"cancel-workitem", (*exchange).cancelWorkitem}}, pattern+"/{workitem}/cancelrequest")
	}
	return rt, errNoRoute
}

// studies walks the path below /studies.
func (rt route) studies(r *http.Request, seg []string) (route, error) {
	pattern := "/studies"
	if len(seg) == 0 {
		return rt.method(r, map[string]action{
			"GET": {"query", (*exchange).search}, "POST": {"store", (*exchange).store}, "PUT": {"store", (*exchange).store},
		}, pattern)
	}
	if len(seg) == 1 && seg[0] == "$bulkUpdate" && rt.version >= 2 {
		return rt.method(r, map[string]action{"POST": {"update-study", (*exchange).bulkUpdate}}, pattern+"/$bulkUpdate")
	}
	rt.uids.Study, seg = seg[0], seg[1:]
	pattern += "/{study}"
	if len(seg) >= 2 && seg[0] == "series" {
		rt.uids.Series, seg = seg[1], seg[2:]
		pattern += "/series/{series}"
		if len(seg) >= 2 && seg[0] == "instances" {
			rt.uids.SOP, seg = seg[1], seg[2:]
			pattern += "/instances/{instance}"
		}
	}
	if rt.uids.Study == "" || strings.Contains(pattern, "{series}") && rt.uids.Series == "" || strings.Contains(pattern, "{instance}") && rt.uids.SOP == "" {
		return rt, errNoRoute
	}
	rt.level = rt.uids.Level()
	if len(seg) == 0 {
		actions := map[string]action{"GET": {"retrieve", (*exchange).retrieve}, "DELETE": {"delete", (*exchange).delete}}
		if rt.level == dicom.LevelStudy {
			actions["POST"], actions["PUT"] = action{"store", (*exchange).store}, action{"store", (*exchange).store}
		}
		return rt.method(r, actions, pattern)
	}
	return rt.below(r, seg, pattern)
}

// below is what hangs on a study, a series or an instance.
func (rt route) below(r *http.Request, seg []string, pattern string) (route, error) {
	one := func(op string, f func(*exchange) error) (route, error) {
		return rt.method(r, map[string]action{"GET": {op, f}}, pattern+"/"+seg[0])
	}
	switch {
	case len(seg) == 1 && seg[0] == "metadata":
		return one("retrieve-metadata", (*exchange).metadata)
	case len(seg) == 1 && seg[0] == "thumbnail":
		return one("retrieve-rendered", (*exchange).thumbnail)
	case len(seg) == 1 && seg[0] == "series" && rt.level == dicom.LevelStudy:
		rt.level = dicom.LevelSeries
		return one("query", (*exchange).search)
	case len(seg) == 1 && seg[0] == "instances" && rt.level != dicom.LevelInstance:
		rt.level = dicom.LevelInstance
		return one("query", (*exchange).search)
	case rt.level != dicom.LevelInstance:
		return rt, errNoRoute
	case len(seg) == 1 && seg[0] == "rendered":
		return one("retrieve-rendered", (*exchange).rendered)
	case len(seg) == 3 && seg[0] == "frames" && seg[2] == "rendered":
		rt.rest = seg[1]
		return one("retrieve-rendered", (*exchange).rendered)
	case len(seg) == 3 && seg[0] == "frames" && seg[2] == "thumbnail":
		rt.rest = seg[1]
		return one("retrieve-rendered", (*exchange).thumbnail)
	case len(seg) == 2 && seg[0] == "frames":
		rt.rest = seg[1]
		return one("retrieve", (*exchange).frames)
	case len(seg) >= 2 && seg[0] == "bulkdata":
		rt.rest = strings.Join(seg[1:], "/")
		return one("retrieve", (*exchange).bulkData)
	}
	return rt, errNoRoute
}

// resource names what the request is about for the audit trail.
func (rt *route) resource() string {
	if rt.workitem != "" {
		return "workitems/" + rt.workitem
	}
	return rt.uids.String()
}

// frameList reads "1,3,7"; every number is at least 1.
func frameList(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || len(out) >= 100_000 {
			return nil, fault.New(fault.Invalid, "The frames are not a list of numbers from 1 on, separated by commas.")
		}
		out = append(out, n)
	}
	return out, nil
}
