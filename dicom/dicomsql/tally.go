package dicomsql

import (
	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/db"
)

// tallyBlock is how many keys of instances are counted together; it is in
// migrations/0009_tally.sql too. Most of them are there: a key is the number of a change.
const tallyBlock = 1024

// tallied names a block of keys.
type tallied struct{ part, block int64 }

// tally notes that an instance was added (n = 1) or removed (-1).
func (p *putting) tally(part, iid, n int64) {
	if p.counts == nil {
		p.counts = map[tallied]int64{}
	}
	p.counts[tallied{part, iid / tallyBlock}] += n
}

func (p *putting) saveTally() error {
	for at, n := range p.counts {
		if n == 0 {
			continue
		}
		left := int64(0)
		err := p.c.Query("INSERT INTO tally (pid, block, n) VALUES ($1, $2, $3) ON CONFLICT (pid, block) DO UPDATE SET n = tally.n + excluded.n RETURNING n",
			func(st *db.Stmt) error { left = st.ColInt(0); return nil }, at.part, at.block, n)
		if err == nil && left == 0 {
			err = p.c.Exec("DELETE FROM tally WHERE pid = $1 AND block = $2", at.part, at.block)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// farOffset is the offset from which on it is worth looking for the page.
var farOffset = 4 * tallyBlock

// skip finds the page of a search for all instances: its matches have keys below
// one, and the offset counts from there.
func skip(c *db.Conn, q *dicom.Query) (below int64, offset int, err error) {
	offset = q.Offset
	if q.Level != dicom.LevelInstance || offset < farOffset || len(q.Filters) > 0 || q.Under.Study != "" || q.After != nil {
		return 0, offset, nil
	}
	block, n := int64(-1), int64(0)
	rest := int64(offset)
	err = c.Query("SELECT block, n FROM tally WHERE pid = $1 ORDER BY block DESC", func(st *db.Stmt) error {
		if rest >= 0 && n <= rest {
			rest -= n
			block, n = st.ColInt(0), st.ColInt(1)
		}
		return nil
	}, int64(q.Partition))
	return (block + 1) * tallyBlock, int(rest), err
}
