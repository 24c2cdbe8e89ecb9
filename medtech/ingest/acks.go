package ingest

import "sync"

// ack is the acknowledgement of a message.
type ack struct {
	id  uint16
	qos byte
}

// outbox sends acknowledgements to a peer, in order, on a goroutine of its own
// that lives as long as there are some: a peer that does not read them holds up
// neither the Inbox nor other peers.
type outbox struct {
	send func(ack) error
	full func() // ends the connection of a peer that lets too many wait

	mu      sync.Mutex
	list    []ack
	sending bool
	closed  bool
	running sync.WaitGroup
}

// maxAcks is how many acknowledgements may wait for a peer: as many as there are
// packet identifiers (MQTT 3.1.1 section 2.3.1).
const maxAcks = 1 << 16

// put takes an acknowledgement. It never blocks. One that cannot be sent lets the
// peer send its message again.
func (o *outbox) put(a ack) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if len(o.list) >= maxAcks {
		o.closed, o.list = true, nil
		o.full()
		return
	}
	o.list = append(o.list, a)
	if !o.sending {
		o.sending = true
		o.running.Go(o.run)
	}
}

func (o *outbox) run() {
	for {
		o.mu.Lock()
		list := o.list
		o.list = nil
		if len(list) == 0 || o.closed {
			o.sending = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		for _, a := range list {
			if o.send(a) != nil {
				o.mu.Lock()
				o.closed = true
				o.mu.Unlock()
				break
			}
		}
	}
}

// close forgets what waits and waits for what is being sent, which ends when the
// connection does.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed, o.list = true, nil
	o.mu.Unlock()
	o.running.Wait()
}
