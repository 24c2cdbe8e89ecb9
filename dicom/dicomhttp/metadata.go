package dicomhttp

import (
	"bytes"
	"container/list"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
)

// metadata is GET .../metadata (PS3.18 section 10.4.1.1.2).
func (x *exchange) metadata() error {
	list := accepts(x.r)
	if !wantsJSON(list) && !wantsXML(list) {
		return fault.New(fault.NotAcceptable, "Metadata are given as application/dicom+json or multipart/related; type=\"application/dicom+xml\".")
	}
	ctx, t := x.long(), x.target()
	v, n, err := x.h.s.Count(ctx, t)
	if err != nil {
		return err
	}
	tag := dicom.ETag(t.UIDs, v, n)
	if x.original() {
		tag = strings.TrimSuffix(tag, `"`) + `-o"`
	}
	h, shown := x.w.Header(), tag
	if wantsXML(list) { // the same data in another form are another representation (RFC 9110 section 8.8.3)
		shown = strings.TrimSuffix(tag, `"`) + `-x"`
	}
	h["Etag"] = []string{shown}
	h.Add("Vary", "Accept")
	if matches(x.r.Header.Get("If-None-Match"), shown) {
		return fault.New(fault.NotModified, "")
	}
	base := x.base()
	key := base + "|" + t.Study + "|" + t.Series + "|" + t.SOP
	if x.original() {
		key += "|original"
	}
	e := x.h.cache.get(key, tag)
	if e == nil {
		body, err := x.h.s.Metadata(ctx, t, x.original(), base, nil)
		if err != nil {
			return err
		}
		e = &metadataEntry{key: key, tag: tag, body: body}
		if n > 1 { // a single instance is read as fast as it is found
			x.h.cache.put(e)
		}
	}
	if wantsXML(list) {
		return x.xmlParts(e.body)
	}
	if len(e.body) >= 1024 && acceptsGzip(x.r.Header.Get("Accept-Encoding")) && n > 1 {
		h["Content-Encoding"] = []string{"gzip"}
		return x.json(http.StatusOK, e.gzip(), typeDICOMJSON)
	}
	return x.json(http.StatusOK, e.body, typeDICOMJSON)
}

// acceptsGzip reports whether Accept-Encoding lists gzip without refusing it.
func acceptsGzip(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		name, param, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(param, " ", ""), "q=")
		f, err := strconv.ParseFloat(q, 64)
		return !ok || err != nil || f > 0
	}
	return false
}

// metadataCache keeps the metadata of series and studies that were asked for
// lately, until they change.
type metadataCache struct {
	mu    sync.Mutex
	limit int
	size  int
	byKey map[string]*list.Element
	order list.List // of *metadataEntry, newest first
}

type metadataEntry struct {
	key, tag string
	body     []byte
	once     sync.Once
	zipped   []byte
}

func newMetadataCache(limit int) *metadataCache {
	return &metadataCache{limit: limit, byKey: map[string]*list.Element{}}
}

func (c *metadataCache) get(key, tag string) *metadataEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byKey[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*metadataEntry)
	if e.tag != tag {
		c.remove(el)
		return nil
	}
	c.order.MoveToFront(el)
	return e
}

func (c *metadataCache) put(e *metadataEntry) {
	if len(e.body) > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.byKey[e.key]; el != nil {
		c.remove(el)
	}
	c.byKey[e.key] = c.order.PushFront(e)
	c.size += e.cost()
	for c.size > c.limit {
		c.remove(c.order.Back())
	}
}

// cost counts the compressed form too, which comes later.
func (e *metadataEntry) cost() int { return len(e.body) + len(e.body)/8 }

func (c *metadataCache) remove(el *list.Element) {
	e := c.order.Remove(el).(*metadataEntry)
	delete(c.byKey, e.key)
	c.size -= e.cost()
}

// gzip returns the compressed body, which is made once.
func (e *metadataEntry) gzip() []byte {
	e.once.Do(func() {
		var b bytes.Buffer
		zw, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			panic("dicomhttp: " + err.Error()) // the level is a constant
		}
		_, _ = zw.Write(e.body) // into memory
		_ = zw.Close()
		e.zipped = b.Bytes()
	})
	return e.zipped
}
