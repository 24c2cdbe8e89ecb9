package dicomhttp

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/auth"
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

// row is a path of the table: a segment in braces stands for any one, {path} for
// all that follow.
type row struct {
	path    string
	level   dicom.Level // that is searched; else it follows from the UIDs
	base    bool        // never below a partition
	since   int         // the version that brought it; 0 = the first
	actions map[string]action
}

// get is a row that only reads.
func get(path, op string, serve func(*exchange) error) row {
	return row{path: path, actions: map[string]action{"GET": {op, serve}}}
}

func find(path string, level dicom.Level) row {
	r := get(path, "query", (*exchange).search)
	r.level = level
	return r
}

// ofService is a row that partitions do not have.
func ofService(path string, actions map[string]action) row {
	return row{path: path, base: true, actions: actions}
}

// The levels of the information model as paths.
const (
	studyPath    = "/studies/{study}"
	seriesPath   = studyPath + "/series/{series}"
	instancePath = seriesPath + "/instances/{instance}"
)

// table holds every path below a version. The first that fits counts.
var table = sync.OnceValue(func() []row {
	storing, removing := action{"store", (*exchange).store}, action{"delete", (*exchange).delete}
	retrieving := action{"retrieve", (*exchange).retrieve}
	rows := []row{
		{path: "/studies", actions: map[string]action{"GET": {"query", (*exchange).search}, "POST": storing, "PUT": storing}},
		{path: "/studies/$bulkUpdate", since: 2, actions: map[string]action{"POST": {"update-study", (*exchange).bulkUpdate}}},
		{path: studyPath, actions: map[string]action{"GET": retrieving, "DELETE": removing, "POST": storing, "PUT": storing}},
		{path: seriesPath, actions: map[string]action{"GET": retrieving, "DELETE": removing}},
		{path: instancePath, actions: map[string]action{"GET": retrieving, "DELETE": removing}},
		find("/series", dicom.LevelSeries),
		find("/instances", dicom.LevelInstance),
		find(studyPath+"/series", dicom.LevelSeries),
		find(studyPath+"/instances", dicom.LevelInstance),
		find(seriesPath+"/instances", dicom.LevelInstance),
		get("/wado", "retrieve", (*exchange).wadoURI),
		{path: "/export", actions: map[string]action{"POST": {"export", (*exchange).export}}},
		{path: "/import", actions: map[string]action{"POST": {"bulk-import-store", (*exchange).importFiles}}},
		{path: "/workitems", actions: map[string]action{
			"GET": {"query-workitem", (*exchange).searchWorkitems}, "POST": {"add-workitem", (*exchange).addWorkitem},
		}},
		{path: "/workitems/{workitem}", actions: map[string]action{
			"GET": {"retrieve-workitem", (*exchange).workitem}, "POST": {"update-workitem", (*exchange).updateWorkitem},
		}},
		{path: "/workitems/{workitem}/state", actions: map[string]action{"PUT": {"change-state-workitem", (*exchange).changeWorkitemState}}},
		{path: "/workitems/{workitem}/cancelrequest", actions: map[string]action{"POST": {"cancel-workitem", (*exchange).cancelWorkitem}}},
		get(studyPath+"/rendered", "retrieve-rendered", (*exchange).renderedAll),
		get(seriesPath+"/rendered", "retrieve-rendered", (*exchange).renderedAll),
		get(instancePath+"/rendered", "retrieve-rendered", (*exchange).rendered),
		get(instancePath+"/frames/{frames}", "retrieve", (*exchange).frames),
		get(instancePath+"/frames/{frames}/rendered", "retrieve-rendered", (*exchange).rendered),
		get(instancePath+"/frames/{frames}/thumbnail", "retrieve-rendered", (*exchange).thumbnail),
		get(instancePath+"/bulkdata/{path}", "retrieve", (*exchange).bulkData),
		ofService("/changefeed", map[string]action{"GET": {"change-feed", (*exchange).changes}}),
		ofService("/changefeed/latest", map[string]action{"GET": {"change-feed", (*exchange).latestChange}}),
		ofService("/extendedquerytags", map[string]action{
			"GET": {"get-all-extended-query-tag", (*exchange).listTags}, "POST": {"add-extended-query-tag", (*exchange).addTags},
		}),
		ofService("/extendedquerytags/{tag}", map[string]action{
			"GET": {"get-extended-query-tag", (*exchange).showTag}, "PATCH": {"update-extended-query-tag", (*exchange).patchTag},
			"DELETE": {"remove-extended-query-tag", (*exchange).deleteTag},
		}),
		ofService("/extendedquerytags/{tag}/errors", map[string]action{"GET": {"get-errors-extended-query-tag", (*exchange).tagErrors}}),
		ofService("/operations/{operation}", map[string]action{"GET": {"operation", (*exchange).operation}}),
		ofService("/operations/{operation}/errors", map[string]action{"GET": {"operation", (*exchange).operationErrors}}),
		ofService("/partitions", map[string]action{"GET": {"partition", (*exchange).partitions}}),
	}
	for _, level := range []string{studyPath, seriesPath, instancePath} {
		rows = append(rows, get(level+"/metadata", "retrieve-metadata", (*exchange).metadata), get(level+"/thumbnail", "retrieve-rendered", (*exchange).thumbnail))
	}
	return rows
})

// Routes lists every method of every path, as of version 2 and without partitions.
func Routes() []auth.Route {
	out := []auth.Route{{Method: http.MethodGet, Path: "/health/check"}}
	for _, row := range table() {
		for m := range row.actions {
			out = append(out, auth.Route{Method: m, Path: "/v2" + row.path})
		}
	}
	return out
}

// find looks a path below the version up.
func (rt route) find(r *http.Request, seg []string) (route, error) {
	if len(seg) == 0 && r.Method == http.MethodOptions {
		rt, err := rt.method(r, nil, "/")
		rt.op, rt.serve = "capabilities", (*exchange).capabilities
		return rt, err
	}
	for i := range table() {
		row := &table()[i]
		if row.since > rt.version || row.base && rt.partition != "" {
			continue
		}
		got := rt
		if !got.match(row.path, seg) {
			continue
		}
		if got.level = row.level; got.level == 0 {
			got.level = got.uids.Level()
		}
		return got.method(r, row.actions, row.path)
	}
	return rt, errNoRoute
}

// match compares a path with that of a row and takes the values out of it.
func (rt *route) match(path string, seg []string) bool {
	for want := range strings.SplitSeq(path[1:], "/") {
		if want == "{path}" && len(seg) > 0 {
			rt.rest = strings.Join(seg, "/")
			return true
		}
		if len(seg) == 0 || want[0] != '{' && want != seg[0] || seg[0] == "" || want == "{study}" && seg[0][0] == '$' {
			return false
		}
		uid := strings.TrimRight(seg[0], " \x00") // padding, as some have it from their files
		if uid == "" {
			uid = seg[0]
		}
		switch want {
		case "{study}":
			rt.uids.Study = uid
		case "{series}":
			rt.uids.Series = uid
		case "{instance}":
			rt.uids.SOP = uid
		case "{workitem}":
			rt.workitem = seg[0]
		case "{frames}", "{tag}", "{operation}":
			rt.rest = seg[0]
		}
		seg = seg[1:]
	}
	return len(seg) == 0
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
