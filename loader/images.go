package loader

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// image is a DICOM file to store.
type image struct {
	source string
	size   int64
	open   func() (io.ReadCloser, error) // may be called again
}

// A request has at most so many files and bytes; a larger file goes alone.
const (
	maxImages     = 25
	maxImageBytes = 8 << 20
)

// images collects files into jobs.
type images struct {
	list  []image
	bytes int64
}

// isImage reports whether a file is DICOM by its name or, for one that the user
// named and whose name says nothing, by its content.
func isImage(r root, name string) bool {
	if f, packed := formatOf(name); f != unknown || packed {
		return f == picture && !packed
	}
	if name != r.name {
		return false
	}
	file, err := r.fsys.Open(name)
	if err != nil {
		return false // met again, and reported, by the walk
	}
	defer file.Close()
	var head [132]byte
	_, err = io.ReadFull(file, head[:])
	return err == nil && string(head[128:]) == "DICM"
}

// image adds a file of a folder.
func (w *walker) image(r root, name string, size int64) error {
	return w.add(image{source: r.label(name), size: size, open: func() (io.ReadCloser, error) { return r.fsys.Open(name) }})
}

// member adds a file of an archive, which is read at once.
func (w *walker) member(in io.Reader, label string) error {
	b, err := readAll(in, w.run.MaxDocument)
	if err != nil {
		w.run.mu.Lock()
		w.run.report.Files++
		w.run.mu.Unlock()
		w.bad(label, err)
		return nil
	}
	return w.add(image{source: label, size: int64(len(b)), open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }})
}

func (w *walker) add(i image) error {
	w.run.mu.Lock()
	w.run.report.Files++
	w.run.mu.Unlock()
	if w.images.bytes+i.size > maxImageBytes {
		if err := w.flushImages(); err != nil {
			return err
		}
	}
	w.images.list, w.images.bytes = append(w.images.list, i), w.images.bytes+i.size
	if len(w.images.list) >= maxImages || w.images.bytes >= maxImageBytes {
		return w.flushImages()
	}
	return nil
}

func (w *walker) flushImages() error {
	list := w.images.list
	w.images = images{}
	if len(list) == 0 {
		return nil
	}
	return w.out(job{images: list})
}

