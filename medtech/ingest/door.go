package ingest

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// helloTime is how long a client of the built-in broker may take to say who it is.
const helloTime = 10 * time.Second

// acceptPause follows an attempt to accept a connection that failed.
const acceptPause = 50 * time.Millisecond

// listen opens the address of a Broker.
func listen(o Options) (net.Listener, error) {
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	ln = door{ln, helloTime}
	if o.TLS != nil {
		ln = tls.NewListener(ln, o.TLS)
	}
	return ln, nil
}

// door is a listener that closes connections on which nobody says anything; the
// server moves the deadline when somebody has. It goes on when a connection cannot
// be accepted, because there are too many files open or it is gone already, where
// the server would never listen again.
type door struct {
	net.Listener
	hello time.Duration
}

// Accept implements net.Listener.
func (d door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err == nil {
			return conn, conn.SetDeadline(time.Now().Add(d.hello))
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		time.Sleep(acceptPause)
	}
}
