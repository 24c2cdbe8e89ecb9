package render

import (
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/hygeia-health/hygeia/spec/dcm"
	"github.com/hygeia-health/hygeia/spec/dcm/codec"
)

// Options are what a request asks of a picture. The zero value is the frame in
// its own size with the window that the data set names.
type Options struct {
	Frame    int     // counted from 0; for what enhanced objects say of each frame
	Window   *Window // instead of the one of the data set
	Viewport *Viewport
}

// Viewport is the parameter of PS3.18 section 8.3.5.1.3: the picture is scaled,
// with its aspect ratio kept, to the largest size that fits into Width by Height.
type Viewport struct {
	Width, Height int
	// Source is the part of the frame that is shown; empty is the whole. FlipX and
	// FlipY mirror it (a negative width or height in the request).
	Source       image.Rectangle
	FlipX, FlipY bool
}

// ErrNotImage says that pixel data are no picture: floating point values, or
// samples that no photometric interpretation explains.
var ErrNotImage = errors.New("the pixel data cannot be shown as an image")

// Image renders one frame. It is an *image.Gray or an *image.RGBA.
func Image(d *dcm.Dataset, im *dcm.Image, p *codec.Pixels, opt Options) (image.Image, error) {
	if im.Element != 0 && im.Element != dcm.TagPixelData {
		return nil, fmt.Errorf("%w: they are floating point values", ErrNotImage)
	}
	src, err := picture(d, im, p, opt)
	if err != nil || opt.Viewport == nil {
		return src, err
	}
	return scale(src, opt.Viewport)
}

func picture(d *dcm.Dataset, im *dcm.Image, p *codec.Pixels, opt Options) (image.Image, error) {
	switch {
	case p.Samples == 1 && p.Photometric == "PALETTE COLOR":
		return palette(d, im, p)
	case p.Samples == 1:
		return gray(d, im, p, opt)
	case p.Samples == 3:
		return color(im, p)
	}
	return nil, fmt.Errorf("%w: %d samples per pixel", ErrNotImage, p.Samples)
}

// color shows pixels with three samples.
func color(im *dcm.Image, p *codec.Pixels) (image.Image, error) {
	p, err := p.RGB()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotImage, err)
	}
	img := image.NewRGBA(image.Rect(0, 0, p.Columns, p.Rows))
	switch p.Bits {
	case 8:
		for i, o := 0, 0; i+2 < len(p.Data); i, o = i+3, o+4 {
			img.Pix[o], img.Pix[o+1], img.Pix[o+2], img.Pix[o+3] = p.Data[i], p.Data[i+1], p.Data[i+2], 255
		}
	case 16:
		shift := max(im.BitsStored-8, 0)
		at := func(i int) byte { return byte((int(p.Data[i]) | int(p.Data[i+1])<<8) >> shift) }
		for i, o := 0, 0; i+5 < len(p.Data); i, o = i+6, o+4 {
			img.Pix[o], img.Pix[o+1], img.Pix[o+2], img.Pix[o+3] = at(i), at(i+2), at(i+4), 255
		}
	default:
		return nil, fmt.Errorf("%w: colour of %d bits", ErrNotImage, p.Bits)
	}
	return img, nil
}

// JPEG writes a picture as baseline JPEG, quality 1 to 100.
func JPEG(w io.Writer, img image.Image, quality int) error {
	return jpeg.Encode(w, img, &jpeg.Options{Quality: quality})
}

// PNG writes a picture as PNG.
func PNG(w io.Writer, img image.Image) error {
	return (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(w, img)
}
