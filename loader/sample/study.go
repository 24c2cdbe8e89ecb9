package sample

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/hygeia-health/hygeia/spec/dcm"
)

// slices and pixels are the size of the imaging study.
const (
	slices = 12
	pixels = 128
)

// Study returns the files of a small CT study that is computed: a body with a
// spine, two lungs and a lesion, in slices from top to bottom. It shows nobody.
func Study() ([][]byte, error) {
	const root = "1.2.826.0.1.3680043.10.1499.1"
	out := make([][]byte, slices)
	for i := range out {
		d := &dcm.Dataset{}
		text := func(t dcm.Tag, vr dcm.VR, v ...string) { d.Put(dcm.NewText(t, vr, v...)) }
		number := func(t dcm.Tag, v uint16) {
			d.Put(dcm.Element{Tag: t, VR: dcm.US, Value: binary.LittleEndian.AppendUint16(nil, v), Length: 2})
		}
		text(0x00080008, dcm.CS, "DERIVED", "SECONDARY", "AXIAL")
		text(dcm.TagSOPClassUID, dcm.UI, "1.2.840.10008.5.1.4.1.1.2")
		text(dcm.TagSOPInstanceUID, dcm.UI, fmt.Sprintf("%s.1.1.%d", root, i+1))
		text(dcm.TagStudyDate, dcm.DA, "20240115")
		text(dcm.TagSeriesDate, dcm.DA, "20240115")
		text(dcm.TagStudyTime, dcm.TM, "103000")
		text(dcm.TagSeriesTime, dcm.TM, "103100")
		text(dcm.TagAccessionNumber, dcm.SH, "DEMO-1")
		text(dcm.TagModality, dcm.CS, "CT")
		text(0x00080070, dcm.LO, "Hygeia")
		text(dcm.TagReferringPhysicianName, dcm.PN, "House^Gregory")
		text(dcm.TagStudyDescription, dcm.LO, "CT chest, computed phantom")
		text(dcm.TagSeriesDescription, dcm.LO, "Axial")
		text(dcm.TagPatientName, dcm.PN, "Phantom^Demo")
		text(dcm.TagPatientID, dcm.LO, "DEMO-PHANTOM")
		text(dcm.TagPatientBirthDate, dcm.DA, "19700101")
		text(dcm.TagPatientSex, dcm.CS, "O")
		text(0x00180050, dcm.DS, "5")
		text(dcm.TagStudyInstanceUID, dcm.UI, root+".1")
		text(dcm.TagSeriesInstanceUID, dcm.UI, root+".1.1")
		text(dcm.TagStudyID, dcm.SH, "1")
		text(dcm.TagSeriesNumber, dcm.IS, "1")
		text(dcm.TagInstanceNumber, dcm.IS, fmt.Sprint(i+1))
		text(0x00200032, dcm.DS, "-192", "-192", fmt.Sprint(-5*i))
		text(0x00200037, dcm.DS, "1", "0", "0", "0", "1", "0")
		text(0x00200052, dcm.UI, root+".1.9")
		number(dcm.TagSamplesPerPixel, 1)
		text(dcm.TagPhotometricInterpretation, dcm.CS, "MONOCHROME2")
		number(dcm.TagRows, pixels)
		number(dcm.TagColumns, pixels)
		text(0x00280030, dcm.DS, "3", "3")
		number(dcm.TagBitsAllocated, 16)
		number(dcm.TagBitsStored, 16)
		number(dcm.TagHighBit, 15)
		number(dcm.TagPixelRepresentation, 0)
		text(0x00281050, dcm.DS, "40")
		text(0x00281051, dcm.DS, "400")
		text(0x00281052, dcm.DS, "-1024")
		text(0x00281053, dcm.DS, "1")
		b := slice(i)
		d.Put(dcm.Element{Tag: dcm.TagPixelData, VR: dcm.OW, Value: b, Length: int64(len(b))})
		var file bytes.Buffer
		if err := dcm.Write(&file, &dcm.File{Meta: &dcm.Dataset{}, Data: d}, dcm.ExplicitLittle, dcm.WriteOptions{}); err != nil {
			return nil, err
		}
		out[i] = file.Bytes()
	}
	return out, nil
}

// slice computes the pixels of a slice, in Hounsfield units plus 1024.
func slice(i int) []byte {
	b := make([]byte, 0, 2*pixels*pixels)
	z := float64(i)/slices - 0.5
	lung := math.Sqrt(math.Max(0, 0.3-z*z))
	for y := range pixels {
		for x := range pixels {
			u, v := float64(x)/pixels*2-1, float64(y)/pixels*2-1
			hu := -1000.0
			if in(u, v, 0, 0, 0.9, 0.65) {
				hu = 40
				switch {
				case in(u, v, 0, 0.42, 0.12, 0.12):
					hu = 600
				case in(u, v, 0.35, -0.05, 0.1*(1-z*z*4), 0.1*(1-z*z*4)):
					hu = 80
				case in(u, v, -0.42, -0.05, 0.6*lung, 0.75*lung), in(u, v, 0.42, -0.05, 0.6*lung, 0.75*lung):
					hu = -820
				}
				hu += 12 * math.Sin(float64(x*7+y*13+i*5))
			}
			b = binary.LittleEndian.AppendUint16(b, uint16(hu+1024))
		}
	}
	return b
}

// in reports whether a point lies inside an ellipse.
func in(x, y, cx, cy, rx, ry float64) bool {
	if rx <= 0 || ry <= 0 {
		return false
	}
	dx, dy := (x-cx)/rx, (y-cy)/ry
	return dx*dx+dy*dy < 1
}
