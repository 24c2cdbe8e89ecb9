package dicomhttp

import (
	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// frameOffer is how frames are given.
type frameOffer struct {
	multipart bool
	mediaType string // of the parts
	syntax    string // that the bytes are in
}

// frames is GET .../frames/{list} (PS3.18 section 10.4.1.1.6).
func (x *exchange) frames() error {
	numbers, err := frameList(x.rt.rest)
	if err != nil {
		return err
	}
	ctx := x.long()
	fr, err := x.h.s.Frames(ctx, x.target())
	if err != nil {
		return err
	}
	if err := fr.Check(numbers); err != nil {
		return err
	}
	o, err := x.frameOffer(fr, len(numbers))
	if err != nil {
		return err
	}
	if !o.multipart {
		r, err := fr.Open(ctx, numbers[0])
		if err != nil {
			return err
		}
		defer r.Close()
		x.w.Header()["Etag"] = []string{dicom.ETag(fr.UIDs, fr.Version, 1)}
		return x.plain(r, fr.Size(numbers[0]), o.mediaType+"; transfer-syntax="+o.syntax)
	}
	size := int64(-1)
	if len(numbers) == 1 {
		size = fr.Size(numbers[0]) + partOverhead(o.mediaType, o.syntax)
	}
	var m *multipartWriter
	for _, n := range numbers {
		r, err := fr.Open(ctx, n)
		if err != nil {
			return err
		}
		if m == nil {
			m = x.multipart(o.mediaType, size)
		}
		if err = m.part(o.mediaType, o.syntax); err == nil {
			err = x.copy(r)
		}
		_ = r.Close()
		if err != nil {
			return err
		}
	}
	return m.close()
}

// frameOffer chooses from the Accept header. Frames go out as they are stored,
// uncompressed ones always in little endian.
func (x *exchange) frameOffer(fr *dicom.Frames, count int) (frameOffer, error) {
	stored, _ := dcm.SyntaxOf(fr.Syntax)
	native := frameOffer{true, typeOctets, fr.Syntax}
	if !stored.Encapsulated {
		native.syntax = dcm.ExplicitLittle
	}
	single := false
	for _, m := range accepts(x.r) {
		typ := m.full
		multi := typ == typeMultipart || typ == "multipart/*" || typ == "*/*"
		if multi && typ != "*/*" {
			typ = m.typ
		}
		if !frameType(typ, m.syntax, &stored) {
			continue
		}
		if !multi && count > 1 {
			single = true
			continue
		}
		o := native
		o.multipart = multi
		if typ == stored.MediaType || typ == "image/*" {
			o.mediaType = stored.MediaType
		}
		return o, nil
	}
	if single {
		return native, fault.New(fault.Invalid, "Several frames can only be given as multipart/related.")
	}
	return native, errNotAcceptable
}

// frameType reports whether frames of a stored syntax satisfy a media type and
// transfer syntax.
func frameType(typ, syntax string, stored *dcm.Syntax) bool {
	native := !stored.Encapsulated
	switch typ {
	case "*/*", "":
		return syntax == "" || syntax == "*" || syntax == stored.UID || native && syntax == dcm.ExplicitLittle
	case typeOctets, "application/*":
		if syntax == "" {
			return native
		}
		return syntax == "*" || syntax == stored.UID || native && (syntax == dcm.ExplicitLittle || syntax == dcm.ImplicitLittle)
	case "image/x-dicom-rle":
		typ = "image/dicom-rle"
	case "image/x-jls":
		typ = "image/jls"
	case "image/*", "video/*":
		return !native && (syntax == "" || syntax == "*" || syntax == stored.UID)
	}
	return typ == stored.MediaType && (syntax == "" || syntax == "*" || syntax == stored.UID)
}
