package kdial

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// States of a TCP socket (include/net/tcp_states.h).
const (
	stateEstablished = 1
	stateSynSent     = 2
	stateSynRecv     = 3
	stateClose       = 7
)

// Offsets in struct tcp_info (include/uapi/linux/tcp.h). The struct only ever grew at its end, and all of these lie in the
// part that Linux 2.6.10 already had; 104 octets hold the last of them.
const (
	infoState        = 0
	infoRetransmits  = 2
	infoOptions      = 5
	infoRTO          = 8   // µs
	infoSndMSS       = 16  //
	infoRTT          = 68  // µs, smoothed
	infoRTTVar       = 72  // µs
	infoTotalRetrans = 100 //
	infoLength       = 104
)

// infoBuffer is where the kernel writes a tcp_info; kernels with a longer struct cut it to the buffer, older ones fill less.
type infoBuffer [infoLength]byte

// read gets TCP_INFO of a socket. It is false where the kernel gives none or too little.
func (b *infoBuffer) read(fd int) (observe.TCPInfo, bool) {
	n := uint32(len(b))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(b)), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return observe.TCPInfo{}, false
	}
	return parseInfo(b[:min(int(n), len(b))])
}

// parseInfo decodes the head of a struct tcp_info in host byte order.
func parseInfo(b []byte) (observe.TCPInfo, bool) {
	if len(b) < infoLength {
		return observe.TCPInfo{}, false
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	µs := func(at int) time.Duration { return time.Duration(u32(at)) * time.Microsecond }
	return observe.TCPInfo{
		State:        b[infoState],
		Retransmits:  b[infoRetransmits],
		Options:      b[infoOptions],
		RTO:          µs(infoRTO),
		SndMSS:       u32(infoSndMSS),
		RTT:          µs(infoRTT),
		RTTVar:       µs(infoRTTVar),
		TotalRetrans: u32(infoTotalRetrans),
	}, true
}
