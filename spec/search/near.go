package search

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/hygeia-health/hygeia/spec/resource"
	"github.com/hygeia-health/hygeia/spec/ucum"
)

// nearDistance is the distance of near when a search names none, in kilometres.
const nearDistance = 50

// parseNear reads latitude|longitude[|distance[|units]] (R4 section 8.7.7.1).
func parseNear(s string) (Value, error) {
	pieces := splitEscaped(s, '|')
	if len(pieces) < 2 || len(pieces) > 4 {
		return Value{}, fmt.Errorf("%q does not have the form latitude|longitude[|distance[|units]]", s)
	}
	v := Value{NumHi: nearDistance}
	for i, into := range []*float64{&v.Num, &v.NumLo, &v.NumHi}[:min(len(pieces), 3)] {
		if pieces[i] == "" && i == 2 {
			continue
		}
		f, err := strconv.ParseFloat(unescape(pieces[i]), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return Value{}, fmt.Errorf("%q is not a number", pieces[i])
		}
		*into = f
	}
	if math.Abs(v.Num) > 90 || math.Abs(v.NumLo) > 180 || v.NumHi < 0 {
		return Value{}, errors.New("a latitude goes from -90 to 90, a longitude from -180 to 180, a distance from 0")
	}
	if len(pieces) == 4 && pieces[3] != "" {
		u, ok := ucum.Parse(unescape(pieces[3]))
		if !ok || u.Dim != "m1" {
			return Value{}, fmt.Errorf("%q is not a unit of length of UCUM", pieces[3])
		}
		f, _ := u.Factor.Float64()
		v.NumHi *= f / 1000
	}
	return v, nil
}

// earth is the mean radius in kilometres.
const earth = 6371.0088

// Distance is the distance of two places along the surface of the earth, in
// kilometres.
func Distance(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sinLat, sinLon := math.Sin((lat2-lat1)*rad/2), math.Sin((lon2-lon1)*rad/2)
	h := sinLat*sinLat + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sinLon*sinLon
	return 2 * earth * math.Asin(math.Sqrt(min(1, h)))
}

// Degrees is how many degrees of latitude a distance in kilometres is.
func Degrees(km float64) float64 { return km / earth * 180 / math.Pi }

// position makes the entry of a Location.position: Lo is the latitude, Hi the
// longitude.
func (x *extractor) position(p *Param, n resource.Node) {
	lat, ok1 := float(n.Get("latitude"))
	lon, ok2 := float(n.Get("longitude"))
	if ok1 && ok2 {
		x.v.Numbers = append(x.v.Numbers, NumberValue{Param: p, Lo: lat, Hi: lon})
	}
}
