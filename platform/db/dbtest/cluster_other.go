//go:build !unix

package dbtest

import "errors"

func startShared() (string, error) {
	return "", errors.New("on this system the tests start none")
}
