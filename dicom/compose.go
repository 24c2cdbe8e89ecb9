package dicom

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// Part is a part of a store request that has metadata and bulk data apart
// (PS3.18 section 10.5.1.4): data sets as DICOM JSON or XML, or the value of one
// attribute.
type Part struct {
	Type     string // media type, in lower case
	Params   map[string]string
	Location string // Content-Location
	Body     io.Reader
}

// MixedParts gives the parts of such a request one after another, see Parts.
type MixedParts interface{ Next() (*Part, error) }

// The media types of metadata.
const (
	typeJSON = "application/dicom+json"
	typeXML  = "application/dicom+xml"
)

// maxMetadata bounds the metadata of a request; maxHeld what is kept of its bulk
// data in memory; maxDrafts and maxRefs what there may be of small things that each
// take more memory than text.
const (
	maxMetadata = 16 << 20
	maxHeld     = 4 << 20
	maxDrafts   = 10_000
	maxRefs     = 50_000
)

// StoreMetadata stores instances that come as metadata and bulk data. Each becomes a
// file, as soon as what its BulkDataURIs name has come, and is stored as one. base
// is what relative URIs are relative to. For the rest it is as Store.
func (s *Service) StoreMetadata(ctx context.Context, req StoreRequest, base string, parts MixedParts) (*StoreResult, error) {
	more := int64(maxHeld + 2*maxMetadata)
	if req.Size >= 0 {
		more = min(more, 3*req.Size)
	}
	in, release, err := s.ingest(ctx, req, more)
	if err != nil {
		return nil, err
	}
	defer release()
	c := &composing{ingest: in, bulk: map[string]*entity{}}
	defer c.dropAll()
	if c.base, err = url.Parse(base); err != nil {
		return nil, fault.Wrap("dicom: store", err)
	}
	for {
		p, err := parts.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = c.part(ctx, p)
		}
		if err != nil {
			return in.res, errors.Join(err, in.flush(ctx))
		}
	}
	c.leftOver()
	return in.res, in.flush(ctx)
}

// composing is such a request in progress.
type composing struct {
	*ingest
	base   *url.URL
	index  int                // of the next instance
	drafts []*draft           // in their order
	bulk   map[string]*entity // by URI
	read   int                // bytes of metadata
	waits  int                // drafts that wait
	refs   int                // their BulkDataURIs
	held   int64              // bytes of bulk data in memory
}

// draft is an instance that waits for its bulk data: as text, because a data set
// takes several times the memory.
type draft struct {
	index  int
	text   []byte // DICOM JSON; nil: it does not wait any more
	frames int    // how many the image has
	refs   []bulkRef
	got    int // how many of refs, from the first on, are known to have come

	data *dcm.Dataset // while it becomes a file
}

// bulkRef is a BulkDataURI. Until it is resolved, the Offset of its element is the
// place in draft.refs, and Length is 1.
type bulkRef struct {
	tag    dcm.Tag
	uri    string
	pixels bool // of the image, not of something inside a sequence
}

// entity is what a URI names: one part, or one for each frame.
type entity struct {
	uri    string
	whole  *spool
	frames map[int]*spool
	drafts map[int][]*draft // that name it, by the number of frames that will do; 0 = none will
	users  int              // how many of them wait for it or are made of it
}

// ready takes out the drafts for which something has come: all when it is the
// whole, else those for which there are enough frames now. So each is looked at once
// for an entity, however many parts it has.
func (e *entity) ready(whole bool) (list []*draft) {
	if !whole {
		n := len(e.frames)
		list = e.drafts[n]
		delete(e.drafts, n)
		return list
	}
	for _, l := range e.drafts {
		list = append(list, l...)
	}
	e.drafts = nil
	slices.SortFunc(list, func(a, b *draft) int { return a.index - b.index })
	return list
}

// locate returns a URI in the form in which it is compared.
func (c *composing) locate(uri string) string {
	u, err := c.base.Parse(strings.Trim(uri, " <>"))
	if err != nil {
		return uri
	}
	return u.String()
}

