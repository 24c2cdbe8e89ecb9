// Package dcm is DICOM data sets: tags, value representations, the Part 10 file
// format (PS3.10), the DICOM JSON model (PS3.18 annex F), character sets
// (PS3.5 section 6.1) and the frames of pixel data.
//
// Parse reads a file that is in memory, without copying values; Read takes a
// stream of any size and keeps no value longer than Limits.Value, but says where
// it is. Both give a File: the meta information and a Dataset of Elements in
// the order of the file. Values are kept as they are encoded, with numbers in
// little endian; the methods of Dataset decode them.
//
// Files in the wild are broken in many ways. What can be understood is read, and
// File.Notes says what was wrong; what cannot is an *Error with the place.
//
// Pixel data stay where they are. Frames turns what Read noted about them into
// byte ranges, one list per frame, and ImageOf gives the attributes that a
// decoder needs: both together are the interface of the pixel codecs.
//
// Reading order: tag.go, dict.go, syntax.go, element.go, read.go with readelement.go and
// source.go (the parser), value.go and charset.go (values), json.go, jsonread.go and xmlread.go, image.go and
// frames.go, write.go, check.go (validation of values).
//
// Invariants: nothing here reads a clock, a file or the network; no input makes
// it panic, recurse without bound or allocate more than a small multiple of
// what was read.
package dcm

//go:generate sh -c "cd ../../tools && go run ./gendcm -in $DICOM_STANDARD -out ../spec/dcm/dictionary.txt.gz"
