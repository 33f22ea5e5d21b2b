package prober

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
)

// The table is the machine's own, so that a full one is only ever told.
func TestNoNewNextHopsForANearlyFullTable(t *testing.T) {
	t.Parallel()
	defaults := [3]hostproc.Setting{is(128), is(512), is(1024)}
	for _, c := range []struct {
		name    string
		thresh  [3]hostproc.Setting
		entries int64
		told    bool
		known   bool
		full    bool
	}{
		{"a small table", defaults, 40, true, false, false},
		{"one below the limit", defaults, 767, true, false, false},
		{"at the limit", defaults, 768, true, false, true},
		{"at the limit, a next hop that is there already", defaults, 768, true, true, false},
		{"nobody says how many", defaults, 0, false, false, false},
		{"limits that cannot be seen", [3]hostproc.Setting{}, 5000, true, false, false},
	} {
		for _, dst := range []string{"192.0.2.9", "2001:db8::9"} {
			m := room{thresh: func(bool) [3]hostproc.Setting { return c.thresh }, entries: func(bool) (int64, bool) { return c.entries, c.told },
				known: func(int, netip.Addr) bool { return c.known }}
			err := m.check(rawsock.Route{Dst: addr(dst), OnLink: true, IfIndex: 2})
			var full *TableError
			if errors.As(err, &full) != c.full {
				t.Errorf("%s, %s: %v, full should be %v", c.name, dst, err, c.full)
			}
			if c.full && (!strings.Contains(err.Error(), dst) || !strings.Contains(err.Error(), "gc_thresh3 1024")) {
				t.Errorf("%s: %q names neither the next hop nor the limit", c.name, err)
			}
		}
	}
	m := newRoom(hostproc.Sysctls{GCThresh: defaults})
	if err := m.check(rawsock.Route{Dst: addr("127.0.0.1"), Local: true}); err != nil {
		t.Errorf("loopback needs no entry: %v", err)
	}
}
