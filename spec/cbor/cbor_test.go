package cbor_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hygeia-health/hygeia/spec/cbor"
)

// TestExamples are the examples of RFC 8949, Appendix A, as JSON.
func TestExamples(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"00", "0"}, {"01", "1"}, {"0a", "10"}, {"17", "23"}, {"1818", "24"}, {"1903e8", "1000"}, {"1a000f4240", "1000000"},
		{"1b000000e8d4a51000", "1000000000000"}, {"1bffffffffffffffff", "18446744073709551615"}, {"c249010000000000000000", "18446744073709551616"},
		{"3bffffffffffffffff", "-18446744073709551616"}, {"c349010000000000000000", "-18446744073709551617"},
		{"20", "-1"}, {"29", "-10"}, {"3863", "-100"}, {"3903e7", "-1000"},
		{"f90000", "0"}, {"f98000", "-0"}, {"f93c00", "1"}, {"fb3ff199999999999a", "1.1"}, {"f93e00", "1.5"}, {"f97bff", "65504"},
		{"fa47c35000", "100000"}, {"fa7f7fffff", "3.4028235e+38"}, {"fb7e37e43c8800759c", "1e+300"}, {"f90001", "5.960464477539063e-8"},
		{"f90400", "0.00006103515625"}, {"f9c400", "-4"}, {"fbc010666666666666", "-4.1"}, {"fa3dcccccd", "0.1"},
		{"f97c00", "null"}, {"f97e00", "null"}, {"f9fc00", "null"}, {"fa7f800000", "null"}, {"fb7ff8000000000000", "null"},
		{"f4", "false"}, {"f5", "true"}, {"f6", "null"}, {"f7", "null"}, {"f0", "null"}, {"f8ff", "null"},
		{"c074323031332d30332d32315432303a30343a30305a", `"2013-03-21T20:04:00Z"`}, {"c11a514b67b0", "1363896240"}, {"c1fb41d452d9ec200000", "1363896240.5"},
		{"d74401020304", `"01020304"`}, {"d64401020304", `"AQIDBA=="`}, {"d818456449455446", `"ZElFVEY"`}, {"d82076687474703a2f2f7777772e6578616d706c652e636f6d", `"http://www.example.com"`},
		{"40", `""`}, {"4401020304", `"AQIDBA"`}, {"60", `""`}, {"6161", `"a"`}, {"62225c", `"\"\\"`}, {"62c3bc", `"ü"`}, {"64f0908591", `"𐅑"`},
		{"80", "[]"}, {"83010203", "[1,2,3]"}, {"8301820203820405", "[1,[2,3],[4,5]]"},
		{"a0", "{}"}, {"a201020304", `{"1":2,"3":4}`}, {"a26161016162820203", `{"a":1,"b":[2,3]}`}, {"826161a161626163", `["a",{"b":"c"}]`},
		{"5f42010243030405ff", `"AQIDBAU"`}, {"7f657374726561646d696e67ff", `"streaming"`},
		{"9fff", "[]"}, {"9f018202039f0405ffff", "[1,[2,3],[4,5]]"}, {"83018202039f0405ff", "[1,[2,3],[4,5]]"},
		{"bf61610161629f0203ffff", `{"a":1,"b":[2,3]}`}, {"bf6346756ef563416d7421ff", `{"Fun":true,"Amt":-2}`},
		{"a120f5", `{"-1":true}`}, {"d9d9f7a16161f6", `{"a":null}`}, {"d6824401020304d74101", `["AQIDBA==","01"]`},
	} {
		data, err := hex.DecodeString(c.in)
		if err != nil {
			t.Fatal(err)
		}
		got, rest, err := cbor.AppendJSON([]byte("x"), append(data, 0xf5))
		if err != nil || string(got) != "x"+c.want || len(rest) != 1 {
			t.Errorf("%s: %s, %d bytes are left, %v; want %s", c.in, got, len(rest), err, c.want)
		}
	}
}

func TestBad(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "not complete"}, {"18", "not complete"}, {"62ff", "not complete"}, {"61ff", "not UTF-8"}, {"7f61ffff", "not UTF-8"},
		{"9b7fffffffffffffff", "not complete"}, {"bb7fffffffffffffff", "not complete"}, {"5b7fffffffffffffff", "not complete"}, {"9f01", "not complete"},
		{"1c", "begins no item"}, {"1f", "begins no item"}, {"df", "begins no item"}, {"ff", "a break"}, {"8201ff", "a break"}, {"f818", "longer than"},
		{"a1f501", "neither text nor integer"}, {"a2616101616102", "twice"}, {"5f6161ff", "another kind"}, {"5f5fffff", "another kind"}, {"c201", "no byte string"},
		{"c2590401" + strings.Repeat("ff", 1025), "more than 1024"}, {strings.Repeat("81", 100) + "00", "more than 64 deep"}, {strings.Repeat("c1", 100) + "00", "more than 64 deep"},
	} {
		data, err := hex.DecodeString(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if out, rest, err := cbor.AppendJSON(nil, data); err == nil || !strings.Contains(err.Error(), c.want) || len(out) > 0 || len(rest) != len(data) {
			t.Errorf("%.40s: %s %v, want %q", c.in, out, err, c.want)
		}
	}
}

func TestLooks(t *testing.T) {
	for in, want := range map[string]bool{"\xa1aa\x01": true, "\xbf\xff": true, "\xd9\xd9\xf7\x01": true, "{}": false, "[1]": false, "": false, "\xd9\xd9": false, "\x81\x01": false} {
		if got := cbor.Looks([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

// FuzzAppendJSON: what is taken is JSON of a size that the input bounds.
func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"\xa1aa\x01", "\x9f\x01\xff", "\xc2\x42\x01\x00", "\x7f\x61a\xff", "\xf9\x3c\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, rest, err := cbor.AppendJSON(nil, data)
		if err != nil {
			return
		}
		if !json.Valid(out) || len(rest) >= len(data) || len(out) > 32*(len(data)-len(rest)) {
			t.Errorf("%x: %d bytes of JSON %.200s, %d of %d bytes are left", data, len(out), out, len(rest), len(data))
		}
	})
}
