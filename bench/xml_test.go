package bench

import (
	"testing"

	"github.com/hygeia-health/hygeia/spec/fhirxml"
	"github.com/hygeia-health/hygeia/spec/resource"
)

// BenchmarkXML writes and reads one resource as XML.
func BenchmarkXML(b *testing.B) {
	docs := parsed(b)
	texts := make([][]byte, len(docs))
	size := 0
	for i, d := range docs {
		var err error
		if texts[i], err = fhirxml.Append(nil, d.Root(), false); err != nil {
			b.Fatal(err)
		}
		size += len(texts[i])
	}
	b.Run("Write", func(b *testing.B) {
		b.SetBytes(int64(size / len(docs)))
		var buf []byte
		i := 0
		for b.Loop() {
			buf, _ = fhirxml.Append(buf[:0], docs[i%len(docs)].Root(), false)
			i++
		}
	})
	b.Run("Read", func(b *testing.B) {
		b.SetBytes(int64(size / len(docs)))
		b.ReportAllocs()
		var buf []byte
		i := 0
		for b.Loop() {
			var err error
			if buf, err = fhirxml.AppendJSON(buf[:0], texts[i%len(docs)], resource.Options{}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}
