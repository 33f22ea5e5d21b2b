package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/testimony"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// clients are hosts on one switch with a server in a namespace of its own; what goes to those in lossy passes a wire that drops what is
// chosen.
func clients(t *testing.T, n int, lossy map[int]wires.Match) (*topo.Host, []*topo.Host) {
	t.Helper()
	needNamespaces(t)
	net := topo.New(t.Context())
	t.Cleanup(net.Close)
	lan := net.Bridge("lan")
	server := net.Host("server")
	server.Attach(lan, "10.9.0.1/16", "fd09::1/64").SingleSegments()
	var out []*topo.Host
	for i := range n {
		h := net.Host(fmt.Sprintf("client%d", i))
		four, six := fmt.Sprintf("10.9.1.%d/16", i+1), fmt.Sprintf("fd09::1:%d/64", i+1)
		if drops, ok := lossy[i]; ok {
			wires.Attach(net, h, lan, []wires.Stage{wires.Drop(drops)}, four, six)
		} else {
			h.Attach(lan, four, six)
		}
		out = append(out, h)
	}
	server.Serve(topo.Service{Port: 80, Then: topo.Echo})
	if err := net.Err(); err != nil {
		t.Fatal(err)
	}
	return server, out
}

// chatter opens n connections from each host to each address, all of which talk at once, a message at a time, and stay open.
func chatter(t *testing.T, hosts []*topo.Host, n int, to ...string) (talk func(messages int)) {
	t.Helper()
	var conns []net.Conn
	for i := range n * len(hosts) * len(to) {
		c, err := hosts[i%len(hosts)].Dial(t.Context(), &net.Dialer{Timeout: 20 * time.Second}, to[i/len(hosts)%len(to)])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
	}
	return func(messages int) {
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() {
				b := make([]byte, 100)
				for range messages {
					_, err := c.Write(b)
					if err == nil {
						_, err = io.ReadFull(c, b)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func placeOf(h *topo.Host) watch.Place {
	return watch.Place{Path: fmt.Sprintf("/proc/self/fd/%d", h.Namespace().Fd())}
}

// TestLossyPeersAreNamed: a server talks to six clients over both families. On the way to one of them each connection loses a segment of
// data. It is named by both its addresses and no other is, and what the namespace itself counts is all accounted for.
func TestLossyPeersAreNamed(t *testing.T) {
	data := wires.All(wires.Going(wires.In), wires.Data)
	server, hosts := clients(t, 6, map[int]wires.Match{2: wires.FirstOfFlow(1, data)})
	talk := chatter(t, hosts, 20, "10.9.0.1:80", "[fd09::1]:80")
	w, err := watch.Open(watch.Options{Places: []watch.Place{placeOf(server)}, Peers: 12})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Read()
	talk(2)
	w.Read()
	talk(2)
	r := w.Read()[0]
	if r.Err != nil || r.PeersErr != nil {
		t.Fatal(errors.Join(r.Err, r.PeersErr))
	}
	bad := map[netip.Addr]bool{}
	for _, addr := range []string{"10.9.1.3", "fd09::1:3"} {
		bad[netip.MustParseAddr(addr)] = true
	}
	for i, p := range r.PeersWhole.Peers {
		if p.Repeats.StandsOut != bad[p.Addr] || i < 2 && !bad[p.Addr] {
			t.Errorf("%d: %s, %d of %d sent again, stands out %v (p %g), lossy %v", i, p.Addr, p.Retransmitted, p.Segments, p.Repeats.StandsOut, p.Repeats.P, bad[p.Addr])
		}
		delete(bad, p.Addr)
	}
	if len(bad) > 0 {
		t.Errorf("lossy, and not listed: %v", bad)
	}
	// the connections are read after the counters, and all are still open
	if host, sum := r.Whole["Tcp.RetransSegs"], int64(r.PeersWhole.Total.Retransmitted); host < 40 || sum < host {
		t.Errorf("the connections account for %d of the %d segments that the namespace sent again", sum, host)
	}
}

// TestWatchOneNamespace: what happens in one namespace is not told of another, whichever thread reads.
func TestWatchOneNamespace(t *testing.T) {
	server, hosts := clients(t, 2, nil)
	w, err := watch.Open(watch.Options{Places: []watch.Place{placeOf(hosts[0]), placeOf(hosts[1]), placeOf(server)}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Read()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const opened = 3
	for range opened {
		c, err := hosts[0].Dial(ctx, &net.Dialer{}, "10.9.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:revive // three connections stay open until the test ends
	}
	r := w.Read()
	for i, want := range []int64{opened, 0, 0} {
		if got := r[i].Whole["Tcp.ActiveOpens"]; got != want {
			t.Errorf("%s: %d connections opened, want %d", r[i].Place, got, want)
		}
	}
	if got := r[2].Whole["Tcp.PassiveOpens"]; got != opened {
		t.Errorf("the server: %d, want %d", got, opened)
	}
}

// TestCompareNamespaces: two namespaces made alike differ in what one of them was set to, and in nothing else.
func TestCompareNamespaces(t *testing.T) {
	server, hosts := clients(t, 1, nil)
	set := map[string]string{"net.ipv4.tcp_reordering": "6", "net.core.somaxconn": "77"}
	for name, value := range set {
		if err := server.Do(func() error { return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	w, err := watch.Open(watch.Options{Places: []watch.Place{placeOf(server), placeOf(hosts[0])}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	settings, err := w.Settings()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range testimony.Differences(settings[0], settings[1]) {
		if set[d.Name] != d.A || d.B == "" || !d.Known {
			t.Errorf("%+v differs, set was %v", d, set)
		}
		delete(set, d.Name)
	}
	if len(set) > 0 {
		t.Errorf("not seen to differ: %v", set)
	}
}
