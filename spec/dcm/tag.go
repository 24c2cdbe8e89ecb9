package dcm

import "fmt"

// Tag is the group and element number of an attribute: 0x00100010 is (0010,0010).
type Tag uint32

// Group returns the group number.
func (t Tag) Group() uint16 { return uint16(t >> 16) }

// Private reports whether the group is odd (PS3.5 section 7.8).
func (t Tag) Private() bool { return t>>16&1 == 1 }

// Creator reports whether t is the element that names the owner of a private
// block, (gggg,0010) to (gggg,00FF).
func (t Tag) Creator() bool { return t.Private() && t&0xFFFF >= 0x10 && t&0xFFFF <= 0xFF }

// CreatorTag returns the element that names the owner of a private tag, 0 when
// the tag cannot have one.
func (t Tag) CreatorTag() Tag {
	if !t.Private() || t&0xFFFF < 0x1000 {
		return 0
	}
	return t&0xFFFF0000 | t>>8&0xFF
}

// String returns (GGGG,EEEE).
func (t Tag) String() string { return fmt.Sprintf("(%04X,%04X)", uint32(t>>16), uint32(t&0xFFFF)) }

const upperHex = "0123456789ABCDEF"

// Hex returns GGGGEEEE, the form of DICOM JSON.
func (t Tag) Hex() string {
	var b [8]byte
	for i := range b {
		b[i] = upperHex[t>>(28-4*i)&15]
	}
	return string(b[:])
}

// ParseTag reads GGGGEEEE; false when s is something else.
func ParseTag(s string) (Tag, bool) {
	if len(s) != 8 {
		return 0, false
	}
	var t Tag
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		t = t<<4 | Tag(c)
	}
	return t, true
}

// VR is a value representation: its two letters as a number (PS3.5 section 6.2).
type VR uint16

// The value representations.
const (
	AE VR = 'A'<<8 | 'E'
	AS VR = 'A'<<8 | 'S'
	AT VR = 'A'<<8 | 'T'
	CS VR = 'C'<<8 | 'S'
	DA VR = 'D'<<8 | 'A'
	DS VR = 'D'<<8 | 'S'
	DT VR = 'D'<<8 | 'T'
	FD VR = 'F'<<8 | 'D'
	FL VR = 'F'<<8 | 'L'
	IS VR = 'I'<<8 | 'S'
	LO VR = 'L'<<8 | 'O'
	LT VR = 'L'<<8 | 'T'
	OB VR = 'O'<<8 | 'B'
	OD VR = 'O'<<8 | 'D'
	OF VR = 'O'<<8 | 'F'
	OL VR = 'O'<<8 | 'L'
	OV VR = 'O'<<8 | 'V'
	OW VR = 'O'<<8 | 'W'
	PN VR = 'P'<<8 | 'N'
	SH VR = 'S'<<8 | 'H'
	SL VR = 'S'<<8 | 'L'
	SQ VR = 'S'<<8 | 'Q'
	SS VR = 'S'<<8 | 'S'
	ST VR = 'S'<<8 | 'T'
	SV VR = 'S'<<8 | 'V'
	TM VR = 'T'<<8 | 'M'
	UC VR = 'U'<<8 | 'C'
	UI VR = 'U'<<8 | 'I'
	UL VR = 'U'<<8 | 'L'
	UN VR = 'U'<<8 | 'N'
	UR VR = 'U'<<8 | 'R'
	US VR = 'U'<<8 | 'S'
	UT VR = 'U'<<8 | 'T'
	UV VR = 'U'<<8 | 'V'
)

// String returns the two letters.
func (v VR) String() string { return string([]byte{byte(v >> 8), byte(v)}) }

// ParseVR reads two letters; false when they are no VR that we know.
func ParseVR(s string) (VR, bool) {
	if len(s) != 2 {
		return 0, false
	}
	v := VR(s[0])<<8 | VR(s[1])
	return v, v.Known()
}

// Known reports whether v is one of the standard's.
func (v VR) Known() bool { return v.kind() != kindUnknown }

type vrKind uint8

const (
	kindUnknown vrKind = iota
	kindText           // characters of the default repertoire
	kindCharset        // characters of Specific Character Set
	kindBinary         // numbers of a fixed size
	kindBulk           // bytes or words without multiplicity
	kindSequence
)

func (v VR) kind() vrKind {
	switch v {
	case AE, AS, CS, DA, DS, DT, IS, TM, UI, UR:
		return kindText
	case LO, LT, PN, SH, ST, UC, UT:
		return kindCharset
	case AT, FD, FL, SL, SS, SV, UL, US, UV:
		return kindBinary
	case OB, OD, OF, OL, OV, OW, UN:
		return kindBulk
	case SQ:
		return kindSequence
	}
	return kindUnknown
}

