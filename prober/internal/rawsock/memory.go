package rawsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// LargePages returns a new T, all zero and without pointers, which the kernel backs by pages of 2 MiB where it has them and is allowed to
// (Documentation/admin-guide/mm/transhuge.rst: always or madvise): who fills it faults once where it faulted 512 times, which was a twentieth of
// what a flood costs. It is memory of the heap like any other, and freed as such.
func LargePages[T any]() *T {
	p := new(T)
	b := unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
	page := uintptr(unix.Getpagesize())
	n, at := uintptr(len(b)), uintptr(unsafe.Pointer(p))
	if skip := (at+page-1)&^(page-1) - at; skip+page <= n {
		_ = unix.Madvise(b[skip:skip+(n-skip)&^(page-1)], unix.MADV_HUGEPAGE) // else small pages do
	}
	return p
}
