package codec

import (
	"errors"
	"math/bits"
)

// lsBits reads the bits of a JPEG-LS scan: after FF the next byte has seven
// bits (section C.1).
type lsBits struct {
	src  []byte
	pos  int
	acc  uint64
	n    uint
	ff   bool // the last byte was FF
	over uint
}

func (b *lsBits) fill() {
	for b.n <= 48 {
		if b.pos >= len(b.src) || b.ff && b.src[b.pos]&0x80 != 0 || b.src[b.pos] == 0xFF && b.pos+1 < len(b.src) && b.src[b.pos+1]&0x80 != 0 {
			b.acc <<= 8
			b.n += 8
			b.over += 8
			b.ff = false
			continue
		}
		v := b.src[b.pos]
		b.pos++
		w := uint(8)
		if b.ff {
			w = 7
		}
		b.acc = b.acc<<w | uint64(v)
		b.n += w
		b.ff = v == 0xFF
	}
}

func (b *lsBits) short() bool { return b.over > b.n }

// bits returns n bits, n <= 32.
func (b *lsBits) bits(n uint) int {
	if n == 0 {
		return 0
	}
	if b.n < n {
		b.fill()
	}
	b.n -= n
	return int(b.acc >> b.n & (1<<n - 1))
}

// zeros counts the zero bits before the next one, and takes both; more than
// limit are not looked for.
func (b *lsBits) zeros(limit int) int {
	count := 0
	for {
		if b.n < 32 {
			b.fill()
		}
		left := b.acc << (64 - b.n)
		z := min(bits.LeadingZeros64(left), int(b.n))
		if z < int(b.n) {
			b.n -= uint(z) + 1
			return count + z
		}
		count += z
		b.n = 0
		if count > limit {
			return count
		}
	}
}

// context is the statistics of one context (section A.2).
type context struct{ a, b, c, n int32 }

// lsScan is the state of a scan (ITU-T T.87 annex A).
type lsScan struct {
	bits              lsBits
	maxval, near      int
	t1, t2, t3, reset int
	span              int // RANGE
	qbpp, limit       int
	step              int // 2*near+1
	ctx               [365]context
	run               [2]context // b counts the negative errors
	quantized         []int8     // of a gradient between -t3 and t3
}

