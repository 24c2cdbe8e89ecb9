package render

import (
	"errors"
	"image"
	"math"
)

// maxSide bounds a viewport, maxWork the values that are kept between the two
// directions.
const (
	maxSide = 16384
	maxWork = 1 << 26
)

// ErrViewport says that a viewport cannot be made.
var ErrViewport = errors.New("the viewport lies outside of the image or is too large")

// scale brings a picture into a viewport.
func scale(src image.Image, v *Viewport) (image.Image, error) {
	b := src.Bounds()
	part := v.Source
	if part.Empty() {
		part = b
	}
	if v.Width < 1 || v.Height < 1 || v.Width > maxSide || v.Height > maxSide || !part.In(b) {
		return nil, ErrViewport
	}
	f := min(float64(v.Width)/float64(part.Dx()), float64(v.Height)/float64(part.Dy()))
	w, h := max(1, int(math.Round(f*float64(part.Dx())))), max(1, int(math.Round(f*float64(part.Dy()))))
	if 4*w*part.Dy() > maxWork {
		return nil, ErrViewport
	}
	across, down := weights(part.Dx(), w, v.FlipX), weights(part.Dy(), h, v.FlipY)
	switch s := src.(type) {
	case *image.Gray:
		dst := image.NewGray(image.Rect(0, 0, w, h))
		resample(dst.Pix, s.Pix[s.PixOffset(part.Min.X, part.Min.Y):], s.Stride, part.Dy(), 1, across, down)
		return dst, nil
	case *image.RGBA:
		dst := image.NewRGBA(image.Rect(0, 0, w, h))
		resample(dst.Pix, s.Pix[s.PixOffset(part.Min.X, part.Min.Y):], s.Stride, part.Dy(), 4, across, down)
		return dst, nil
	}
	return nil, ErrNotImage
}

// taps are the samples that make one sample of the result.
type taps struct {
	from   int
	weight []float32
}

// weights is a triangle filter, as wide as the scale asks: it interpolates when
// it enlarges and averages when it shrinks.
func weights(n, m int, flip bool) []taps {
	out := make([]taps, m)
	ratio := float64(n) / float64(m)
	reach := max(ratio, 1)
	for i := range out {
		center := (float64(i)+0.5)*ratio - 0.5
		from, to := max(0, int(math.Ceil(center-reach))), min(n-1, int(math.Floor(center+reach)))
		t := taps{from: from, weight: make([]float32, to-from+1)}
		sum := 0.0
		for j := range t.weight {
			sum += max(1-math.Abs(float64(from+j)-center)/reach, 0)
		}
		for j := range t.weight {
			t.weight[j] = float32(max(1-math.Abs(float64(from+j)-center)/reach, 0) / sum)
		}
		if flip {
			out[m-1-i] = t
		} else {
			out[i] = t
		}
	}
	return out
}

// resample filters rows, then columns. ch is the number of bytes of a pixel.
func resample(dst, src []byte, stride, rows, ch int, across, down []taps) {
	w := len(across) * ch
	mid := make([]float32, rows*w)
	for y := range rows {
		in, out := src[y*stride:], mid[y*w:][:w]
		for x, t := range across {
			for c := range ch {
				var sum float32
				for j, f := range t.weight {
					sum += f * float32(in[(t.from+j)*ch+c])
				}
				out[x*ch+c] = sum
			}
		}
	}
	row := make([]float32, w)
	for y, t := range down {
		clear(row)
		for j, f := range t.weight {
			for x, v := range mid[(t.from+j)*w:][:w] {
				row[x] += f * v
			}
		}
		out := dst[y*w:][:w]
		for x, v := range row {
			out[x] = byte(v + 0.5)
		}
	}
}
