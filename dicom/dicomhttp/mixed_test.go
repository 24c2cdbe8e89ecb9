package dicomhttp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// piece is a part of a request with metadata and bulk data.
type piece struct {
	typ, location string
	data          []byte
}

func mixed(root string, pieces ...piece) (body []byte, contentType string) {
	var b bytes.Buffer
	for _, p := range pieces {
		fmt.Fprintf(&b, "--xyz\r\nContent-Type: %s\r\n", p.typ)
		if p.location != "" {
			fmt.Fprintf(&b, "Content-Location: %s\r\n", p.location)
		}
		b.WriteString("\r\n")
		b.Write(p.data)
		b.WriteString("\r\n")
	}
	b.WriteString("--xyz--\r\n")
	return b.Bytes(), `multipart/related; type="` + root + `"; boundary=xyz`
}

func (w *world) mixed(code int, root string, pieces ...piece) string {
	w.t.Helper()
	body, typ := mixed(root, pieces...)
	rec := w.do("POST", "/v2/studies", body, "Content-Type", typ)
	if rec.Code != code {
		w.t.Fatalf("store: %d, want %d: %s", rec.Code, code, rec.Body)
	}
	return rec.Body.String()
}

// onlyPartOf returns the single part of a multipart answer.
func onlyPartOf(t *testing.T, rec *httptest.ResponseRecorder) []byte {
	t.Helper()
	_, b, ok := strings.Cut(rec.Header().Get("Content-Type"), "boundary=")
	if !ok {
		t.Fatal(rec.Header())
	}
	b, _, _ = strings.Cut(strings.Trim(b, `"`), ";")
	_, rest, _ := bytes.Cut(rec.Body.Bytes(), []byte("\r\n\r\n"))
	part, _, ok := bytes.Cut(rest, []byte("\r\n--"+b))
	if !ok {
		t.Fatal("no part")
	}
	return part
}

// bulkURIs collects the BulkDataURIs of a data set.
func bulkURIs(v any, out *[]string) {
	switch v := v.(type) {
	case map[string]any:
		if uri, ok := v["BulkDataURI"].(string); ok {
			*out = append(*out, uri)
		}
		for _, m := range v {
			bulkURIs(m, out)
		}
	case []any:
		for _, m := range v {
			bulkURIs(m, out)
		}
	}
}

// TestMixedRoundTrip takes each sample apart into metadata and bulk data, as this server
// gives them, and stores what comes out of that, in JSON and in XML: metadata and
// frames are the same as before.
func TestMixedRoundTrip(t *testing.T) {
	names, err := filepath.Glob("../../spec/dcm/testdata/*.dcm")
	if err != nil || len(names) < 20 {
		t.Fatal(err, names)
	}
	for _, form := range []string{"application/dicom+json", "application/dicom+xml"} {
		w := newWorld(t, dicom.Config{SmallFile: 20_000})
		for _, name := range names {
			t.Run(form+"/"+filepath.Base(name), func(t *testing.T) {
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, w, form, filepath.Base(name), data)
			})
		}
	}
}

// notStored are the samples that lack UIDs, or end inside an attribute.
var notStored = []string{"UN_sequence.dcm", "chrSQEncoding1.dcm", "nested_priv_SQ.dcm", "no_meta_group_length.dcm", "rtplan_truncated.dcm"}

// misfits are the samples whose pixel data are not those of the image that they describe.
var misfits = []string{"JPEG2000-embedded-sequence-delimiter.dcm", "MR_small_padded.dcm", "MR_truncated.dcm", "badVR.dcm"}

