package blob

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/hygeia-health/hygeia/platform/fault"
)

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
