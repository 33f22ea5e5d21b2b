package rawsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// LargePages returns n octets, all zero, which the kernel backs by pages of 2 MiB where it has them and is allowed to
// (Documentation/admin-guide/mm/transhuge.rst: always or madvise): a sweep that fills them faults once where it faulted 512 times, which
// was a twentieth of what a flood costs. It is memory of the heap like any other, and freed as such.
func LargePages(n int) []byte {
	b := make([]byte, n)
	page := uintptr(unix.Getpagesize())
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if skip := (at+page-1)&^(page-1) - at; skip < uintptr(n) {
		if whole := (uintptr(n) - skip) &^ (page - 1); whole > 0 {
			_ = unix.Madvise(b[skip:skip+whole], unix.MADV_HUGEPAGE) // else small pages do
		}
	}
	return b
}
