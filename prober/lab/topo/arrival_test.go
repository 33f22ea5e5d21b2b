package topo

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stamped is a control message as the kernel writes it.
func stamped(kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	n := unix.CmsgLen(len(data))
	if unix.SizeofPtr == 8 {
		binary.NativeEndian.PutUint64(b, uint64(n))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(n))
	}
	at := unix.CmsgLen(0)
	binary.NativeEndian.PutUint32(b[at-8:], unix.SOL_SOCKET)
	binary.NativeEndian.PutUint32(b[at-4:], uint32(kind))
	copy(b[at:], data)
	return b
}

func seconds(t time.Time) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(t.Unix()))
	return binary.NativeEndian.AppendUint64(b, uint64(t.Nanosecond()))
}

func TestArrivalIsWhatTheKernelSays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name string
		oob  []byte
		ago  time.Duration
	}{
		{"read 40 ms late", stamped(unix.SCM_TIMESTAMPNS, seconds(now.Add(-40*time.Millisecond))), 40 * time.Millisecond},
		{"behind another message", append(stamped(unix.SO_MARK, make([]byte, 4)), stamped(unix.SCM_TIMESTAMPNS, seconds(now.Add(-time.Second)))...), time.Second},
		{"no stamp", nil, 0},
		{"another message alone", stamped(unix.SO_MARK, make([]byte, 4)), 0},
		{"the wall clock was set back meanwhile", stamped(unix.SCM_TIMESTAMPNS, seconds(now.Add(time.Hour))), 0},
		{"cut off", stamped(unix.SCM_TIMESTAMPNS, seconds(now))[:20], 0},
		{"a stamp of no length that there is", stamped(unix.SCM_TIMESTAMPNS, make([]byte, 4)), 0},
	} {
		if got := now.Sub(arrival(now, c.oob)); got != c.ago {
			t.Errorf("%s: %s ago, want %s", c.name, got, c.ago)
		}
	}
}