func roundTrip(t *testing.T, w *world, form, name string, data []byte) {
	rec := w.do("POST", "/v2/studies", data, "Content-Type", "application/dicom")
	var answer map[string]struct {
		Value []map[string]struct{ Value []any }
	}
	if slices.Contains(notStored, name) {
		if rec.Code != 409 {
			t.Fatalf("the sample is stored: %d %s", rec.Code, rec.Body)
		}
		return
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code > 202 {
		t.Fatalf("the sample cannot be stored as it is: %d %s", rec.Code, rec.Body)
	}
	path, _ := strings.CutPrefix(answer["00081199"].Value[0]["00081190"].Value[0].(string), "http://pacs.test:8080/w/s")
	defer w.do("DELETE", path, nil)
	metadata := w.want(200, "GET", path+"/metadata")
	var list []map[string]any
	if err := json.Unmarshal([]byte(metadata), &list); err != nil {
		t.Fatal(err)
	}
	pieces := []piece{{typ: form, data: []byte(metadata)}}
	if form == "application/dicom+xml" {
		pieces[0].data = onlyPartOf(t, w.do("GET", path+"/metadata", nil, "Accept", `multipart/related; type="application/dicom+xml"`))
	}
	var uris []string
	for _, m := range list {
		bulkURIs(m, &uris)
	}
	frames := w.do("GET", path+"/frames/1", nil, "Accept", "multipart/related; type=*/*; transfer-syntax=*")
	var first []byte
	for _, uri := range uris {
		rel := strings.TrimPrefix(uri, "http://pacs.test:8080/w/s")
		if frames.Code == 200 && strings.HasSuffix(uri, "/7FE00010") && strings.Contains(frames.Body.String()[:200], "transfer-syntax=1.2.840.10008.1.2.4") || frames.Code == 200 && strings.Contains(frames.Body.String()[:200], "transfer-syntax=1.2.840.10008.1.2.5") {
			first = onlyPartOf(t, frames)
			for n := 1; ; n++ {
				f := w.do("GET", fmt.Sprintf("%s/frames/%d", path, n), nil, "Accept", "multipart/related; type=*/*; transfer-syntax=*")
				if f.Code != 200 {
					break
				}
				_, typ, _ := strings.Cut(f.Body.String(), "Content-Type: ")
				typ, _, _ = strings.Cut(typ, "\r\n")
				pieces = append(pieces, piece{typ, fmt.Sprintf("%s/frames/%d", uri, n), onlyPartOf(t, f)})
			}
			if len(pieces) == 2 {
				pieces[1].location = uri // a single frame goes either way
			}
			continue
		}
		pieces = append(pieces, piece{"application/octet-stream", rel[strings.Index(rel, "/studies"):], w.do("GET", rel, nil, "Accept", "application/octet-stream").Body.Bytes()})
	}
	for i := range pieces { // relative to the request as well
		if uri, ok := strings.CutPrefix(pieces[i].location, "/studies"); ok {
			pieces[i].location = "http://pacs.test:8080/w/s/v2/studies" + uri
		}
	}
	w.want(204, "DELETE", path)
	body, typ := mixed(form, pieces...)
	rec = w.do("POST", "/v2/studies", body, "Content-Type", typ)
	if text := rec.Body.String(); strings.Contains(text, "bytes, the image needs") && first == nil || strings.Contains(text, "(0028,0011) - The value is not that of the pixel data.") {
		if !slices.Contains(misfits, name) {
			t.Errorf("the pixel data are refused: %s", text)
		}
		return
	}
	if rec.Code != 200 && rec.Code != 202 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	var again []map[string]any
	if err := json.Unmarshal([]byte(w.want(200, "GET", path+"/metadata")), &again); err != nil {
		t.Fatal(err)
	}
	for _, m := range append(again, list...) {
		delete(m, "00080005")                                  // the text is in UTF-8 now
		delete(m, "00282110")                                  // what the stream tells and the sample left out
		for _, tag := range []string{"00080090", "00100010"} { // a name without any part is none in XML
			if a, _ := json.Marshal(m[tag]); strings.Contains(string(a), `"^^^^"`) || !strings.Contains(string(a), "Value") {
				delete(m, tag)
			}
		}
		if px, ok := m["7FE00010"].(map[string]any); ok && first != nil {
			px["vr"] = "OB" // as it must be (PS3.5 section A.4)
		}
	}
	a, _ := json.Marshal(list)
	b, _ := json.Marshal(again)
	if !bytes.Equal(a, b) {
		t.Errorf("the metadata are not the same:\n%s\n%s", a, b)
	}
	if first != nil {
		if got := onlyPartOf(t, w.do("GET", path+"/frames/1", nil, "Accept", "multipart/related; type=*/*; transfer-syntax=*")); !bytes.Equal(got, first) {
			t.Errorf("the frame has %d bytes, had %d", len(got), len(first))
		}
	}
}

const plainSet = `"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.7"]},"00080018":{"vr":"UI","Value":["1.2.3.%d"]},"0020000D":{"vr":"UI","Value":["1.2"]},"0020000E":{"vr":"UI","Value":["1.2.3"]},"00100020":{"vr":"LO","Value":["P"]}`

const grey = `,"00280002":{"vr":"US","Value":[1]},"00280004":{"vr":"CS","Value":["MONOCHROME2"]},"00280010":{"vr":"US","Value":[2]},"00280011":{"vr":"US","Value":[2]},"00280100":{"vr":"US","Value":[8]}`

// set is the JSON of an instance.
func set(n int, more string) string { return "{" + fmt.Sprintf(plainSet, n) + more + "}" }

func pixels(uri string) string { return `,"7FE00010":{"vr":"OB","BulkDataURI":"` + uri + `"}` }

func TestMixed(t *testing.T) {
	jpeg := firstFrame(t, "SC_rgb_jpeg.dcm")
	const js = "application/dicom+json"
	for _, tt := range []struct {
		name   string
		pieces []piece
		code   int
		want   []string // in the answer
	}{
		{"no bulk data", []piece{{js, "", []byte("[" + set(1, "") + "," + set(2, "") + "]")}}, 200, []string{"1.2.3.1", "1.2.3.2"}},
		{"pixels by a relative URI", []piece{{js, "", []byte("[" + set(1, grey+pixels("bulk/1")) + "]")}, {"application/octet-stream", "bulk/1", []byte("abcd")}}, 200, nil},
		{"inline", []piece{{js, "", []byte("[" + set(1, grey+`,"7FE00010":{"vr":"OB","InlineBinary":"YWJjZA=="}`) + "]")}}, 200, nil},
		{"two of one part", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "," + set(2, grey+pixels("b")) + "]")}, {"application/octet-stream", "b", []byte("abcd")}}, 200, []string{"1.2.3.2"}},
		{"too few pixels", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "]")}, {"application/octet-stream", "b", []byte("abc")}}, 409, []string{"43264", "The pixel data have 3 bytes, the image needs 4."}},
		{"no rows", []piece{{js, "", []byte("[" + set(1, pixels("b")) + "]")}, {"application/octet-stream", "b", []byte("abc")}}, 409, []string{"Rows is missing"}},
		{"no part", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "," + set(2, "") + "]")}}, 202, []string{`"00081197":{"vr":"US","Value":[272]}`, "(7FE0,0010) - No part has the Content-Location"}},
		{"a part that nobody wants", []piece{{js, "", []byte("[" + set(1, "") + "]")}, {"application/octet-stream", "b", []byte("abc")}}, 202, []string{"no BulkDataURI names"}},
		{"no location", []piece{{js, "", []byte("[" + set(1, "") + "]")}, {"application/octet-stream", "", []byte("abc")}}, 400, []string{"Content-Location"}},
		{"a location twice", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")+`,"00420011":{"vr":"OB","BulkDataURI":"c"}`) + "]")}, {"application/octet-stream", "b", []byte("abcd")}, {"application/octet-stream", "b", []byte("abcd")}}, 400, []string{"Two parts"}},
		{"JPEG that tells of its image", []piece{{js, "", []byte("[" + set(1, pixels("b")) + "]")}, {"image/jpeg", "b", jpeg}}, 200, nil},
		{"JPEG of another size", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "]")}, {"image/jpeg", "b", jpeg}}, 409, []string{"not that of the pixel data"}},
		{"JPEG that is none", []piece{{js, "", []byte("[" + set(1, pixels("b")) + "]")}, {"image/jpeg", "b", []byte("abcd")}}, 409, []string{"neither JPEG"}},
		{"JPEG under another name", []piece{{js, "", []byte("[" + set(1, pixels("b")) + "]")}, {"image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.80", "b", jpeg}}, 409, []string{"are JPEG Baseline, not of the transfer syntax"}},
		{"frames without their numbers", []piece{{js, "", []byte("[" + set(1, `,"00280008":{"vr":"IS","Value":[2]}`+pixels("b")) + "]")}, {"image/jpeg", "b", jpeg}}, 409, []string{"Each of the 2 frames"}},
		{"frames in any order", []piece{{js, "", []byte("[" + set(1, `,"00280008":{"vr":"IS","Value":[2]}`+pixels("b")) + "]")}, {"image/jpeg", "b/frames/2", jpeg}, {"image/jpeg", "b/frames/1", jpeg}}, 200, nil},
		{"a frame is missing", []piece{{js, "", []byte("[" + set(1, `,"00280008":{"vr":"IS","Value":[2]}`+pixels("b")) + "]")}, {"image/jpeg", "b/frames/3", jpeg}, {"image/jpeg", "b/frames/1", jpeg}}, 409, []string{"not those of the 2 frames"}},
		{"GIF", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "]")}, {"image/gif", "b", []byte("abcd")}}, 409, []string{"has no transfer syntax"}},
		{"PNG that is none", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "]")}, {"image/png", "b", []byte("no picture at all")}}, 409, []string{"not a PNG file"}},
		{"PNG of another size", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "]")}, {"image/png", "b", picture(image.NewGray(image.Rect(0, 0, 3, 2)))}}, 409, []string{"(0028,0011) - The value is not that of the pixel data."}},
		{"PNG of another colour", []piece{{js, "", []byte("[" + set(1, grey+pixels("b")) + "]")}, {"image/png", "b", picture(image.NewPaletted(image.Rect(0, 0, 2, 2), color.Palette{color.Black}))}}, 409, []string{"(0028,0002) - The value"}},
		{"PNG with holes", []piece{{js, "", []byte("[" + set(1, pixels("b")) + "]")}, {"image/png", "b", picture(image.NewNRGBA(image.Rect(0, 0, 2, 2)))}}, 409, []string{"transparent"}},
		{"PNG of two instances", []piece{{js, "", []byte("[" + set(1, pixels("b")) + "," + set(2, grey+pixels("b")) + "]")}, {"image/png", "b", picture(image.NewGray(image.Rect(0, 0, 2, 2)))}}, 200, []string{"1.2.3.1", "1.2.3.2"}},
		{"a value that is none", []piece{{js, "", []byte("[" + set(1, `,"00280010":{"vr":"US","Value":["x"]}`) + "," + set(2, "") + "]")}}, 202, []string{"00280010: value 1: not an integer"}},
		{"no JSON", []piece{{js, "", []byte("[{")}}, 400, nil},
		{"nothing", []piece{{js, "", []byte("[]")}}, 204, nil},
		{"no UIDs", []piece{{js, "", []byte(`[{"00100020":{"vr":"LO","Value":["P"]}}]`)}}, 409, []string{"43264", "(0020,000D) - The required tag is missing."}},
		{"a document", []piece{{js, "", []byte("[" + set(1, `,"00420011":{"vr":"OB","BulkDataURI":"urn:uuid:1"}`) + "]")}, {"application/pdf", "urn:uuid:1", []byte("%PDF-")}}, 200, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, dicom.Config{})
			answer := w.mixed(tt.code, js, tt.pieces...)
			for _, s := range tt.want {
				if !strings.Contains(answer, s) {
					t.Errorf("%q is not in %s", s, answer)
				}
			}
			if n, err := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*")); err != nil || tt.code == 409 && len(n) > 0 {
				t.Error("blobs are left: ", n, err)
			}
		})
	}
}

