// Package render turns a decoded frame into a picture for the screen, as
// PS3.18 section 8.7.4 asks of rendered resources: modality LUT or rescale, VOI
// LUT or window, presentation, palette, colour space, then the viewport.
//
// Reading order: render.go (Options and Image), gray.go (the chain of grey
// values), lut.go (tables of the data set), palette.go, scale.go.
//
// Invariants: the package changes neither data set nor pixels; what a data set
// says that cannot be followed is an error, not another picture.
package render
