package blob

import (
	"strings"
	"unicode/utf8"

	"github.com/hygeia-health/hygeia/platform/fault"
)

// The bounds of a key: what file systems and S3 both take.
const (
	maxKey     = 1000
	maxSegment = 200
)

// CheckKey returns nil for a usable key: UTF-8, segments of 1 to 200 bytes
// separated by slashes, at most 1000 bytes in all. A segment does not begin
// with a dot and has no control characters and none of \ : * ? " < > |, so that
// a key names the same blob in every backend and leads nowhere else.
func CheckKey(key string) error {
	if len(key) == 0 || len(key) > maxKey || !utf8.ValidString(key) {
		return fault.New(fault.Invalid, "a name of 1 to %d bytes is required", maxKey)
	}
	for seg := range strings.SplitSeq(key, "/") {
		if err := checkSegment(seg); err != nil {
			return err
		}
	}
	return nil
}

func checkSegment(seg string) error {
	switch {
	case seg == "" || len(seg) > maxSegment:
		return fault.New(fault.Invalid, "each part of a name has 1 to %d bytes", maxSegment)
	case seg[0] == '.':
		return fault.New(fault.Invalid, "no part of a name may begin with a dot")
	}
	for _, r := range seg {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`\:*?"<>|`, r) {
			return fault.New(fault.Invalid, "a name may not contain %q", r)
		}
	}
	return nil
}

// CheckPrefix is CheckKey for the beginning of keys; empty is fine.
func CheckPrefix(prefix string) error {
	dir, last := "", prefix
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		dir, last = prefix[:i], prefix[i+1:]
		if err := CheckKey(dir); err != nil {
			return err
		}
	}
	if last == "" {
		return nil
	}
	return checkSegment(last)
}
