package wires_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestMain(m *testing.M) { os.Exit(topo.Enter(m.Run)) }

const bulk = 4 << 20

// wired builds a client and an echo server that has stages in front of it.
func wired(t *testing.T, stages ...wires.Stage) (client, server *topo.Host) {
	t.Helper()
	if !topo.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("private namespaces are not available")
		}
		t.Skip("private namespaces are not available: see the message at the top")
	}
	n := topo.New(t.Context())
	t.Cleanup(n.Close)
	lan := n.Bridge("lan")
	client, server = n.Host("client"), n.Host("server")
	client.Attach(lan, "10.0.0.1/24", "fd00::1/64")
	wires.Attach(n, server, lan, stages, "10.0.0.2/24", "fd00::2/64")
	server.Serve(topo.Service{Port: 80, Then: topo.Echo})
	server.Serve(topo.Service{Port: 81, Then: topo.Bulk, Size: bulk})
	if err := n.Err(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// echo sends size octets there and back.
func echo(t *testing.T, client *topo.Host, to string, size int) {
	t.Helper()
	c, err := client.Dial(t.Context(), &net.Dialer{Timeout: 10 * time.Second}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%s: %d of %d octets came back intact, %v", to, len(got), len(sent), err)
	}
}

func TestPlainWireCarriesBothFamilies(t *testing.T) {
	client, _ := wired(t)
	for _, to := range []string{"10.0.0.2:80", "[fd00::2]:80"} {
		echo(t, client, to, 1<<18)
	}
}

func TestEditedSegmentsArriveWithGoodChecksums(t *testing.T) {
	all := func(wires.Packet) bool { return true }
	client, _ := wired(t,
		wires.Clock(500_000_000),
		wires.ClampMSS(700, wires.SYN),
		wires.Edit(all, func(s *wire.Segment) { s.HopLimit-- }))
	for _, to := range []string{"10.0.0.2:80", "[fd00::2]:80"} {
		echo(t, client, to, 1<<16)
	}
}

func TestDataSurvivesLossReorderingAndCopies(t *testing.T) {
	client, _ := wired(t,
		wires.Lose(0.02, wires.Random(1), wires.Data),
		wires.Duplicate(0.02, wires.Random(2), wires.Data),
		wires.Hold(2*time.Millisecond, wires.Chance(0.05, wires.Random(3), wires.Data)))
	echo(t, client, "10.0.0.2:80", 1<<18)
}

// Frames that one host sends leave the wire in their order, whatever the processors: a reordering scenario's near miss is truly healthy.
func TestWireKeepsTheOrderOfData(t *testing.T) {
	client, server := wired(t, wires.Delay(time.Millisecond, 0, nil, wires.Any))
	c, err := client.Dial(t.Context(), nil, "10.0.0.2:81")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.Copy(io.Discard, c); n != bulk || err != nil {
		t.Fatalf("%d octets, %v", n, err)
	}
	if n := counter(t, server, "TCPSACKReorder"); n != 0 {
		t.Errorf("the server saw its data reordered %d times", n)
	}
}

// counter reads one TcpExt counter of a host.
func counter(t *testing.T, h *topo.Host, name string) int {
	t.Helper()
	var b []byte
	if err := h.Do(func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/netstat")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	i := slices.Index(names, name)
	if i < 0 {
		t.Fatalf("no counter %s", name)
	}
	n, err := strconv.Atoi(values[i])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
