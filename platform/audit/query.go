package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"time"
)

// Query selects records. Empty members select all.
type Query struct {
	From, To  time.Time // from inclusive, to exclusive
	Service   string    // "workspace/service", or "workspace/" for all of one
	Principal string
	Client    string
	Action    string
	Type      string
	ID        string
	Outcome   string // success, refused or failure
	Request   string // X-Request-Id, or that of the client
	After     int64  // records behind this number
	Limit     int    // at most so many; 0 means 100
}

// Page is an answer to a Query. Next is the After of the next page, 0 on the last.
type Page struct {
	Records []Record
	Next    int64
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// Find returns the records of a folder that match, oldest first. It reads the
// files from where it has to: there is no index beside them that could differ.
func Find(ctx context.Context, dir string, q Query) (Page, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	list, err := readable(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return Page{}, err
	}
	var page Page
	for i, n := range list {
		if i+1 < len(list) && q.beyond(dir, list[i+1]) {
			continue // everything that could match begins in a later file
		}
		err := q.scan(ctx, dir, n, &page)
		if errors.Is(err, errEnough) {
			return page, nil
		}
		if errors.Is(err, os.ErrNotExist) {
			continue // it went to the archive in this moment
		}
		if err != nil {
			return Page{}, err
		}
	}
	return page, nil
}

// beyond reports whether the first record of a file is not later than what is
// asked for, so that the files before it need not be read.
func (q *Query) beyond(dir string, n int) bool {
	if q.From.IsZero() && q.After == 0 {
		return false
	}
	f, err := readSegment(dir, n)
	if err != nil {
		return false
	}
	defer f.Close()
	ok := false
	_ = lines(f, func(line []byte, _ int64, _ bool) error {
		r, err := parseLine(line)
		ok = err == nil && (!q.From.IsZero() && r.Time.Before(q.From) || q.After > 0 && r.N <= q.After)
		return errEnough
	})
	return ok
}

func (q *Query) scan(ctx context.Context, dir string, n int, page *Page) error {
	f, err := readSegment(dir, n)
	if err != nil {
		return err
	}
	defer f.Close()
	count := 0
	return lines(f, func(line []byte, _ int64, whole bool) error {
		if count++; count%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !whole || !q.mayMatch(line) {
			return nil
		}
		r, err := parseLine(line)
		if err != nil || !q.matches(&r) {
			return nil // what is damaged is for Verify
		}
		if !q.To.IsZero() && !r.Time.Before(q.To) {
			return nil
		}
		if len(page.Records) == q.Limit {
			page.Next = page.Records[q.Limit-1].N
			return errEnough
		}
		page.Records = append(page.Records, r)
		return nil
	})
}

// mayMatch looks for the texts in the line before it is parsed.
func (q *Query) mayMatch(line []byte) bool {
	for _, m := range []struct{ name, text string }{
		{"principal", q.Principal}, {"client", q.Client}, {"action", q.Action}, {"type", q.Type}, {"id", q.ID},
	} {
		if m.text != "" && !bytes.Contains(line, member(nil, m.name, m.text)) {
			return false
		}
	}
	return true
}

func (q *Query) matches(r *Record) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	service := is(q.Service, r.Service) || strings.HasSuffix(q.Service, "/") && strings.HasPrefix(r.Service, q.Service)
	return r.Kind == "" && r.N > q.After && service && is(q.Principal, r.Principal) && is(q.Client, r.Client) && is(q.Action, r.Action) &&
		is(q.Type, r.Type) && is(q.ID, r.ID) && is(q.Outcome, r.Outcome()) && (q.From.IsZero() || !r.Time.Before(q.From)) &&
		(q.Request == "" || q.Request == r.Request || q.Request == r.Correlation)
}
