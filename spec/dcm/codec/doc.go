// Package codec turns encoded frames of DICOM pixel data into native ones and
// back: RLE (PS3.5 annex G), JPEG baseline, extended and progressive with 8 and
// 12 bits and lossless with all predictors (ITU-T T.81), JPEG-LS lossless and
// near-lossless (ITU-T T.87), and the native transfer syntaxes themselves.
//
// Decode gives Pixels: samples of Bits Allocated in little endian, colour by
// pixel, without subsampling. It does not change the colour space; RGB does.
// JPEG is computed with the integer transform and the interpolation of chroma
// that the reference implementation has, so that pixels are those of other
// toolkits, bit by bit.
//
// A codec of another format implements decoder and is entered in decoders.
//
// Reading order: codec.go, describe.go (what a stream says of itself),
// native.go, rle.go, color.go; jpeg.go (markers), jpeg_huffman.go, jpeg_scan.go
// (sequential and progressive), jpeg_idct.go, jpeg_planes.go (chroma),
// jpeg_lossless.go; jpegls.go, jpegls_scan.go.
//
// Invariants: no input makes a decoder panic, and none allocates more than the
// declared image does; a frame that is not of the size that the data set
// declares is an error.
package codec
