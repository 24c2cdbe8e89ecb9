package dicomhttp

import "github.com/hygeia-health/hygeia/platform/fault"

// bulkData is GET of a BulkDataURI (PS3.18 section 10.4.1.1.5).
func (x *exchange) bulkData() error {
	multi, single := false, false
	for _, m := range accepts(x.r) {
		switch {
		case m.full == typeMultipart && (m.typ == "" || m.typ == typeOctets || m.typ == "*/*"), m.full == "multipart/*":
			multi = true
		case m.full == typeOctets, m.full == "application/*", m.full == "*/*":
			single = true
		}
		if multi || single {
			break // the best that is possible
		}
	}
	ctx := x.long()
	b, err := x.h.s.BulkData(ctx, x.target(), x.rt.rest)
	if err != nil {
		return err
	}
	if single && len(b.Pieces) == 1 {
		r, err := b.Open(ctx, 0)
		if err != nil {
			return err
		}
		defer r.Close()
		return x.plain(r, b.Pieces[0].Length, typeOctets)
	}
	if !multi && !single {
		return fault.New(fault.NotAcceptable, "Bulk data are given as application/octet-stream, or in parts of it.")
	}
	var m *multipartWriter
	for i := range b.Pieces {
		r, err := b.Open(ctx, i)
		if err != nil {
			return err
		}
		if m == nil {
			m = x.multipart(typeOctets, -1)
		}
		if err = m.part(typeOctets, ""); err == nil {
			err = x.copy(r)
		}
		_ = r.Close()
		if err != nil {
			return err
		}
	}
	return m.close()
}
