package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hygeia-health/hygeia/spec/resource"
)

// requestTimeout bounds one request; a large transaction on a slow server takes long.
const requestTimeout = 5 * time.Minute

// target is a server: where to connect and what to send with each request.
type target struct {
	addr   string
	path   string
	tls    bool
	header string
	pid    int // the process behind it, 0 if unknown
}

func newTarget(base, token string) (*target, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	t := &target{addr: u.Host, path: strings.TrimRight(u.EscapedPath(), "/"), tls: u.Scheme == "https"}
	switch {
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("bench: %q is not an http URL", base)
	case u.Port() == "" && t.tls:
		t.addr = net.JoinHostPort(u.Hostname(), "443")
	case u.Port() == "":
		t.addr = net.JoinHostPort(u.Hostname(), "80")
	}
	t.header = "Host: " + u.Host + "\r\nAccept: application/fhir+json\r\n"
	if token != "" {
		t.header += "Authorization: Bearer " + token + "\r\n"
	}
	return t, nil
}

// conn is one keep-alive connection that sends one request at a time. It is
// written by hand because the client shares the machine with the server: what
// net/http spends on a request would be missing at the server.
type conn struct {
	t   *target
	nc  net.Conn
	br  *bufio.Reader
	out []byte
	ans answer
	doc resource.Doc
}

// answer is a response. Its body is valid until the next request of the conn.
type answer struct {
	status   int
	location string
	body     []byte
	doc      *resource.Doc
}

func (t *target) conn() *conn { return &conn{t: t} }

func (c *conn) close() {
	if c.nc != nil {
		c.nc.Close()
		c.nc = nil
	}
}

func (c *conn) dial(ctx context.Context) error {
	d := net.Dialer{Timeout: 10 * time.Second}
	nc, err := d.DialContext(ctx, "tcp", c.t.addr)
	if err != nil {
		return err
	}
	if c.t.tls {
		host, _, _ := net.SplitHostPort(c.t.addr)
		nc = tls.Client(nc, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c.nc, c.br = nc, bufio.NewReaderSize(nc, 32<<10)
	return nil
}

// do sends a request and reads the whole answer. A connection that the server
// closed while it was idle is opened again once.
func (c *conn) do(ctx context.Context, method, path string, body []byte, header ...string) (*answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	idle := c.nc != nil
	a, err := c.try(ctx, method, path, body, header)
	if err != nil && idle && (errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)) && method == "GET" {
		a, err = c.try(ctx, method, path, body, header)
	}
	return a, err
}

func (c *conn) try(ctx context.Context, method, path string, body []byte, header []string) (*answer, error) {
	if c.nc == nil {
		if err := c.dial(ctx); err != nil {
			return nil, err
		}
	}
	b := append(c.out[:0], method...)
	b = append(b, ' ')
	b = append(b, c.t.path...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = append(b, c.t.header...)
	for _, h := range header {
		b = append(append(b, h...), "\r\n"...)
	}
	if body != nil {
		b = append(b, "Content-Type: application/fhir+json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	c.out = b
	err := c.nc.SetDeadline(time.Now().Add(requestTimeout))
	if err == nil && len(body) < 16<<10 {
		c.out = append(b, body...)
		_, err = c.nc.Write(c.out)
	} else if err == nil {
		parts := net.Buffers{b, body}
		_, err = parts.WriteTo(c.nc)
	}
	if err == nil {
		err = c.receive(method)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return &c.ans, nil
}

// receive reads a response into c.ans.
func (c *conn) receive(method string) error {
	a := &c.ans
	*a = answer{body: a.body[:0], doc: &c.doc}
	line, err := c.br.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return fmt.Errorf("not an HTTP response: %q", clip(line))
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return fmt.Errorf("not an HTTP response: %q", clip(line))
	}
	length, chunked, last := -1, false, false
	for {
		line, err = c.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case equalFold(name, "Content-Length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return fmt.Errorf("Content-Length %q", value)
			}
		case equalFold(name, "Transfer-Encoding"):
			chunked = equalFold(value, "chunked")
		case equalFold(name, "Connection"):
			last = equalFold(value, "close")
		case equalFold(name, "Location"):
			a.location = string(value)
		}
	}
	switch {
	case method == "HEAD" || a.status == 204 || a.status == 304:
	case chunked:
		err = c.chunks()
	case length >= 0:
		a.body = append(a.body, make([]byte, length)...)
		_, err = io.ReadFull(c.br, a.body)
	default:
		last = true
		a.body, err = io.ReadAll(c.br)
	}
	if last {
		c.close()
	}
	return err
}

// chunks reads a body in chunked form, and its empty trailer.
func (c *conn) chunks() error {
	buf := bytes.NewBuffer(c.ans.body)
	_, err := buf.ReadFrom(httputil.NewChunkedReader(c.br))
	c.ans.body = buf.Bytes()
	for err == nil {
		var line []byte
		line, err = c.br.ReadSlice('\n')
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	return err
}

// equalFold compares a header's name or value without allocating.
func equalFold(b []byte, s string) bool {
	return len(b) == len(s) && strings.EqualFold(string(b), s)
}

// tree parses the body as JSON.
func (a *answer) tree() (resource.Node, error) {
	if err := a.doc.Parse(a.body, resource.Options{}); err != nil {
		return resource.Node{}, err
	}
	return a.doc.Root(), nil
}

// entries counts the entries of a Bundle without parsing it.
func (a *answer) entries() int { return bytes.Count(a.body, []byte(`"fullUrl"`)) }

// total reads Bundle.total.
func (a *answer) total() (int, bool) {
	root, err := a.tree()
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(root.Get("total").Text())
	return n, err == nil
}

// clip shortens a body for a message.
func clip(b []byte) string {
	const most = 300
	s := strings.Join(strings.Fields(string(b)), " ")
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
