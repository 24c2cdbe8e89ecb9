package dicomhttp

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// changes is GET /changefeed of AHDS.
func (x *exchange) changes() error {
	q, err := x.changeQuery()
	if err != nil {
		return err
	}
	list, err := x.h.s.Changes(x.r.Context(), q)
	if err != nil {
		return err
	}
	body := []byte{'['}
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = x.appendChange(body, &list[i])
	}
	return x.json(http.StatusOK, append(body, ']'), typeJSON)
}

// latestChange is GET /changefeed/latest: nothing when nothing has changed yet.
func (x *exchange) latestChange() error {
	params, err := x.params("includemetadata")
	if err != nil {
		return err
	}
	metadata, err := boolParam(params, "includemetadata")
	if err != nil {
		return err
	}
	c, err := x.h.s.LatestChange(x.r.Context(), metadata)
	if err != nil {
		return err
	}
	if c == nil {
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return x.json(http.StatusOK, x.appendChange(nil, c), typeJSON)
}

// params reads the query; parameters that are not among names are refused.
func (x *exchange) params(names ...string) (url.Values, error) {
	params, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, "The query of the URL is not valid.")
	}
	out := url.Values{}
	for name, values := range params {
		known := ""
		for _, n := range names {
			if equalFold(n, name) {
				known = n
			}
		}
		if known == "" || len(values) > 1 {
			return nil, fault.New(fault.Invalid, "The parameter %.40q is not known here, or there more than once.", name)
		}
		out[known] = values
	}
	return out, nil
}

func equalFold(a, b string) bool { return http.CanonicalHeaderKey(a) == http.CanonicalHeaderKey(b) }

func boolParam(params url.Values, name string) (bool, error) {
	switch v := params.Get(name); {
	case v == "", strings.EqualFold(v, "true"):
		return true, nil
	case strings.EqualFold(v, "false"):
		return false, nil
	}
	return false, fault.New(fault.Invalid, "%s is true or false.", name)
}

// changeQuery reads the parameters: version 1 has a window of sequence numbers,
// version 2 a window of time.
func (x *exchange) changeQuery() (q dicom.ChangeQuery, err error) {
	names := []string{"offset", "limit", "includemetadata"}
	limit, most := 10, 100
	if x.rt.version >= 2 {
		names = append(names, "starttime", "endtime")
		limit, most = 100, 200
	}
	params, err := x.params(names...)
	if err != nil {
		return q, err
	}
	q.Window, q.Limit = x.rt.version < 2, limit
	if v := params.Get("limit"); v != "" {
		if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 || q.Limit > most {
			return q, fault.New(fault.Invalid, "limit is a number from 1 to %d.", most)
		}
	}
	if v := params.Get("offset"); v != "" {
		if q.Offset, err = strconv.ParseInt(v, 10, 62); err != nil || q.Offset < 0 {
			return q, fault.New(fault.Invalid, "offset is a number that is not negative.")
		}
	}
	for _, p := range []struct {
		name string
		to   *time.Time
	}{{"starttime", &q.From}, {"endtime", &q.To}} {
		if v := params.Get(p.name); v != "" {
			if *p.to, err = time.Parse(time.RFC3339Nano, v); err != nil {
				return q, fault.New(fault.Invalid, "%s is a time with a zone, such as 2024-05-01T10:00:00Z.", p.name)
			}
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return q, fault.New(fault.Invalid, "The start time must lie before the end time.")
	}
	q.Metadata, err = boolParam(params, "includemetadata")
	return q, err
}

// appendChange appends an entry. Its strings are UIDs and names that need no
// escapes, and times.
func (x *exchange) appendChange(b []byte, c *dicom.Change) []byte {
	b = append(b, `{"Sequence":`...)
	b = strconv.AppendInt(b, c.Sequence, 10)
	if x.h.s.HasPartitions() {
		b = append(b, `,"PartitionName":"`+c.Partition+`"`...)
	}
	b = append(b, `,"StudyInstanceUid":"`+c.Study+`","SeriesInstanceUid":"`+c.UIDs.Series+`","SopInstanceUid":"`+c.SOP+`"`...)
	b = append(b, `,"Action":"`+c.Action.String()+`","Timestamp":"`...)
	b = c.At.AppendFormat(b, "2006-01-02T15:04:05.000000+00:00")
	b = append(b, `","State":"`+c.State.String()+`"`...)
	if c.Attrs != nil {
		base := x.base()
		if x.h.s.HasPartitions() {
			base += "/partitions/" + c.Partition
		}
		b = append(b, `,"Metadata":`...)
		b = c.Attrs.AppendJSON(b, dicom.BulkBase(base, c.UIDs))
	}
	return append(b, '}')
}

// partitions is GET /partitions.
func (x *exchange) partitions() error {
	list, err := x.h.s.Partitions(x.r.Context())
	if err != nil {
		return err
	}
	if len(list) == 0 {
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body := []byte{'['}
	for i, p := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"partitionKey":`...)
		body = strconv.AppendInt(body, int64(p.Key), 10)
		body = append(body, `,"partitionName":"`+p.Name+`","createdDate":"`...)
		body = p.Created.AppendFormat(body, "2006-01-02T15:04:05.000000+00:00")
		body = append(body, `"}`...)
	}
	return x.json(http.StatusOK, append(body, ']'), typeJSON)
}
