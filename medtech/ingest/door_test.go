package ingest

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// entrance is a listener of a test.
type entrance struct {
	net.Listener
	conns []net.Conn // nil: too many files are open
}

func (e *entrance) Accept() (net.Conn, error) {
	if len(e.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := e.conns[0]
	if e.conns = e.conns[1:]; c == nil {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return c, nil
}

// TestDoor goes on after an error, and ends a connection on which nothing is said.
func TestDoor(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	d := door{&entrance{conns: []net.Conn{nil, theirs}}, time.Millisecond}
	c, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that says nothing: %v", err)
	}
	if _, err := d.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