// store sends files to the DICOM service and counts what became of them. The
// error ends the run.
func (r *run) store(ctx context.Context, list []image) error {
	a, uids, err := r.stow(ctx, list)
	if err != nil {
		return err
	}
	switch {
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return fmt.Errorf("load: the DICOM service refuses the login: %d", a.status)
	case a.status == http.StatusOK || a.status == http.StatusAccepted || a.status == http.StatusConflict:
		unclear, err := r.settleImages(list, uids, a)
		if err != nil {
			return err
		}
		for _, i := range unclear { // alone it is clear which file is meant
			if err := r.store(ctx, []image{i}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range list {
		r.fail(Failure{Source: i.source, Status: a.status, Diagnostics: strings.TrimSpace(string(a.body[:min(len(a.body), 500)]))}, 1)
	}
	return nil
}

// stow does a store request (PS3.18 section 10.5), again while the service is
// busy, and says which files have which instance UID.
func (r *run) stow(ctx context.Context, list []image) (a answer, uids map[string][]int, err error) {
	for attempt := 0; ; attempt++ {
		uids = map[string][]int{}
		pr, pw := io.Pipe()
		sent := make(chan int64, 1)
		go func() {
			n, err := writeParts(pw, list, uids)
			_ = pw.CloseWithError(err)
			sent <- n
		}()
		var h http.Header
		a, h, err = r.client.storeOnce(ctx, r.pictures+"/studies", pr)
		_ = pr.Close() // the writer ends when the answer came early
		n := <-sent
		r.mu.Lock()
		r.report.Bytes += n
		r.mu.Unlock()
		if ctx.Err() != nil {
			return a, uids, context.Cause(ctx)
		}
		if attempt >= retries || err == nil && (!busy(a.status) || a.status == http.StatusConflict) {
			if err != nil {
				err = fmt.Errorf("load: files cannot be sent to the DICOM service at %s: %w", r.pictures, err)
			}
			return a, uids, err
		}
		if err := r.client.pause(ctx, attempt, h.Get("Retry-After")); err != nil {
			return a, uids, err
		}
	}
}

const imageBoundary = "hygeia-load-3f9c1d70b2"

func (c *client) storeOnce(ctx context.Context, url string, body io.Reader) (answer, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return answer{}, nil, err
	}
	req.Header.Set("Accept", "application/dicom+json")
	req.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=`+imageBoundary)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, nil, err
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return a, res.Header, err
}

// headBytes is what is read of a file to find its instance UID.
const headBytes = 64 << 10

// writeParts writes files as the parts of a request.
func writeParts(w io.Writer, list []image, uids map[string][]int) (n int64, err error) {
	count := func(k int64, e error) error { n += k; return e }
	for i, f := range list {
		in, err := f.open()
		if err != nil {
			return n, err
		}
		head, err := io.ReadAll(io.LimitReader(in, headBytes))
		if err == nil {
			if d, _ := dcm.Read(bytes.NewReader(head), dcm.Limits{Until: dcm.TagSOPInstanceUID + 1}); d != nil && d.Data != nil {
				if uid := d.Data.String(dcm.TagSOPInstanceUID); uid != "" {
					uids[uid] = append(uids[uid], i) // what is wrong with the file the service says
				}
			}
			err = count(io.Copy(w, io.MultiReader(strings.NewReader("--"+imageBoundary+"\r\nContent-Type: application/dicom\r\n\r\n"), bytes.NewReader(head), in, strings.NewReader("\r\n"))))
		}
		_ = in.Close()
		if err != nil {
			return n, err
		}
	}
	return n, count(io.Copy(w, strings.NewReader("--"+imageBoundary+"--\r\n")))
}

// The attributes of a store answer (PS3.18 section I.2).
const (
	failedSOPs, storedSOPs, failureReason = "00081198", "00081199", "00081197"
	sopInstance, comments, comment        = "00081155", "00741048", "00000902"
	reasonThere                           = "45070"
)

type sopItem map[string]struct{ Value []json.RawMessage }

// first returns the first value of an attribute without quotation marks.
func (s sopItem) first(tag string) string {
	if v := s[tag].Value; len(v) > 0 {
		return strings.Trim(string(v[0]), `"`)
	}
	return ""
}

// settled is the answer to a store request, item by item, and the files that are meant.
type settled struct {
	list    []image
	uids    map[string][]int
	named   map[int]bool
	unnamed bool // a failure does not tell its file
}

// take finds the file of an item: several files may have one UID, and then each has
// an item of its own.
func (s *settled) take(item sopItem) (i int, ok bool) {
	for _, i := range s.uids[item.first(sopInstance)] {
		if !s.named[i] {
			s.named[i] = true
			return i, true
		}
	}
	if len(s.list) == 1 && !s.named[0] {
		s.named[0] = true
		return 0, true
	}
	return 0, false
}

// settleImages counts the files of an answer. Those that are there already are
// unchanged. When a failure does not name its file, it returns the files that no item names:
// they are not counted yet.
func (r *run) settleImages(list []image, uids map[string][]int, a answer) (unclear []image, err error) {
	var res map[string]struct{ Value []sopItem }
	if err := json.Unmarshal(a.body, &res); err != nil {
		return nil, fmt.Errorf("load: no DICOM service at %s: its answer cannot be read", r.pictures)
	}
	s := &settled{list: list, uids: uids, named: map[int]bool{}}
	var stored, there, strange int // strange items tell a UID that no file has
	for _, item := range res[storedSOPs].Value {
		if _, ok := s.take(item); ok {
			stored++
		} else {
			strange++
		}
	}
	for _, item := range res[failedSOPs].Value {
		i, ok := s.take(item)
		switch {
		case !ok:
			s.unnamed = true
		case item.first(failureReason) == reasonThere:
			there++
		default:
			r.fail(item.failure(list[i].source, a.status), 1)
		}
	}
	if s.unnamed {
		for i := range list {
			if !s.named[i] {
				unclear = append(unclear, list[i])
			}
		}
		strange = 0 // their files are among the unclear ones
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Resources += stored + there + strange
	r.report.Created += stored + strange
	r.report.Unchanged += there
	return unclear, nil
}

// failure is what an item says about a file that was not stored.
func (s sopItem) failure(source string, status int) Failure {
	f := Failure{Source: source, Status: status, Diagnostics: "reason " + s.first(failureReason)}
	for _, v := range s[comments].Value {
		var c sopItem
		if json.Unmarshal(v, &c) == nil {
			f.Diagnostics += "; " + c.first(comment)
		}
	}
	return f
}
