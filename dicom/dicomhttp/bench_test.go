package dicomhttp_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/dicom/dicomhttp"
	"github.com/hygeia-health/hygeia/dicom/dicomsql"
	"github.com/hygeia-health/hygeia/platform/blob"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// benchFile is a file like those of a CT, with 128 x 128 pixels; its instance
// UID has 12 digits that can be overwritten.
func benchFile(b *testing.B) (file []byte, at int) {
	b.Helper()
	f, err := dcm.Parse(fileOf(b, "MR_small.dcm"), dcm.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	const uid = "1.2.826.0.1.000000000000"
	f.Data.Put(dcm.NewText(dcm.TagSOPInstanceUID, dcm.UI, uid))
	f.Data.Put(dcm.Element{Tag: dcm.TagPixelData, VR: dcm.OW, Value: make([]byte, 128*128*2), Length: 128 * 128 * 2})
	f.Data.Put(dcm.Element{Tag: dcm.TagRows, VR: dcm.US, Value: []byte{128, 0}})
	f.Data.Put(dcm.Element{Tag: dcm.TagColumns, VR: dcm.US, Value: []byte{128, 0}})
	var out bytes.Buffer
	if err := dcm.Write(&out, f, dcm.ExplicitLittle, dcm.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes(), bytes.LastIndex(out.Bytes(), []byte(uid)) + len(uid) - 12
}

func benchWorld(b *testing.B) *world {
	b.Helper()
	dir := b.TempDir()
	store, err := dicomsql.Open(b.Context(), filepath.Join(dir, "dicom.db"), dicomsql.Options{})
	if err != nil {
		b.Fatal(err)
	}
	blobs, err := blob.OpenFolder(filepath.Join(dir, "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	room, err := dicom.New(dicom.Deps{Store: store, Blobs: blobs, Jobs: &fakeJobs{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { room.Close(); _ = store.Close() })
	return &world{store: store, room: room, Handler: dicomhttp.New(room, dicomhttp.Options{BasePath: "/w/s"})}
}

// BenchmarkStore measures one request with a number of files, fsync included.
func BenchmarkStore(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := benchWorld(b)
			file, at := benchFile(b)
			k := 0
			b.ReportAllocs()
			for b.Loop() {
				var body bytes.Buffer
				for range n {
					k++
					copy(file[at:], fmt.Sprintf("%012d", k))
					body.WriteString("--xyz\r\nContent-Type: application/dicom\r\n\r\n")
					body.Write(file)
					body.WriteString("\r\n")
				}
				body.WriteString("--xyz--\r\n")
				r := httptest.NewRequest("POST", "/w/s/v2/studies", &body)
				r.Header.Set("Content-Type", `multipart/related; type="application/dicom"; boundary=xyz`)
				rec := httptest.NewRecorder()
				w.ServeHTTP(rec, r)
				if rec.Code != 200 {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
}

// BenchmarkRetrieve measures one instance over loopback.
func BenchmarkRetrieve(b *testing.B) {
	w := benchWorld(b)
	file, _ := benchFile(b)
	r := httptest.NewRequest("POST", "/w/s/v2/studies", bytes.NewReader(file))
	r.Header.Set("Content-Type", "application/dicom")
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	f, err := dcm.Parse(file, dcm.Limits{})
	if err != nil || rec.Code >= 300 {
		b.Fatal(err, rec.Code, rec.Body)
	}
	path := fmt.Sprintf("/w/s/v2/studies/%s/series/%s/instances/%s", f.Data.String(dcm.TagStudyInstanceUID), f.Data.String(dcm.TagSeriesInstanceUID), f.Data.String(dcm.TagSOPInstanceUID))
	srv := httptest.NewServer(w)
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for _, tt := range []struct{ name, path, accept string }{
		{"instance", path, `multipart/related; type="application/dicom"; transfer-syntax=*`},
		{"frame", path + "/frames/1", `multipart/related; type="application/octet-stream"; transfer-syntax=*`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			br := bufio.NewReaderSize(c, 64<<10)
			req := []byte("GET " + tt.path + " HTTP/1.1\r\nHost: x\r\nAccept: " + tt.accept + "\r\n\r\n")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(req); err != nil {
					b.Fatal(err)
				}
				n := 0
				for {
					line, err := br.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if len(line) == 2 {
						break
					}
					if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
						n, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
					}
				}
				if n < 30_000 {
					b.Fatal(n)
				}
				if _, err := br.Discard(n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