func (c *composing) part(ctx context.Context, p *Part) error {
	if p.Type == typeJSON || p.Type == typeXML {
		return c.metadata(ctx, p)
	}
	if p.Location == "" {
		return fault.New(fault.Invalid, "A part with bulk data has no Content-Location.")
	}
	uri, frame := c.locate(p.Location), 0
	e := c.bulk[uri]
	if e == nil {
		if whole, n, ok := cutFrame(uri); ok && c.bulk[whole] != nil {
			e, frame = c.bulk[whole], n
		}
	}
	if e == nil {
		e = &entity{uri: uri}
		c.bulk[uri] = e
	}
	if frame == 0 && e.whole != nil || frame > 0 && e.frames[frame] != nil {
		return fault.New(fault.Invalid, "Two parts have the same Content-Location.")
	}
	sp, err := c.spool(ctx, p)
	if err != nil {
		return err
	}
	if frame == 0 {
		e.whole = sp
	} else {
		if e.frames == nil {
			e.frames = map[int]*spool{}
		}
		e.frames[frame] = sp
	}
	for _, d := range e.ready(frame == 0) {
		if err := c.complete(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// cutFrame splits the number of a frame off a URI (PS3.18 section 10.5.1.4).
func cutFrame(uri string) (whole string, n int, ok bool) {
	i := strings.LastIndex(uri, "/frames/")
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(uri[i+len("/frames/"):])
	return uri[:i], n, err == nil && n > 0
}

// metadata takes the data sets of a part.
func (c *composing) metadata(ctx context.Context, p *Part) error {
	text, err := io.ReadAll(io.LimitReader(p.Body, int64(maxMetadata-c.read+1)))
	if err != nil {
		return err
	}
	if c.read += len(text); c.read > maxMetadata {
		return fault.New(fault.TooLarge, "The metadata are larger than the %d bytes that are allowed in a request.", maxMetadata)
	}
	if p.Type == typeXML {
		object, err := dcm.XMLToJSON(text)
		if err != nil {
			c.refuse(c.index, nil, reasonProcessing, comment(err))
			c.index++
			return nil
		}
		return c.draft(ctx, object)
	}
	text = bytes.TrimSpace(text)
	if len(text) > 0 && text[0] == '{' { // an object where an array should be is what many send
		return c.draft(ctx, text)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return fault.New(fault.Invalid, "The metadata are not a JSON array of data sets.")
	}
	for _, object := range list {
		if err := c.draft(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func comment(err error) string { return fmt.Sprintf("DICOM%d: %s", errorNumberValidation, err) }

// refuse notes an instance that cannot be made.
func (c *composing) refuse(index int, d *dcm.Dataset, reason uint16, comments ...string) {
	f := &dcm.File{Data: d}
	c.count = index + 1
	c.unreadable(f, errors.New(""))
	out := &c.res.Failed[len(c.res.Failed)-1]
	out.Reason, out.Comments = reason, comments
}

// draft takes one data set.
func (c *composing) draft(ctx context.Context, object []byte) error {
	d := &draft{index: c.index, text: object}
	c.index++
	data, err := d.parse(func(e *dcm.Element, path, uri string) error {
		if uri == "" {
			return fmt.Errorf("%s: the BulkDataURI is empty", path)
		}
		d.refs = append(d.refs, bulkRef{e.Tag, c.locate(uri), !strings.Contains(path, ".") && isPixels(e.Tag)})
		return nil
	})
	if err != nil {
		c.refuse(d.index, nil, reasonProcessing, comment(err))
		return nil
	}
	d.frames = framesOf(data)
	c.waits++
	if c.refs += len(d.refs); c.refs > maxRefs || c.waits > maxDrafts {
		return fault.New(fault.TooLarge, "More than %d instances, or %d references, of the request wait for bulk data.", maxDrafts, maxRefs)
	}
	for i := range d.refs {
		r := &d.refs[i]
		e := c.bulk[r.uri]
		if e == nil {
			e = &entity{uri: r.uri}
			c.bulk[r.uri] = e
		}
		r.uri = e.uri // one text for all
		if e.drafts == nil {
			e.drafts = map[int][]*draft{}
		}
		n := 0
		if r.pixels {
			n = d.frames
		}
		if l := e.drafts[n]; len(l) == 0 || l[len(l)-1] != d {
			e.drafts[n] = append(l, d)
		}
	}
	for _, uri := range d.uris() {
		c.bulk[uri].users++
	}
	err = c.complete(ctx, d)
	if d.text != nil {
		c.drafts = append(c.drafts, d)
	}
	return err
}

// parse reads the data set; bulk is called for its BulkDataURIs, always in the
// same order, which is that of refs.
func (d *draft) parse(bulk func(e *dcm.Element, path, uri string) error) (*dcm.Dataset, error) {
	n := int64(0)
	return dcm.ParseJSONBulk(d.text, func(e *dcm.Element, path, uri string) error {
		e.Offset, e.Length = n, 1
		n++
		return bulk(e, path, uri)
	})
}

// again reads the data set that was read before.
func (d *draft) again() (*dcm.Dataset, error) {
	return d.parse(func(*dcm.Element, string, string) error { return nil })
}

func isPixels(t dcm.Tag) bool {
	return t == dcm.TagPixelData || t == dcm.TagFloatPixelData || t == dcm.TagDoubleFloatPixelData
}

// uris are the different ones that a draft refers to.
func (d *draft) uris() []string {
	var out []string
	for _, r := range d.refs {
		out = append(out, r.uri)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// framesOf is how many frames an image has.
func framesOf(d *dcm.Dataset) int {
	n, ok := d.Int(dcm.TagNumberOfFrames)
	if !ok || n < 1 {
		return 1
	}
	return int(min(n, 1<<20))
}

// has reports whether what a reference names has come.
func (c *composing) has(d *draft, r *bulkRef) bool {
	e := c.bulk[r.uri]
	return e.whole != nil || r.pixels && len(e.frames) > 0 && len(e.frames) >= d.frames
}

// complete stores a draft once it has all that it needs.
func (c *composing) complete(ctx context.Context, d *draft) error {
	for d.got < len(d.refs) && c.has(d, &d.refs[d.got]) {
		d.got++
	}
	if d.text == nil || d.got < len(d.refs) {
		return nil
	}
	var err error
	if d.data, err = d.again(); err == nil {
		err = c.compose(ctx, d)
	}
	c.release(d)
	return err
}

// release lets go of a draft and of its bulk data.
func (c *composing) release(d *draft) {
	for _, uri := range d.uris() {
		e := c.bulk[uri]
		if e.users--; e.users == 0 {
			c.drop(e)
			delete(c.bulk, uri)
		}
	}
	c.waits--
	c.refs -= len(d.refs)
	d.data, d.text, d.refs, d.got = nil, nil, nil, 0
}

// leftOver refuses at the end what lacks bulk data, and tells of parts that nothing
// refers to.
func (c *composing) leftOver() {
	for _, d := range c.drafts {
		if d.text == nil {
			continue
		}
		var comments []string
		for _, r := range d.refs {
			if !c.has(d, &r) {
				comments = append(comments, finding{r.tag, "No part has the Content-Location that the BulkDataURI names."}.comment())
			}
		}
		data, err := d.again()
		if err != nil {
			data = nil // it was read before, so there is none
		}
		c.refuse(d.index, data, reasonProcessing, comments...)
	}
	for _, e := range c.bulk {
		if e.users == 0 {
			c.refuse(c.index, nil, reasonProcessing, comment(errors.New("A part has a Content-Location that no BulkDataURI names.")))
			c.index++
		}
	}
}

// compose makes the file of a draft and stores it.
func (c *composing) compose(ctx context.Context, d *draft) error {
	src := &spoolReader{ctx: ctx, s: c.s}
	defer src.close()
	b := &builder{c: c, d: d, src: src, syntax: dcm.ExplicitLittle}
	b.elements(d.data)
	if b.err != nil {
		return b.err
	}
	if b.bad != nil {
		c.refuse(d.index, d.data, b.reason(), b.bad.comment())
		return nil
	}
	normalise(d.data)
	pr, pw := io.Pipe()
	wrote := make(chan error, 1)
	go func() {
		err := fault.Guard("dicom: compose", func() error {
			return dcm.Write(pw, &dcm.File{Meta: &dcm.Dataset{}, Data: d.data}, b.syntax, dcm.WriteOptions{Source: src})
		})
		_ = pw.CloseWithError(err) // nil: the end of the file
		wrote <- err
	}()
	c.count = d.index
	err := c.file(ctx, pr)
	_ = pr.CloseWithError(errEnough)
	werr := <-wrote
	if werr == nil || errors.Is(werr, errEnough) {
		return err
	}
	if _, ok := errors.AsType[*fault.Error](werr); ok {
		return werr
	}
	c.refuse(d.index, d.data, reasonProcessing, comment(werr))
	return nil
}

// errEnough ends a file that nobody reads any more.
var errEnough = errors.New("the file is not read any more")

// normalise takes out what belongs to the exchange and not to the instance, and
// says that the text is in UTF-8.
func normalise(d *dcm.Dataset) {
	d.Elements = slices.DeleteFunc(d.Elements, func(e dcm.Element) bool {
		return e.Tag.Group() == 2 || e.Tag&0xFFFF == 0 || e.Tag == tagAvailableTransferSyntax
	})
	if d.Get(dcm.TagSpecificCharacterSet) != nil || !plain(d) {
		for i := range d.Elements {
			for _, it := range d.Elements[i].Items {
				unlabel(it)
			}
		}
		d.Put(dcm.NewText(dcm.TagSpecificCharacterSet, dcm.CS, "ISO_IR 192"))
	}
}

// tagAvailableTransferSyntax is what metadata of a server may have, and no file.
const tagAvailableTransferSyntax dcm.Tag = 0x00083002

func unlabel(d *dcm.Dataset) {
	d.Remove(dcm.TagSpecificCharacterSet)
	for i := range d.Elements {
		for _, it := range d.Elements[i].Items {
			unlabel(it)
		}
	}
}

// plain reports whether the text of a data set needs no character set.
func plain(d *dcm.Dataset) bool {
	for i := range d.Elements {
		e := &d.Elements[i]
		if strings.ContainsFunc(d.Text(e), func(r rune) bool { return r >= 0x80 }) {
			return false
		}
		for _, it := range e.Items {
			if !plain(it) {
				return false
			}
		}
	}
	return true
}
