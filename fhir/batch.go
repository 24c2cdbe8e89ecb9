package fhir

import (
	"context"
	"sync"
)

// batchWidth is how many entries of a batch run at the same time. Their writes
// then share one commit of the store.
const batchWidth = 16

// Batch does each interaction on its own (R4 section 3.1.0.11.1). A failure is
// in the Err of its answer and leaves the others alone. Neighbours that do not
// touch the same resource run together; all others keep the order of the
// request.
func (s *Service) Batch(ctx context.Context, ins []*Interaction) []*Response {
	out := make([]*Response, len(ins))
	if err := s.bundleSize(len(ins)); err != nil {
		for i := range out {
			out[i] = &Response{Err: err}
		}
		return out
	}
	found := reads{pages: make(chan struct{}, pagesWidth)}
	for start := 0; start < len(ins); {
		end := batchRun(ins, start)
		s.together(ctx, ins[start:end], out[start:end], &found)
		start = end
	}
	return out
}

// batchClass says which entries may run beside each other.
type batchClass uint8

const (
	batchAlone batchClass = iota // conditions and everything unusual
	batchRead
	batchWrite
)

func classOf(in *Interaction) batchClass {
	switch in.Verb {
	case VerbRead, VerbVRead, VerbSearch, VerbHistory:
		return batchRead
	case VerbCreate:
		if !in.HasIfNoneExist && in.IfNoneExist == "" {
			return batchWrite
		}
	case VerbUpdate, VerbPatch, VerbDelete:
		if !in.Conditional {
			return batchWrite
		}
	}
	return batchAlone
}

// batchRun returns the end of the run of entries from start that may run together.
func batchRun(ins []*Interaction, start int) int {
	class := classOf(ins[start])
	end := start + 1
	if class == batchAlone {
		return end
	}
	written := map[Key]bool{}
	if class == batchWrite && ins[start].ID != "" {
		written[Key{ins[start].Type, ins[start].ID}] = true
	}
	for ; end < len(ins) && classOf(ins[end]) == class; end++ {
		if in := ins[end]; class == batchWrite && in.ID != "" {
			k := Key{in.Type, in.ID}
			if written[k] {
				break
			}
			written[k] = true
		}
	}
	return end
}

// together does ins and waits for all of them.
func (s *Service) together(ctx context.Context, ins []*Interaction, out []*Response, found *reads) {
	if len(ins) == 1 {
		out[0] = s.settled(ctx, ins[0], found)
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(batchWidth, len(ins)) {
		wg.Go(func() {
			for i := range next {
				out[i] = s.settled(ctx, ins[i], found)
			}
		})
	}
	for i := range ins {
		next <- i
	}
	close(next)
	wg.Wait()
}
