package dicom

import "time"

// Several connections that store one small file a request each are the usual
// way in which a modality sends a series. What such requests cost is the two
// times that something is brought to disk, the file and the index, and the pages of the index
// that change. So they should share them, and go in step: while a small group
// is on its way, the next one gathers, and it waits a little for those
// that were just answered to come again.

const (
	// smallGroup is the size below which groups go in step. Larger ones have enough
	// to share, and the next one is written while the index takes them.
	smallGroup = 512 << 10
	// patience is how long a group waits for company. Without it, who comes a moment
	// later waits longer: for all that the group still has to do.
	patience = time.Millisecond
	// maxSettle is how long a group waits for the index to take the one before it,
	// which may be busy with other work.
	maxSettle = time.Second
	// maxVain bounds how rarely waiting is tried when nobody comes: every 1 << maxVain groups.
	maxVain = 6
)

// await lets others join a group until there are as many as of late, or all
// that are being read are there and patience has ended.
func (g *grower) await(group []*packing) []*packing {
	size := sizeOf(group)
	if g.blob == nil || len(group) >= g.company || size >= smallGroup {
		return group
	}
	if g.skip > 0 {
		g.skip--
		return group
	}
	alone := len(group)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for late := false; !late && len(group) < g.company && size < smallGroup; {
		select {
		case w, ok := <-g.p.in:
			if !ok {
				return group
			}
			group = append(group, w)
			size += w.size
		case <-timer.C:
			late = true
		}
	}
	if len(group) > alone {
		g.vain = 0
	} else {
		g.vain = min(g.vain+1, maxVain)
		g.skip = 1<<g.vain - 1
	}
	return group
}

// settle waits until the index has a small group, and notes how many requests
// there were meanwhile.
func (g *grower) settle(group []*packing, decided chan struct{}) {
	if g.pack == nil || sizeOf(group) >= smallGroup {
		g.company = 0
		return
	}
	timer := time.NewTimer(maxSettle)
	defer timer.Stop()
	select {
	case <-decided:
	case <-timer.C:
	}
	g.company = len(group) + len(g.p.in) + max(int(g.p.coming.Load()), 0)
}

func sizeOf(group []*packing) (size int64) {
	for _, w := range group {
		size += w.size
	}
	return size
}
