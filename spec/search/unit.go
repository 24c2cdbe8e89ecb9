package search

import (
	"math/big"
	"strconv"
	"sync"

	"github.com/hygeia-health/hygeia/spec/ucum"
)

// conversion is what brings a number of one unit to another one:
// (v + before) × ratio - after. ratio is nil when the units do not compare.
type conversion struct{ before, ratio, after *big.Rat }

// conversions remembers those that were asked for: a handful.
var conversions sync.Map // [2]string -> conversion

// maxConversions bounds what is remembered; clients choose the units.
const maxConversions = 10_000

var conversionCount int
var conversionLock sync.Mutex

func conversionOf(from, to string) conversion {
	key := [2]string{from, to}
	if v, ok := conversions.Load(key); ok {
		return v.(conversion)
	}
	var c conversion
	u, ok1 := ucum.Parse(from)
	w, ok2 := ucum.Parse(to)
	if ok1 && ok2 && u.Dim == w.Dim {
		c = conversion{u.Shift, new(big.Rat).Quo(u.Factor, w.Factor), w.Shift}
	}
	conversionLock.Lock()
	defer conversionLock.Unlock()
	if conversionCount++; conversionCount > maxConversions {
		conversions.Clear()
		conversionCount = 1
	}
	conversions.Store([2]string{string([]byte(from)), string([]byte(to))}, c)
	return c
}

// apply converts a number by its decimal text, so that 5 mg are exactly 0.005 g.
func (c conversion) apply(v float64) float64 {
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
	if !ok {
		return v
	}
	if c.before != nil {
		r.Add(r, c.before)
	}
	r.Mul(r, c.ratio)
	if c.after != nil {
		r.Sub(r, c.after)
	}
	f, _ := r.Float64()
	return f
}

// InUnit returns a quantity of a search in another unit of UCUM; false when the
// value is not to be converted, or the units do not compare.
func (v Value) InUnit(code string) (Value, bool) {
	if !v.Convert || code == "" {
		return v, false
	}
	c := conversionOf(v.Code, code)
	if c.ratio == nil {
		return v, false
	}
	v.Code = code
	v.Num, v.NumLo, v.NumHi = c.apply(v.Num), c.apply(v.NumLo), c.apply(v.NumHi)
	return v, true
}

// matchQuantity compares in the unit that was asked for, or after conversion.
func matchQuantity(w Value, e NumberValue) bool {
	if matchUnit(w, e) {
		return matchNumber(w, e)
	}
	if w.Convert && e.System == ucum.System && e.Code != w.Code {
		if x, ok := w.InUnit(e.Code); ok {
			return matchNumber(x, e)
		}
	}
	return false
}