// runOrder is J, the order of run lengths (section A.2.1).
var runOrder = [32]uint8{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// newLSScan sets the parameters of a scan (sections A.2.1 and C.2.4.1.1).
func newLSScan(p lsPreset, precision, near int) (*lsScan, error) {
	s := &lsScan{maxval: p.maxval, near: near, t1: p.t1, t2: p.t2, t3: p.t3, reset: p.reset, step: 2*near + 1}
	if s.maxval == 0 {
		s.maxval = 1<<precision - 1
	}
	if s.maxval >= 1<<precision || near > min(255, s.maxval/2) {
		return nil, errors.New("the preset parameters are impossible")
	}
	s.thresholds()
	if s.reset == 0 {
		s.reset = 64
	}
	if s.reset < 3 || s.t1 < near+1 || s.t2 < s.t1 || s.t3 < s.t2 || s.t3 > s.maxval {
		return nil, errors.New("the preset parameters are impossible")
	}
	s.span = (s.maxval+2*near)/s.step + 1
	s.qbpp = bits.Len(uint(s.span - 1))
	bpp := max(2, bits.Len(uint(s.maxval)))
	s.limit = 2 * (bpp + max(8, bpp))
	a := int32(max(2, (s.span+32)/64))
	for i := range s.ctx {
		s.ctx[i] = context{a: a, n: 1}
	}
	s.run[0], s.run[1] = context{a: a, n: 1}, context{a: a, n: 1}
	s.quantized = make([]int8, 2*s.t3+1)
	for i := range s.quantized {
		s.quantized[i] = s.quantize(i - s.t3)
	}
	return s, nil
}

// thresholds fills in those that are not given.
func (s *lsScan) thresholds() {
	clamp := func(v, least int) int {
		if v > s.maxval || v < least {
			return least
		}
		return v
	}
	var t1, t2, t3 int
	if s.maxval >= 128 {
		f := (min(s.maxval, 4095) + 128) / 256
		t1, t2, t3 = f*(3-2)+2+3*s.near, f*(7-3)+3+5*s.near, f*(21-4)+4+7*s.near
	} else {
		f := 256 / (s.maxval + 1)
		t1, t2, t3 = max(2, 3/f+3*s.near), max(3, 7/f+5*s.near), max(4, 21/f+7*s.near)
	}
	if s.t1 == 0 {
		s.t1 = clamp(t1, s.near+1)
	}
	if s.t2 == 0 {
		s.t2 = clamp(t2, s.t1)
	}
	if s.t3 == 0 {
		s.t3 = clamp(t3, s.t2)
	}
}

func (s *lsScan) quantize(d int) int8 {
	switch {
	case d <= -s.t3:
		return -4
	case d <= -s.t2:
		return -3
	case d <= -s.t1:
		return -2
	case d < -s.near:
		return -1
	case d <= s.near:
		return 0
	case d < s.t1:
		return 1
	case d < s.t2:
		return 2
	case d < s.t3:
		return 3
	}
	return 4
}

// lines are two rows of a component with one sample before and one behind.
type lines struct {
	cur, prev []int32
	index     int // RUNindex
}

func newLines(n, w int) []lines {
	l := make([]lines, n)
	for i := range l {
		l[i].cur, l[i].prev = make([]int32, w+2), make([]int32, w+2)
	}
	return l
}

// next swaps the rows and sets the samples at the edges (section A.2.1).
func (l *lines) next(w int) {
	l.cur, l.prev = l.prev, l.cur
	l.prev[w+1] = l.prev[w]
	l.cur[0] = l.prev[1]
}

// store copies the row that was decoded into the plane.
func (l *lines) store(c *component, y int) {
	row := c.plane[y*c.stride:][:c.w]
	for x := range row {
		row[x] = uint16(l.cur[x+1])
	}
}

// byLine decodes components one by one, or interleaved by line.
func (s *lsScan) byLine(list []*component) error {
	w := list[0].w
	rows := newLines(len(list), w)
	for y := range list[0].ht {
		for i, c := range list {
			rows[i].next(w)
			if err := s.line(&rows[i], w); err != nil {
				return err
			}
			rows[i].store(c, y)
		}
		if s.bits.short() {
			return errCut
		}
	}
	return nil
}

// contextOf gives the number of the context with its sign; 0 is the run mode.
func (s *lsScan) contextOf(cur, prev []int32, x int) int {
	a, b, c, d := cur[x-1], prev[x], prev[x-1], prev[x+1]
	return (s.gradient(d-b)*9+s.gradient(b-c))*9 + s.gradient(c-a)
}

// gradient quantizes a difference of neighbours (section A.3.3).
func (s *lsScan) gradient(d int32) int {
	t := int32(s.t3)
	return int(s.quantized[min(max(d, -t), t)+t])
}

// line decodes one row of one component.
func (s *lsScan) line(l *lines, w int) error {
	cur, prev := l.cur, l.prev
	for x := 1; x <= w; {
		q := s.contextOf(cur, prev, x)
		if q != 0 {
			cur[x] = s.regular(q, cur[x-1], prev[x], prev[x-1])
			x++
			continue
		}
		n, cut := s.runLength(&l.index, w-x+1)
		a := cur[x-1]
		for range n {
			cur[x] = a
			x++
		}
		if !cut {
			continue
		}
		b := prev[x]
		kind := 0
		if d := a - b; d <= int32(s.near) && -d <= int32(s.near) {
			kind = 1
		}
		cur[x] = s.interrupted(kind, a, b, l.index)
		if l.index > 0 {
			l.index--
		}
		x++
		if s.bits.short() {
			return errCut
		}
	}
	return nil
}

// bySample decodes components interleaved by sample: a run is one of all of them.
func (s *lsScan) bySample(list []*component) error {
	w := list[0].w
	rows := newLines(len(list), w)
	index := 0
	for y := range list[0].ht {
		for i := range rows {
			rows[i].next(w)
		}
		for x := 1; x <= w; {
			if s.anyContext(rows, x) {
				for i := range rows {
					cur, prev := rows[i].cur, rows[i].prev
					cur[x] = s.regular(s.contextOf(cur, prev, x), cur[x-1], prev[x], prev[x-1])
				}
				x++
				continue
			}
			n, cut := s.runLength(&index, w-x+1)
			for i := range rows {
				for j := range n {
					rows[i].cur[x+j] = rows[i].cur[x-1]
				}
			}
			if x += n; !cut {
				continue
			}
			for i := range rows {
				rows[i].cur[x] = s.interrupted(0, rows[i].cur[x-1], rows[i].prev[x], index)
			}
			if index > 0 {
				index--
			}
			x++
		}
		for i, c := range list {
			rows[i].store(c, y)
		}
		if s.bits.short() {
			return errCut
		}
	}
	return nil
}

func (s *lsScan) anyContext(rows []lines, x int) bool {
	for i := range rows {
		if s.contextOf(rows[i].cur, rows[i].prev, x) != 0 {
			return true
		}
	}
	return false
}

// runLength decodes how many samples repeat, of at most left; cut says that
// another one follows in this row (section A.7.1).
func (s *lsScan) runLength(index *int, left int) (n int, cut bool) {
	for s.bits.bits(1) == 1 {
		k := 1 << runOrder[*index]
		if n+k <= left && *index < 31 {
			*index++
		}
		if n += k; n >= left {
			return left, false
		}
		if s.bits.short() {
			return left, false
		}
	}
	n += s.bits.bits(uint(runOrder[*index]))
	if n >= left {
		return left, false // damaged: a cut run ends before the row does
	}
	return n, true
}

// golomb decodes a value of the limited Golomb code (section A.5.3).
func (s *lsScan) golomb(k uint, limit int) int {
	q := s.bits.zeros(limit)
	if q < limit-s.qbpp-1 {
		return q<<k | s.bits.bits(k)
	}
	return s.bits.bits(uint(s.qbpp)) + 1
}

// regular decodes a sample in the regular mode (sections A.4 to A.6).
func (s *lsScan) regular(q int, a, b, c int32) int32 {
	sign := int32(1)
	if q < 0 {
		q, sign = -q, -1
	}
	ctx := &s.ctx[q]
	p := median(a, b, c) + sign*ctx.c
	p = min(max(p, 0), int32(s.maxval))
	k := uint(0)
	for ctx.n<<k < ctx.a && k < 24 {
		k++
	}
	m := int32(s.golomb(k, s.limit))
	var e int32
	if m&1 == 0 {
		e = m >> 1
	} else {
		e = -(m + 1) >> 1
	}
	if k == 0 && s.near == 0 && 2*ctx.b <= -ctx.n {
		e = -e - 1
	}
	ctx.update(e, int32(s.step), int32(s.reset))
	return s.reconstruct(p, sign*e)
}

// median is the edge detecting predictor (section A.4.1).
func median(a, b, c int32) int32 {
	lo, hi := min(a, b), max(a, b)
	switch {
	case c >= hi:
		return lo
	case c <= lo:
		return hi
	}
	return a + b - c
}

// reconstruct adds the error to the prediction, modulo the range.
func (s *lsScan) reconstruct(p, e int32) int32 {
	v := int(p) + int(e)*s.step
	if v < -s.near {
		v += s.span * s.step
	} else if v > s.maxval+s.near {
		v -= s.span * s.step
	}
	return int32(min(max(v, 0), s.maxval))
}

// update is section A.6.
func (c *context) update(e, step, reset int32) {
	c.b += e * step
	c.a += max(e, -e)
	if c.n == reset {
		c.a >>= 1
		c.b >>= 1
		c.n >>= 1
	}
	c.n++
	if c.b <= -c.n {
		c.b = max(c.b+c.n, -c.n+1)
		if c.c > -128 {
			c.c--
		}
	} else if c.b > 0 {
		c.b = min(c.b-c.n, 0)
		if c.c < 127 {
			c.c++
		}
	}
}

// interrupted decodes the sample that ends a run (section A.7.2).
func (s *lsScan) interrupted(kind int, a, b int32, index int) int32 {
	ctx := &s.run[kind]
	t := ctx.a
	if kind == 1 {
		t += ctx.n >> 1
	}
	k := uint(0)
	for ctx.n<<k < t && k < 24 {
		k++
	}
	em := int32(s.golomb(k, s.limit-int(runOrder[index])-1))
	v := em + int32(kind)
	odd := v & 1
	e := (v + odd) / 2
	if (k != 0 || 2*ctx.b >= ctx.n) == (odd == 1) {
		e = -e
	}
	if e < 0 {
		ctx.b++
	}
	ctx.a += (em + 1 - int32(kind)) >> 1
	if ctx.n == int32(s.reset) {
		ctx.a >>= 1
		ctx.b >>= 1
		ctx.n >>= 1
	}
	ctx.n++
	if kind == 1 {
		return s.reconstruct(a, e)
	}
	if a > b {
		e = -e
	}
	return s.reconstruct(b, e)
}
