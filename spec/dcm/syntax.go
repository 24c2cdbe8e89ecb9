package dcm

// Syntax is a transfer syntax: how the data set and its pixel data are encoded.
type Syntax struct {
	UID          string
	Name         string
	Implicit     bool   // no VR in the data set
	BigEndian    bool   // numbers have their high byte first
	Deflated     bool   // the data set is compressed as a whole
	Encapsulated bool   // pixel data are fragments of a compressed stream
	MediaType    string // of a single frame in WADO-RS (PS3.18 section 8.7.3)
	Video        bool   // one stream for all frames
}

// UIDs of transfer syntaxes (PS3.6 annex A).
const (
	ImplicitLittle       = "1.2.840.10008.1.2"
	ExplicitLittle       = "1.2.840.10008.1.2.1"
	ExplicitBig          = "1.2.840.10008.1.2.2"
	DeflatedLittle       = "1.2.840.10008.1.2.1.99"
	EncapsulatedPlain    = "1.2.840.10008.1.2.1.98"
	JPEGBaseline         = "1.2.840.10008.1.2.4.50"
	JPEGExtended         = "1.2.840.10008.1.2.4.51"
	JPEGLossless         = "1.2.840.10008.1.2.4.57"
	JPEGLosslessSV1      = "1.2.840.10008.1.2.4.70"
	JPEGLSLossless       = "1.2.840.10008.1.2.4.80"
	JPEGLSNear           = "1.2.840.10008.1.2.4.81"
	JPEG2000Lossless     = "1.2.840.10008.1.2.4.90"
	JPEG2000             = "1.2.840.10008.1.2.4.91"
	RLELossless          = "1.2.840.10008.1.2.5"
	DeflatedFrame        = "1.2.840.10008.1.2.8.1"
	HTJ2KLossless        = "1.2.840.10008.1.2.4.201"
	HTJ2KLosslessRPCL    = "1.2.840.10008.1.2.4.202"
	HTJ2K                = "1.2.840.10008.1.2.4.203"
	PrivateImplicitBigGE = "1.2.840.113619.5.2"
)

const octets = "application/octet-stream"

// Syntaxes are the transfer syntaxes of the standard, and one private one that
// is common in old archives.
var Syntaxes = []Syntax{
	{UID: ImplicitLittle, Name: "Implicit VR Little Endian", Implicit: true, MediaType: octets},
	{UID: ExplicitLittle, Name: "Explicit VR Little Endian", MediaType: octets},
	{UID: EncapsulatedPlain, Name: "Encapsulated Uncompressed Explicit VR Little Endian", Encapsulated: true, MediaType: octets},
	{UID: DeflatedLittle, Name: "Deflated Explicit VR Little Endian", Deflated: true, MediaType: octets},
	{UID: ExplicitBig, Name: "Explicit VR Big Endian", BigEndian: true, MediaType: octets},
	{UID: PrivateImplicitBigGE, Name: "GE Private Implicit VR Little Endian, pixels in big endian", Implicit: true, MediaType: octets},
	encapsulated(JPEGBaseline, "JPEG Baseline", "image/jpeg"),
	encapsulated(JPEGExtended, "JPEG Extended", "image/jpeg"),
	encapsulated("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection, Non-Hierarchical (6, 8)", "image/jpeg"),
	encapsulated("1.2.840.10008.1.2.4.55", "JPEG Full Progression, Non-Hierarchical (10, 12)", "image/jpeg"),
	encapsulated(JPEGLossless, "JPEG Lossless", "image/jpeg"),
	encapsulated(JPEGLosslessSV1, "JPEG Lossless, First-Order Prediction", "image/jpeg"),
	encapsulated(JPEGLSLossless, "JPEG-LS Lossless", "image/jls"),
	encapsulated(JPEGLSNear, "JPEG-LS Near-Lossless", "image/jls"),
	encapsulated(JPEG2000Lossless, "JPEG 2000 Lossless", "image/jp2"),
	encapsulated(JPEG2000, "JPEG 2000", "image/jp2"),
	encapsulated("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Lossless", "image/jpx"),
	encapsulated("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2", "image/jpx"),
	encapsulated("1.2.840.10008.1.2.4.94", "JPIP Referenced", octets),
	encapsulated("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", octets),
	video("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level", "video/mpeg"),
	video("1.2.840.10008.1.2.4.100.1", "Fragmentable MPEG2 Main Profile / Main Level", "video/mpeg"),
	video("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile / High Level", "video/mpeg"),
	video("1.2.840.10008.1.2.4.101.1", "Fragmentable MPEG2 Main Profile / High Level", "video/mpeg"),
	video("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
	video("1.2.840.10008.1.2.4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
	video("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
	video("1.2.840.10008.1.2.4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
	video("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
	video("1.2.840.10008.1.2.4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
	video("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
	video("1.2.840.10008.1.2.4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
	video("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
	video("1.2.840.10008.1.2.4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
	video("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile / Level 5.1", "video/mp4"),
	video("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile / Level 5.1", "video/mp4"),
	encapsulated("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", "image/jxl"),
	encapsulated("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression", "image/jxl"),
	encapsulated("1.2.840.10008.1.2.4.112", "JPEG XL", "image/jxl"),
	encapsulated(HTJ2KLossless, "High-Throughput JPEG 2000 Lossless", "image/jphc"),
	encapsulated(HTJ2KLosslessRPCL, "High-Throughput JPEG 2000 with RPCL Options Lossless", "image/jphc"),
	encapsulated(HTJ2K, "High-Throughput JPEG 2000", "image/jphc"),
	encapsulated(RLELossless, "RLE Lossless", "image/dicom-rle"),
	encapsulated(DeflatedFrame, "Deflated Image Frame Compression", octets),
}

func encapsulated(uid, name, media string) Syntax {
	return Syntax{UID: uid, Name: name, Encapsulated: true, MediaType: media}
}

func video(uid, name, media string) Syntax {
	return Syntax{UID: uid, Name: name, Encapsulated: true, MediaType: media, Video: true}
}

// SyntaxOf returns the transfer syntax with a UID. One that is unknown is taken
// as encapsulated explicit little endian, which is the form of everything that
// was added to the standard in thirty years; ok is false then.
func SyntaxOf(uid string) (s Syntax, ok bool) {
	for i := range Syntaxes {
		if Syntaxes[i].UID == uid {
			return Syntaxes[i], true
		}
	}
	return Syntax{UID: uid, Encapsulated: true, MediaType: octets}, false
}
