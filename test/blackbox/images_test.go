package blackbox

import (
	"bytes"
	"crypto/sha256"
	little "encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const (
	imageSize   = 512 // rows and columns
	imageFrames = 64  // of 512 KiB
)

// multiFrame gives a DICOM file of 32 MiB as it is read: the header, and frames
// that begin with their number.
func multiFrame(sop string) io.Reader {
	element := func(group, number uint16, vr, value string) string {
		if len(value)%2 == 1 {
			value += map[bool]string{true: "\x00", false: " "}[vr == "UI"]
		}
		b := little.LittleEndian.AppendUint16(little.LittleEndian.AppendUint16(nil, group), number)
		return string(b) + vr + string(little.LittleEndian.AppendUint16(nil, uint16(len(value)))) + value
	}
	us := func(number uint16, v uint16) string {
		return element(0x28, number, "US", string(little.LittleEndian.AppendUint16(nil, v)))
	}
	const class = "1.2.840.10008.5.1.4.1.1.2.1"
	meta := element(2, 2, "UI", class) + element(2, 3, "UI", sop) + element(2, 0x10, "UI", "1.2.840.10008.1.2.1")
	head := strings.Repeat("\x00", 128) + "DICM" + element(2, 0, "UL", string(little.LittleEndian.AppendUint32(nil, uint32(len(meta))))) + meta +
		element(8, 0x16, "UI", class) + element(8, 0x18, "UI", sop) + element(0x10, 0x20, "LO", "P1") +
		element(0x20, 0xD, "UI", "1.2.7") + element(0x20, 0xE, "UI", "1.2.7.1") + us(2, 1) + element(0x28, 4, "CS", "MONOCHROME2") +
		element(0x28, 8, "IS", fmt.Sprint(imageFrames)) + us(0x10, imageSize) + us(0x11, imageSize) + us(0x100, 16) + us(0x101, 12) + us(0x102, 11) + us(0x103, 0) +
		"\xE0\x7F\x10\x00OW\x00\x00" + string(little.LittleEndian.AppendUint32(nil, imageFrames*imageSize*imageSize*2))
	parts := []io.Reader{strings.NewReader(head)}
	for n := range imageFrames {
		parts = append(parts, bytes.NewReader(imageFrame(n + 1)[:8]), bytes.NewReader(imageRest))
	}
	return io.MultiReader(parts...)
}

var imageRest = bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 0}, imageSize*imageSize/4-1)

// imageFrame is a frame, counted from 1.
func imageFrame(n int) []byte {
	return append(little.LittleEndian.AppendUint64(nil, uint64(n)), imageRest...)
}

// TestLargeImages stores objects of 32 MiB over four connections at once, and
// reads them back in all the ways that there are. The server never holds one of them.
func TestLargeImages(t *testing.T) {
	p := start(t, t.TempDir())
	base := p.url + "/default/dicom/v2/studies"
	each := func(f func(sop, path string) error) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				sop := fmt.Sprintf("1.2.7.1.%d", i)
				if err := f(sop, base+"/1.2.7/series/1.2.7.1/instances/"+sop); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	each(func(sop, _ string) error {
		body, contentType := multiFrame(sop), "application/dicom"
		if sop > "1.2.7.1.1" {
			contentType = `multipart/related; type="application/dicom"; boundary=xyzzy`
			body = io.MultiReader(strings.NewReader("--xyzzy\r\nContent-Type: application/dicom\r\n\r\n"), body, strings.NewReader("\r\n--xyzzy--\r\n"))
		}
		status, _, _, err := exchange("POST", base, body, "Content-Type", contentType)
		if err == nil && status != 200 {
			err = fmt.Errorf("store: %d", status)
		}
		return err
	})
	file := func(sop string) string { return sum(multiFrame(sop)) }
	for _, r := range []struct {
		path, accept string
		size         int64
		sum          func(sop string) string // of the whole answer; nil: not known
	}{
		{"", "application/dicom; transfer-syntax=*", 0, file},
		{"", `multipart/related; type="application/dicom"`, 0, nil},
		{"", "application/dicom; transfer-syntax=1.2.840.10008.1.2", 0, nil},
		{"", "application/dicom; transfer-syntax=1.2.840.10008.1.2.5", 0, nil},
		{"/frames/1", "application/octet-stream", 0, func(string) string { return sum(bytes.NewReader(imageFrame(1))) }},
		{fmt.Sprintf("/frames/%d", imageFrames), "application/octet-stream", 0, func(string) string { return sum(bytes.NewReader(imageFrame(imageFrames))) }},
		{"/frames/10,20,30,40", `multipart/related; type="application/octet-stream"`, 4 * imageSize * imageSize * 2, nil},
		{"/frames/33/rendered", "image/jpeg", 100, nil},
		{"/rendered", "image/png", 100, nil},
		{"/thumbnail", "image/jpeg", 100, nil},
		{"/bulkdata/7FE00010", "application/octet-stream", imageFrames * imageSize * imageSize * 2, nil},
	} {
		each(func(sop, path string) error {
			status, n, got, err := exchange("GET", path+r.path, nil, "Accept", r.accept)
			if err != nil || status != 200 || n < r.size || r.sum != nil && r.sum(sop) != got {
				return fmt.Errorf("%s as %s: %d, %d bytes, %v", r.path, r.accept, status, n, err)
			}
			return nil
		})
	}
	if peak, ok := peakMemory(p.cmd.Process.Pid); ok {
		t.Logf("the server took %d MiB at most", peak/mib)
		if peak > 128*mib {
			t.Error("that is too much")
		}
	}
	p.stop(t)
}

// exchange sends a request whose body is read as it is sent, and reads the answer
// without keeping it.
func exchange(method, url string, body io.Reader, header, value string) (status int, n int64, sum string, err error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return 0, 0, "", err
	}
	r.Header.Set(header, value)
	res, err := client.Do(r)
	if err != nil {
		return 0, 0, "", err
	}
	defer res.Body.Close()
	h := sha256.New()
	n, err = io.Copy(h, res.Body)
	return res.StatusCode, n, hex.EncodeToString(h.Sum(nil)), err
}

func sum(r io.Reader) string {
	h := sha256.New()
	_, _ = io.Copy(h, r) // of memory, which never fails
	return hex.EncodeToString(h.Sum(nil))
}
