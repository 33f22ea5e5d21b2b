package topo_test

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// A solicitation that came before the group was joined went unheard, and a client with three requests in 600 ms gave up on a server that was there.
func TestAddressIsHeardOnceItIsAdded(t *testing.T) {
	n := private(t)
	h := n.Host("h")
	h.Attach(n.Bridge("lan"), "fd77::1234:5678/64")
	if err := n.Err(); err != nil {
		t.Fatal(err)
	}
	group := netip.MustParseAddr("ff02::1:ff34:5678").As16() // RFC 4291 §2.7.1
	err := h.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/igmp6")
		if err == nil && !strings.Contains(string(b), hex.EncodeToString(group[:])) {
			t.Errorf("the address is there and its group is not:\n%s", b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
