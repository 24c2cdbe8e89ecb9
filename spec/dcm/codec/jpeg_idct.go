package codec

// idct is the inverse transform of Loeffler, Ligtenberg and Moschytz (ICASSP
// 1989) in integers: 12 multiplications for 8 values, constants of 13 bits.
// Rows keep some bits more than the result, fewer for samples of 12 bits.
type idct struct {
	extra  uint  // bits that the first pass keeps
	max    int32 // largest sample
	center int32
}

const constBits = 13

// The constants, times 2^13: sums of cosines of multiples of pi/16 times sqrt 2.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172
)

func newIDCT(precision int) idct {
	t := idct{extra: 2, max: 1<<precision - 1, center: 1 << (precision - 1)}
	if precision > 8 {
		t.extra = 1
	}
	return t
}

// block transforms the coefficients of a block and writes 8 rows of samples.
func (t idct) block(b *[64]int32, dst []uint16, stride int) {
	var work [64]int64
	for x := range 8 {
		t.column(b, &work, x)
	}
	shift := constBits + t.extra + 3
	for y := range 8 {
		var r [8]int64
		transform((*[8]int64)(work[8*y:8*y+8]), &r)
		row := dst[y*stride:][:8]
		for x := range r {
			row[x] = t.sample(round(r[x], shift))
		}
	}
}

// column transforms one column into work.
func (t idct) column(b *[64]int32, work *[64]int64, x int) {
	if b[8+x]|b[16+x]|b[24+x]|b[32+x]|b[40+x]|b[48+x]|b[56+x] == 0 {
		v := int64(b[x]) << t.extra
		for y := range 8 {
			work[8*y+x] = v
		}
		return
	}
	var in, out [8]int64
	for y := range 8 {
		in[y] = int64(b[8*y+x])
	}
	transform(&in, &out)
	for y := range 8 {
		work[8*y+x] = round(out[y], constBits-t.extra)
	}
}

func round(v int64, shift uint) int64 { return (v + 1<<(shift-1)) >> shift }

func (t idct) sample(v int64) uint16 {
	v += int64(t.center)
	return uint16(min(max(v, 0), int64(t.max)))
}

// transform is the one-dimensional transform; its results are scaled by 2^13.
func transform(in, out *[8]int64) {
	z := (in[2] + in[6]) * fix0541
	t2, t3 := z-in[6]*fix1847, z+in[2]*fix0765
	t0, t1 := (in[0]+in[4])<<constBits, (in[0]-in[4])<<constBits
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	o0, o1, o2, o3 := in[7], in[5], in[3], in[1]
	z1, z2, z3, z4 := o0+o3, o1+o2, o0+o2, o1+o3
	z5 := (z3 + z4) * fix1175
	z1, z2 = -z1*fix0899, -z2*fix2562
	z3, z4 = z5-z3*fix1961, z5-z4*fix0390
	o0 = o0*fix0298 + z1 + z3
	o1 = o1*fix2053 + z2 + z4
	o2 = o2*fix3072 + z2 + z3
	o3 = o3*fix1501 + z1 + z4

	out[0], out[7] = e0+o3, e0-o3
	out[1], out[6] = e1+o2, e1-o2
	out[2], out[5] = e2+o1, e2-o1
	out[3], out[4] = e3+o0, e3-o0
}
