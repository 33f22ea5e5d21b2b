package topo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// private returns a network, or skips where this machine has none (a failure in CI).
func private(t *testing.T) *topo.Net {
	t.Helper()
	if !topo.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("private namespaces are not available")
		}
		t.Skip("private namespaces are not available: see the message at the top")
	}
	n := topo.New(t.Context())
	t.Cleanup(n.Close)
	return n
}

func built(t *testing.T, n *topo.Net) {
	t.Helper()
	if err := n.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestHostsReachEachOtherOverABridgeInBothFamilies(t *testing.T) {
	n := private(t)
	lan := n.Bridge("lan")
	a, b := n.Host("a"), n.Host("b")
	a.Attach(lan, "10.0.0.1/24", "fd00::1/64")
	b.Attach(lan, "10.0.0.2/24", "fd00::2/64")
	b.Serve(topo.Service{Port: 80, Then: topo.Echo})
	built(t, n)
	for _, to := range []string{"10.0.0.2:80", "[fd00::2]:80"} {
		c, err := a.Dial(t.Context(), nil, to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
			t.Errorf("%s: got %q, %v", to, got, err)
		}
		c.Close()
	}
}

func TestNATBalancesAVIPInTurn(t *testing.T) {
	n := private(t)
	lan := n.Bridge("lan")
	client, lb := n.Host("client"), n.Host("lb")
	client.Attach(lan, "10.0.0.1/24")
	lb.Attach(lan, "10.0.0.10/24")
	lb.Forward()
	var members []netip.AddrPort
	hits := make(chan string, 16)
	for _, ip := range []string{"10.0.0.21", "10.0.0.22"} {
		s := n.Host("real" + ip[len(ip)-2:])
		s.Attach(lan, ip+"/24")
		members = append(members, netip.AddrPortFrom(netip.MustParseAddr(ip), 8080))
		l := listen(t, s, ":8080")
		n.OnClose(func() { l.Close() })
		n.Go(func(context.Context) {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				from := c.RemoteAddr().(*net.TCPAddr)
				hits <- fmt.Sprintf("%s from %s port %dxxx", s.Name, from.IP, from.Port/1000)
				c.Close()
			}
		})
	}
	vip := netip.MustParseAddr("10.0.0.10")
	lb.Rules(nft.Table{Family: nft.IPv4, Name: "vip", Chains: []nft.Chain{
		{Hook: nft.DNAT, Rules: nft.RoundRobin(members, nft.Dst(vip), nft.DstPort(80))},
		{Hook: nft.SNAT, Rules: []nft.Rule{{nft.DstPort(8080), nft.FromSource(vip, 2000, 2999)}}},
	}})
	built(t, n)
	got := map[string]int{}
	for range 4 {
		c, err := client.Dial(t.Context(), nil, "10.0.0.10:80")
		if err != nil {
			t.Fatal(err)
		}
		got[<-hits]++
		c.Close()
	}
	if got["real21 from 10.0.0.10 port 2xxx"] != 2 || got["real22 from 10.0.0.10 port 2xxx"] != 2 {
		t.Errorf("connections: %v", got)
	}
}

func listen(t *testing.T, h *topo.Host, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0"+addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCommandsRunInTheHost(t *testing.T) {
	n := private(t)
	h := n.Host("h")
	h.Attach(n.Bridge("lan"), "10.9.8.7/24")
	built(t, n)
	cmd := h.Command(t.Context(), "cat", "/proc/net/fib_trie")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := h.Run(cmd); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "10.9.8.7") {
		t.Errorf("not in the host's namespace: %s", out.String())
	}
}

func TestFirstErrorIsKeptWithItsPlace(t *testing.T) {
	n := private(t)
	h := n.Host("h")
	h.Attach(n.Bridge("lan"), "not-an-address")
	h.Sysctl("net.ipv4.no_such_thing", "1")
	err := n.Err()
	if err == nil || !strings.Contains(err.Error(), "host h: address not-an-address on eth0") {
		t.Errorf("got %v", err)
	}
}

