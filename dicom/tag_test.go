package dicom

import (
	"context"
	"sync"
	"testing"
	"time"
)

// slowTags is a store whose first answer is old by the time that it comes.
type slowTags struct {
	Index
	mu      sync.Mutex
	version int64
	read    chan struct{} // closed when the first call has read the list
	release chan struct{} // closed when it may return
}

// Tags implements Tags.
func (s *slowTags) Tags(context.Context) ([]*ExtendedTag, int64, error) {
	s.mu.Lock()
	s.version++
	version := s.version
	s.mu.Unlock()
	if version == 1 {
		close(s.read)
		<-s.release
	}
	return nil, version, nil
}

// TestTagsDoNotGoBack has a follower read the list of tags while the request
// that changed it does: what the request has seen stays.
func TestTagsDoNotGoBack(t *testing.T) {
	store := &slowTags{read: make(chan struct{}), release: make(chan struct{})}
	s := &Service{store: store}
	var all sync.WaitGroup
	load := func() {
		if err := s.loadTags(t.Context()); err != nil {
			t.Error(err)
		}
	}
	all.Go(load)
	<-store.read
	second := make(chan struct{})
	all.Go(func() { load(); close(second) })
	select {
	case <-second:
	case <-time.After(20 * time.Millisecond): // it waits for the first
	}
	close(store.release)
	all.Wait()
	if got := s.tags.p.Load().version; got != 2 {
		t.Errorf("version %d, want 2", got)
	}
}
