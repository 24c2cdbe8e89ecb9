package events

import (
	"errors"
	"sync"
)

var errForgotten = errors.New("forgotten")

// tailSize is how many events a tail keeps at most.
const tailSize = 5000

// tail is the end of the log in memory, as far as this node wrote it: dispatchers
// that keep up do not read the store, however many they are.
type tail struct {
	mu   sync.Mutex
	list []Event // their positions follow each other; never changed in place
}

// add takes what was appended to the log. After an error nobody knows what the log
// has, so that nothing is kept.
func (t *tail) add(first int64, source string, changes []Change, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.list = nil
		return
	}
	if len(changes) == 0 {
		return
	}
	if n := len(t.list); n > 0 && t.list[n-1].Seq+1 != first {
		t.list = nil
	}
	if over := len(t.list) + len(changes) - tailSize; over > 0 {
		t.list = append([]Event(nil), t.list[min(over+tailSize/2, len(t.list)):]...)
	}
	for i := range changes {
		t.list = append(t.list, Event{Seq: first + int64(i), Source: source, Change: changes[i]})
	}
}

// forget is called when other nodes may write.
func (t *tail) forget() { t.add(0, "", nil, errForgotten) }

// after returns up to limit events after a position; not ok when the store has to
// be asked.
func (t *tail) after(pos int64, limit int) (list []Event, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 || pos+1 < t.list[0].Seq {
		return nil, false
	}
	from := min(int(pos+1-t.list[0].Seq), len(t.list))
	return t.list[from:min(from+limit, len(t.list))], true
}