func TestSlowARPAnswerHoldsBackTheFirstContactOnly(t *testing.T) {
	n := private(t)
	lan := n.Bridge("lan")
	a, b := n.Host("a"), n.Host("b")
	la := a.Attach(lan, "10.0.0.1/24").Neighbor("ipv4", "retrans_time_ms", "50")
	b.Attach(lan, "10.0.0.2/24")
	b.Rules(topo.SlowARP("10.0.0.2", "10.0.0.1"))
	b.Serve(topo.Service{Port: 80, Then: topo.Echo})
	built(t, n)
	peer := netip.MustParseAddr("10.0.0.2")
	for range 2 {
		if err := la.Forget(peer); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := a.Dial(ctx, nil, "10.0.0.2:80"); err == nil {
			t.Error("connected before any ARP answer was due")
		}
		cancel()
		c, err := a.Dial(t.Context(), nil, "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if known, err := la.HasNeighbor(peer); err != nil || !known {
			t.Errorf("no entry after contact: %v, %v", known, err)
		}
		if err := b.SetRules(topo.SlowARP("10.0.0.2", "10.0.0.1")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMacvlanHasItsOwnMAC(t *testing.T) {
	n := private(t)
	lan := n.Bridge("lan")
	a, b := n.Host("a"), n.Host("b")
	la := a.Attach(lan, "10.0.0.1/24")
	second := la.Macvlan(a, "10.0.0.3/24")
	lb := b.Attach(lan, "10.0.0.2/24")
	b.Serve(topo.Service{Port: 80, Then: topo.Echo})
	built(t, n)
	c, err := a.Dial(t.Context(), &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 3)}, Control: bindTo(second.Name)}, "10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if known, err := lb.HasNeighbor(netip.MustParseAddr("10.0.0.3")); err != nil || !known || second.MAC.String() == la.MAC.String() {
		t.Errorf("the peer knows the second address: %v, %v; its MAC %s", known, err, second.MAC)
	}
}

func bindTo(dev string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var inner error
		if err := c.Control(func(fd uintptr) { inner = unix.BindToDevice(int(fd), dev) }); err != nil {
			return err
		}
		return inner
	}
}

func TestServicesCloseInTheirOrder(t *testing.T) {
	n := private(t)
	lan := n.Bridge("lan")
	a, b := n.Host("a"), n.Host("b")
	a.Attach(lan, "10.0.0.1/24")
	b.Attach(lan, "10.0.0.2/24")
	b.Serve(topo.Service{Port: 80, Then: topo.CloseFirst})
	b.Serve(topo.Service{Port: 81, Then: topo.Bulk, Size: 10_000})
	b.Serve(topo.Service{Port: 82, Then: topo.Stuck, Backlog: 1})
	b.Proxy(83, []string{"10.0.0.2:81"})
	built(t, n)
	for _, x := range []struct {
		to, ask string
		want    int
	}{{"10.0.0.2:80", "GET / HTTP/1.0\r\n\r\n", 57}, {"10.0.0.2:80", "", 0}, {"10.0.0.2:81", "", 10_000}, {"10.0.0.2:83", "", 10_000}} {
		c, err := a.Dial(t.Context(), nil, x.to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, x.ask); err != nil {
			t.Fatal(err)
		}
		if got, err := io.Copy(io.Discard, c); err != nil || int(got) != x.want {
			t.Errorf("%s after %q: %d octets to the end, %v; want %d", x.to, x.ask, got, err, x.want)
		}
		c.Close()
	}
	// backlog 1 holds two connections; the third is not answered.
	for i, want := range []bool{true, true, false} {
		c, err := a.Dial(t.Context(), &net.Dialer{Timeout: 500 * time.Millisecond}, "10.0.0.2:82")
		if (err == nil) != want {
			t.Errorf("connection %d to the stuck server: %v", i, err)
		}
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
}
