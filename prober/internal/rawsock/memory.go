package rawsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Populated returns a new T, all zero and without pointers, whose pages are there already: who fills it would else fault once for each (4 KiB), which was a
// twentieth of what a flood costs. Kernels before 5.14 have no MADV_POPULATE_WRITE and fault as ever. It is memory of the heap like any other, and freed as such.
func Populated[T any]() *T {
	p := new(T)
	b := unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
	page := uintptr(unix.Getpagesize())
	n, at := uintptr(len(b)), uintptr(unsafe.Pointer(p))
	if skip := (at+page-1)&^(page-1) - at; skip+page <= n {
		_ = unix.Madvise(b[skip:skip+(n-skip)&^(page-1)], unix.MADV_POPULATE_WRITE)
	}
	return p
}
