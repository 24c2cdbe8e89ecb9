package server

import (
	"os"
	"syscall"
)

// lockFile takes the lock of a data folder: a file that nobody else may open.
// The kernel gives it back when the process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, errLocked
	}
	return os.NewFile(uintptr(h), path), nil
}
