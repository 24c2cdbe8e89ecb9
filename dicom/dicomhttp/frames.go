package dicomhttp

import (
	"bytes"
	"context"
	"io"

	"github.com/hygeia-health/hygeia/dicom"
	"github.com/hygeia-health/hygeia/platform/fault"
	"github.com/hygeia-health/hygeia/spec/dcm"
)

// frameOffer is how frames are given.
type frameOffer struct {
	multipart bool
	mediaType string // of the parts
	syntax    string // that the bytes are in
	decode    bool   // the stored frames are compressed and the bytes are not to be
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
		r, size, err := o.frame(ctx, fr, numbers[0])
		if err != nil {
			return err
		}
		defer r.Close()
		x.w.Header()["Etag"] = []string{dicom.ETag(fr.UIDs, fr.Version, 1)}
		return x.plain(r, size, o.mediaType+"; transfer-syntax="+o.syntax)
	}
	var m *multipartWriter
	for _, n := range numbers {
		r, size, err := o.frame(ctx, fr, n)
		if err != nil {
			return err
		}
		if m == nil {
			if size += partOverhead(o.mediaType, o.syntax); len(numbers) > 1 {
				size = -1
			}
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

// frame opens a frame, counted from 1, as the offer has it.
func (o *frameOffer) frame(ctx context.Context, fr *dicom.Frames, n int) (io.ReadCloser, int64, error) {
	if !o.decode {
		r, err := fr.Open(ctx, n)
		return r, fr.Size(n), err
	}
	b, release, err := fr.Decoded(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	return &released{bytes.NewReader(b), release}, int64(len(b)), nil
}

// released gives memory back when it is closed.
type released struct {
	*bytes.Reader
	release func()
}

// Close implements io.Closer.
func (r *released) Close() error {
	r.release()
	return nil
}

// frameOffer chooses from the Accept header. Frames go out as they are stored,
// uncompressed ones always in little endian, or decoded.
func (x *exchange) frameOffer(fr *dicom.Frames, count int) (frameOffer, error) {
	stored, _ := dcm.SyntaxOf(fr.Syntax)
	native := frameOffer{multipart: true, mediaType: typeOctets, syntax: fr.Syntax}
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
		decode := !frameType(typ, m.syntax, &stored)
		if decode && !decodedType(typ, m.syntax, &stored) {
			continue
		}
		if !multi && count > 1 {
			single = true
			continue
		}
		o := native
		o.multipart = multi
		if o.decode = decode; decode {
			o.syntax = dcm.ExplicitLittle
			return o, nil
		}
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

// decodedType reports whether decoding the frames satisfies a media type and
// transfer syntax.
func decodedType(typ, syntax string, stored *dcm.Syntax) bool {
	switch typ {
	case "*/*", "", typeOctets, "application/*":
		return (syntax == "" || syntax == dcm.ExplicitLittle) && stored.Encapsulated && dicom.CanDecode(stored.UID)
	}
	return false
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