// FuzzMixed: whatever the metadata and the bulk data are, the answer says what is
// wrong with them.
func FuzzMixed(f *testing.F) {
	jpeg := []byte("\xFF\xD8\xFF\xC0\x00\x0B\x08\x00\x02\x00\x02\x01\x01\x11\x00\xFF\xDA\x00\x08\x01\x01\x00\x00\x3F\x00abc\xFF\xD9")
	f.Add("application/dicom+json", []byte("["+set(1, grey+pixels("b"))+"]"), "application/octet-stream", []byte("abcd"))
	f.Add("application/dicom+json", []byte(set(1, pixels("b"))), "image/jpeg", jpeg)
	f.Add("application/dicom+json", []byte("["+set(1, `,"00880200":{"vr":"SQ","Value":[{"7FE00010":{"vr":"OW","BulkDataURI":"b"}}]},"00091001":{"vr":"UN","InlineBinary":"AA=="}`)+"]"), "application/octet-stream", []byte("abc"))
	f.Add("application/dicom+json", []byte("["+set(1, `,"00280008":{"vr":"IS","Value":["3"]}`+pixels("b"))+"]"), "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5", []byte("abc"))
	f.Add("application/dicom+xml", []byte(`<NativeDicomModel><DicomAttribute tag="0020000D" vr="UI"><Value number="1">1.2</Value></DicomAttribute><DicomAttribute tag="7FE00010" vr="OB"><BulkData uri="b"/></DicomAttribute></NativeDicomModel>`), "image/jp2", []byte("\xFF\x4F"))
	w := &world{t: &testing.T{}, dir: f.TempDir()}
	w.path = filepath.Join(w.dir, "dicom.db")
	w.open(dicom.Config{SmallFile: 2048}, nil)
	f.Cleanup(w.close)
	f.Fuzz(func(t *testing.T, form string, metadata []byte, typ string, bulk []byte) {
		if form != "application/dicom+xml" {
			form = "application/dicom+json"
		}
		body, contentType := mixed(form, piece{form, "", metadata}, piece{strings.Map(func(r rune) rune {
			if r < ' ' {
				return -1
			}
			return r
		}, typ), "b", bulk})
		r := httptest.NewRequest("PUT", "http://pacs.test:8080/w/s/v2/studies", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
}

func picture(img image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestPicture stores pictures and reads their pixels.
func TestPicture(t *testing.T) {
	rgb := image.NewRGBA64(image.Rect(0, 0, 2, 1))
	rgb.SetRGBA64(0, 0, color.RGBA64{0x0102, 0x0304, 0x0506, 0xFFFF})
	rgb.SetRGBA64(1, 0, color.RGBA64{0x0708, 0x090A, 0x0B0C, 0xFFFF})
	eight := image.NewNRGBA(image.Rect(0, 0, 1, 3))
	for i := range eight.Pix {
		eight.Pix[i] = byte(i) | byte(0xFF*(i&3/3))
	}
	deep := &image.Gray16{Pix: []byte{1, 2, 3, 4}, Stride: 4, Rect: image.Rect(0, 0, 2, 1)}
	for name, c := range map[string]struct {
		img  image.Image
		want string
	}{
		"RGB of 16 bits":     {rgb, "\x02\x01\x04\x03\x06\x05\x08\x07\x0A\x09\x0C\x0B"},
		"RGB of 8 bits":      {eight, "\x00\x01\x02\x04\x05\x06\x08\x09\x0A"},
		"grey of 16 bits":    {deep, "\x02\x01\x04\x03"},
		"grey of 8 bits":     {&image.Gray{Pix: []byte("abcd"), Stride: 2, Rect: image.Rect(0, 0, 2, 2)}, "abcd"},
		"one with a palette": {&image.Paletted{Pix: []byte{1, 0}, Stride: 2, Rect: image.Rect(0, 0, 2, 1), Palette: color.Palette{color.Black, color.RGBA{1, 2, 3, 255}}}, "\x01\x02\x03\x00\x00\x00"},
	} {
		w := newWorld(t, dicom.Config{SmallFile: 8})
		w.mixed(200, "application/dicom+json", piece{"application/dicom+json", "", []byte("[" + set(1, pixels("b")) + "]")}, piece{"image/png", "b", picture(c.img)})
		if got := w.want(200, "GET", "/v2/studies/1.2/series/1.2.3/instances/1.2.3.1/frames/1", "Accept", "application/octet-stream"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		w.want(200, "GET", "/v2/studies/1.2/series/1.2.3/instances/1.2.3.1/rendered", "Accept", "image/png")
		if names, err := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*")); err != nil || len(names) != 1 {
			t.Errorf("%s: there are %d blobs: %v", name, len(names), err)
		}
	}
}

// firstFrame is the first fragment of a sample.
func firstFrame(t *testing.T, name string) []byte {
	t.Helper()
	data := file(t, name)
	f, err := dcm.Parse(data, dcm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	fr := f.Data.Get(dcm.TagPixelData).Fragments[0]
	return data[fr.Offset : fr.Offset+fr.Length]
}

// TestMixedLarge stores pixel data that do not stay in memory, for two instances,
// and leaves nothing but their files.
func TestMixedLarge(t *testing.T) {
	w := newWorld(t, dicom.Config{SmallFile: 4096})
	size := strings.Replace(strings.Replace(grey, `[2]},"00280011":{"vr":"US","Value":[2]}`, `[300]},"00280011":{"vr":"US","Value":[401]}`, 1), "", "", 1)
	big := bytes.Repeat([]byte("0123456789"), 300*401/10)
	js := "[" + set(1, size+pixels("b")) + "," + set(2, size+pixels("b")) + "," + set(3, size+pixels("c")) + "]"
	w.mixed(202, "application/dicom+json", piece{"application/dicom+json", "", []byte(js)}, piece{"application/octet-stream", "b", big})
	for n := 1; n <= 2; n++ {
		got := w.want(200, "GET", fmt.Sprintf("/v2/studies/1.2/series/1.2.3/instances/1.2.3.%d/frames/1", n), "Accept", "application/octet-stream")
		if got != string(big) {
			t.Errorf("%d bytes are not those that were sent", len(got))
		}
	}
	names, err := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("there are %d blobs: %v", len(names), err)
	}
}

// TestMixedManyInstances stores nothing of many data sets that wait for bulk data:
// what one of them costs does not depend on how many there are.
func TestMixedManyInstances(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	cost := func(n int) time.Duration {
		one := `{"7FE00010":{"vr":"OW","BulkDataURI":"a"}}`
		begun := time.Now()
		w.mixed(409, "application/dicom+json", piece{typ: "application/dicom+json", data: []byte("[" + strings.Repeat(one+",", n-1) + one + "]")})
		return time.Since(begun)
	}
	few, many := cost(500), cost(10_000)
	for range 9 { // the least of each: what else the machine does adds to some of them
		if many <= 100*few {
			return
		}
		few, many = min(few, cost(500)), min(many, cost(10_000))
	}
	t.Errorf("500 data sets take %v, 10,000 take %v", few, many) // 400 times when each looks at all
}

// TestMixedTooMany has more small things that wait than a request may have.
func TestMixedTooMany(t *testing.T) {
	w := newWorld(t, dicom.Config{})
	var sets, refs strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&sets, `,{"7FE00010":{"vr":"OB","BulkDataURI":"%d"}}`, i%3)
	}
	for i := range 50_001 {
		fmt.Fprintf(&refs, `,"%08X":{"vr":"OB","BulkDataURI":"a"}`, 0x00090000+i*0x00020000%0x60000000+i/0x3000*8+1)
	}
	for name, text := range map[string]string{"sets": sets.String()[1:], "references": "{" + refs.String()[1:] + "}"} {
		got := w.mixed(413, "application/dicom+json", piece{"application/dicom+json", "", []byte("[" + text + "]")})
		if !strings.Contains(got, "wait for bulk data") {
			t.Errorf("%s: %s", name, got)
		}
	}
	w.want(204, "GET", "/v2/studies")
	var pieces []piece // of which one waits at a time
	for i := range 10_001 {
		pieces = append(pieces, piece{"application/dicom+json", "", fmt.Appendf(nil, `[{"7FE00010":{"vr":"OB","BulkDataURI":"%d"}}]`, i)},
			piece{"application/octet-stream", strconv.Itoa(i), []byte("xx")})
	}
	w.mixed(409, "application/dicom+json", pieces...)
}
