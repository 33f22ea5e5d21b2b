package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/results"
)

var kills = flag.Int("kills", 2, "how often TestServeKilled kills the service; with more than 20, no round may be lost that was over 100 ms before, else 1 s")

// footprint is all that a service could leave behind in a host's namespace.
func footprint(t *testing.T, h *topo.Host) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := h.Do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer nl.Close()
		addrs, err := nl.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			all["address "+a.String()] = ""
		}
		routes, err := nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		for _, r := range routes {
			all["route "+r.String()] = ""
		}
		rules, err := nl.RuleList(netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, r := range rules {
			all["rule "+r.String()] = ""
		}
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := nft.ListTables()
		if err != nil {
			return err
		}
		for _, x := range tables {
			all["table "+x.Name] = ""
		}
		return sockets(all)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sockets adds those of the calling thread's namespace, TCP's as far as they listen: others are as long in TIME_WAIT as TCP has it.
func sockets(all map[string]string) error {
	for _, name := range []string{"packet", "raw", "raw6", "udp", "udp6"} {
		b, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil {
			return err
		}
		all[name] = string(b)
	}
	for _, name := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			const local, state, listen = 1, 3, "0A"
			if fields := strings.Fields(line); len(fields) > state && fields[state] == listen {
				all["listens at "+fields[local]] = ""
			}
		}
	}
	return nil
}

// killable is a service on a host of its own, with a server to probe.
type killable struct {
	t      *testing.T
	client *topo.Host
	http   *http.Client
	config string
	file   string // of the results
}

const killableListen = "127.0.0.1:19115"

func newKillable(t *testing.T) *killable {
	t.Helper()
	n := topo.New(t.Context())
	t.Cleanup(n.Close)
	client, server := n.Host("client"), n.Host("server")
	near, far := n.Cable(client, server)
	near.Addr("10.9.0.1/24")
	far.Addr("10.9.0.2/24")
	server.Serve(topo.Service{Port: 80, Then: topo.CloseFirst})
	if err := n.Err(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	k := &killable{t: t, client: client, config: filepath.Join(dir, "vipprobe.yml"), file: filepath.Join(dir, "results.db")}
	k.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = client.Do(func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}}
	text := fmt.Sprintf(`allow: [10.9.0.0/24]
results: {path: %s}
modules:
  raw: {prober: syn, burst: 3, timeout: 400ms}
  connect: {prober: connect, burst: 2, timeout: 400ms}
jobs:
  - {name: raw, module: raw, interval: 500ms, targets: ["10.9.0.2:80"]}
  - {name: connects, module: connect, interval: 500ms, targets: ["10.9.0.2:80"]}
`, k.file)
	if err := os.WriteFile(k.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

// rounds is how many the service says were made.
func (k *killable) rounds() (n int, err error) {
	resp, err := k.http.Get("http://" + killableListen + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if strings.HasPrefix(s.Text(), "vipprobe_rounds_total{") {
			v, err := strconv.Atoi(s.Text()[strings.LastIndexByte(s.Text(), ' ')+1:])
			if err != nil {
				return 0, err
			}
			n += v
		}
	}
	return n, nil
}

// life starts the service, lets it live for a while behind its first rounds, and kills it; it returns how many rounds were over a time before.
func (k *killable) life(random, age time.Duration) (over int) {
	k.t.Helper()
	cmd := k.client.Command(k.t.Context(), "/proc/self/exe", "serve", "--config.file", k.config, "--web.listen-address", killableListen)
	cmd.Args[0], cmd.Env = "vipprobe", outside()
	p := startBy(k.t, cmd, func() error { return k.client.Start(cmd) })
	eventually(k.t, func() error {
		n, err := k.rounds()
		if err == nil && n < 2 {
			err = fmt.Errorf("%d rounds", n)
		}
		return err
	})
	later := time.NewTimer(random)
	<-later.C
	over, err := k.rounds()
	if err != nil {
		k.t.Fatal(err)
	}
	later.Reset(age)
	<-later.C
	if err := p.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	if code := p.exits(); code != -1 {
		k.t.Fatalf("exit %d of a killed process", code)
	}
	return over
}

// TestServeKilled: killed at any moment, again and again on one results file, the service leaves no rule, route, address or socket behind, and loses no
// round that was over before; the next one goes on.
func TestServeKilled(t *testing.T) {
	needNamespaces(t)
	k := newKillable(t)
	age := time.Second
	if *kills > 20 {
		age = 100 * time.Millisecond
	}
	var before map[string]string
	eventually(t, func() error { // the kernel gives the device its link-local address when it has made sure that nobody else has it
		before = footprint(t, k.client)
		for entry := range before {
			if strings.Contains(entry, "Dst: fe80::") && strings.Contains(entry, "/128 ") && !strings.Contains(entry, "Dst: fe80::/128 ") {
				return nil
			}
		}
		return errors.New("no link-local address yet")
	})
	over := 0
	for range *kills {
		over += k.life(rand.N(500*time.Millisecond), age)
		eventually(t, func() error { // the kernel closes what a process had a moment after its end
			if after := footprint(t, k.client); !maps.Equal(before, after) {
				return fmt.Errorf("left behind (-before +after):\n%s", cmp.Diff(before, after))
			}
			return nil
		})
	}
	s, err := results.Open(t.Context(), results.Options{Path: k.file, OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	h, err := s.Reader().History(t.Context(), results.SeriesFilter{Target: "10.9.0.2:80", From: now.Add(-time.Hour), To: now.Add(time.Minute), Step: time.Minute})
	kept := 0
	for _, b := range h.Buckets {
		kept += int(b.Figures.Rounds)
	}
	if err := errors.Join(err, s.Close()); err != nil || kept < over {
		t.Errorf("%d rounds are kept of at least %d that were over %s before a kill: %v", kept, over, age, err)
	}
	t.Logf("%d kills: %d rounds kept, at least %d were over %s before", *kills, kept, over, age)
}