// Bulk reports whether values of v are binary data without an own JSON form:
// OB, OD, OF, OL, OV, OW and UN.
func (v VR) Bulk() bool { return v.kind() == kindBulk }

// String reports whether values of v are text.
func (v VR) isString() bool { k := v.kind(); return k == kindText || k == kindCharset }

// long reports whether explicit VR has a length of 32 bits (PS3.5 section 7.1.2).
func (v VR) long() bool {
	switch v {
	case OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV:
		return true
	}
	return false
}

// width is the size of the units that byte order applies to; 1 when it does not.
func (v VR) width() int {
	switch v {
	case AT, OW, SS, US:
		return 2
	case FL, OF, OL, SL, UL:
		return 4
	case FD, OD, OV, SV, UV:
		return 8
	}
	return 1
}

// Tags that this package or its users name.
const (
	TagErrorComment               Tag = 0x00000902
	TagFileMetaLength             Tag = 0x00020000
	TagFileMetaVersion            Tag = 0x00020001
	TagMediaStorageSOPClassUID    Tag = 0x00020002
	TagMediaStorageSOPInstanceUID Tag = 0x00020003
	TagTransferSyntaxUID          Tag = 0x00020010
	TagImplementationClassUID     Tag = 0x00020012
	TagImplementationVersionName  Tag = 0x00020013
	TagSpecificCharacterSet       Tag = 0x00080005
	TagSOPClassUID                Tag = 0x00080016
	TagSOPInstanceUID             Tag = 0x00080018
	TagStudyDate                  Tag = 0x00080020
	TagSeriesDate                 Tag = 0x00080021
	TagStudyTime                  Tag = 0x00080030
	TagSeriesTime                 Tag = 0x00080031
	TagAccessionNumber            Tag = 0x00080050
	TagInstanceAvailability       Tag = 0x00080056
	TagModality                   Tag = 0x00080060
	TagModalitiesInStudy          Tag = 0x00080061
	TagReferringPhysicianName     Tag = 0x00080090
	TagTimezoneOffsetFromUTC      Tag = 0x00080201
	TagStudyDescription           Tag = 0x00081030
	TagSeriesDescription          Tag = 0x0008103E
	TagManufacturerModelName      Tag = 0x00081090
	TagReferencedSOPClassUID      Tag = 0x00081150
	TagReferencedSOPInstanceUID   Tag = 0x00081155
	TagRetrieveURL                Tag = 0x00081190
	TagTransactionUID             Tag = 0x00081195
	TagWarningReason              Tag = 0x00081196
	TagFailureReason              Tag = 0x00081197
	TagFailedSOPSequence          Tag = 0x00081198
	TagReferencedSOPSequence      Tag = 0x00081199
	TagPatientName                Tag = 0x00100010
	TagPatientID                  Tag = 0x00100020
	TagPatientBirthDate           Tag = 0x00100030
	TagPatientSex                 Tag = 0x00100040
	TagStudyInstanceUID           Tag = 0x0020000D
	TagSeriesInstanceUID          Tag = 0x0020000E
	TagStudyID                    Tag = 0x00200010
	TagSeriesNumber               Tag = 0x00200011
	TagInstanceNumber             Tag = 0x00200013
	TagNumberOfStudySeries        Tag = 0x00201206
	TagNumberOfStudyInstances     Tag = 0x00201208
	TagNumberOfSeriesInstances    Tag = 0x00201209
	TagSamplesPerPixel            Tag = 0x00280002
	TagPhotometricInterpretation  Tag = 0x00280004
	TagPlanarConfiguration        Tag = 0x00280006
	TagNumberOfFrames             Tag = 0x00280008
	TagRows                       Tag = 0x00280010
	TagColumns                    Tag = 0x00280011
	TagBitsAllocated              Tag = 0x00280100
	TagBitsStored                 Tag = 0x00280101
	TagHighBit                    Tag = 0x00280102
	TagPixelRepresentation        Tag = 0x00280103
	TagPerformedStepStartDate     Tag = 0x00400244
	TagPerformedStepStartTime     Tag = 0x00400245
	TagScheduledProcedureStepID   Tag = 0x00400009
	TagRequestAttributesSequence  Tag = 0x00400275
	TagRequestedProcedureID       Tag = 0x00401001
	TagFailedAttributesSequence   Tag = 0x00741048
	TagExtendedOffsetTable        Tag = 0x7FE00001
	TagExtendedOffsetTableLengths Tag = 0x7FE00002
	TagFloatPixelData             Tag = 0x7FE00008
	TagDoubleFloatPixelData       Tag = 0x7FE00009
	TagPixelData                  Tag = 0x7FE00010
	TagDataSetTrailingPadding     Tag = 0xFFFCFFFC
	tagItem                       Tag = 0xFFFEE000
	tagItemEnd                    Tag = 0xFFFEE00D
	tagSequenceEnd                Tag = 0xFFFEE0DD
)
