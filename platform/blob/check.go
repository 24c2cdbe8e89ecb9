package blob

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// Checked returns r with a check: where r ends, what was read must have the
// SHA-256 sum, else Read fails instead of reporting the end. It is for whole
// blobs, not for ranges. Closing it closes r.
func Checked(r io.ReadCloser, sum []byte) io.ReadCloser {
	return &checked{r: r, h: sha256.New(), want: sum}
}

type checked struct {
	r    io.ReadCloser
	h    hash.Hash
	want []byte
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	if err == io.EOF && !bytes.Equal(c.h.Sum(nil), c.want) {
		err = &fault.Error{Kind: fault.Internal, Op: "blob: read", Msg: "the stored content is damaged"}
	}
	return n, err
}

// Close implements io.Closer.
func (c *checked) Close() error { return c.r.Close() }

// Received counts and sums what a backend takes in, and compares it with what
// the caller of Put promised. Backends of other packages use it too.
type Received struct {
	r    io.Reader
	h    hash.Hash
	n    int64
	want PutOptions
}

// Receive returns r as it is to be read by a backend.
func Receive(r io.Reader, opt PutOptions) *Received {
	return &Received{r: r, h: sha256.New(), want: opt}
}

// Read implements io.Reader. At the end it fails when the content is not what was promised.
func (c *Received) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	c.n += int64(n)
	if err == io.EOF {
		if bad := c.verify(); bad != nil {
			err = bad
		}
	}
	return n, err
}

func (c *Received) verify() error {
	if c.want.Size > 0 && c.n != c.want.Size {
		return fault.New(fault.Unprocessable, "%d bytes came where %d were announced", c.n, c.want.Size)
	}
	if c.want.SHA256 != nil && !bytes.Equal(c.Sum(), c.want.SHA256) {
		return fault.New(fault.Unprocessable, "the content does not have the announced SHA-256")
	}
	return nil
}

// Size returns the number of bytes read so far.
func (c *Received) Size() int64 { return c.n }

// Sum returns the SHA-256 of the bytes read so far.
func (c *Received) Sum() []byte { return c.h.Sum(nil) }
