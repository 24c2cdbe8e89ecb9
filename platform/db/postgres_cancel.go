package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// canceller asks the server to end a statement whose context has ended, and gives the
// connection up when it does not. The request goes by a connection of its own, and may
// be there when the statement is over: then it would end the next one on the connection,
// of somebody else. So the connection is used again when the server has let go of the
// request, which it does after it has signalled the session; what is pending there
// before the next statement arrives is dropped. A pause, which pgx has in this place,
// may be too short for a busy machine. It implements ctxwatch.Handler.
type canceller struct {
	pc       *pgconn.PgConn
	patience time.Duration // with the statement, and with the request
	over     chan struct{} // closed when nobody waits for the statement any more
	passed   chan bool     // gets whether no request is under way any more
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceller) HandleCancel(context.Context) {
	c.over, c.passed = make(chan struct{}), make(chan bool, 1)
	_ = c.pc.Conn().SetDeadline(time.Now().Add(c.patience)) // a closed one needs none
	go func() { c.passed <- c.ask() }()
}

// ask sends the request and waits until the server has let go of it.
func (c *canceller) ask() bool {
	select {
	case <-c.over:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	return c.pc.CancelRequest(ctx) == nil && ctx.Err() == nil
}

// HandleUnwatchAfterCancel implements ctxwatch.Handler.
func (c *canceller) HandleUnwatchAfterCancel() {
	close(c.over)
	if !<-c.passed {
		_ = c.pc.Close(context.Background()) // nobody is to be hit by it
		return
	}
	_ = c.pc.Conn().SetDeadline(time.Time{})
}
