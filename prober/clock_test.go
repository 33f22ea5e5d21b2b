package prober

import (
	"bufio"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// tcpdump captures on the client's device into a file until stop is called.
func (r *rig) tcpdump(t *testing.T) (stop func() []sniffed) {
	t.Helper()
	cannot := func(why string) {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip("SKIPPED: " + why)
	}
	bin, err := exec.LookPath("tcpdump")
	if err != nil {
		cannot("tcpdump is not installed")
	}
	file := filepath.Join(t.TempDir(), "all.pcap")
	cmd := r.client.Command(context.Background(), bin, "-i", r.near.Name, "-w", file, "-U", "--time-stamp-precision=nano", "-B", "32768", "-Z", "root", "tcp")
	said, err := cmd.StderrPipe()
	must(t, err)
	must(t, r.client.Start(cmd))
	lines := bufio.NewScanner(said)
	var all strings.Builder
	for lines.Scan() && !strings.Contains(lines.Text(), "listening on") {
		all.WriteString(lines.Text())
	}
	if strings.Contains(all.String(), "Couldn't change to") {
		cannot("tcpdump must be able to change its user: run the tests as root: " + all.String())
	}
	return func() []sniffed {
		must(t, cmd.Process.Signal(os.Interrupt))
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
		}
		must(t, cmd.Wait())
		if !strings.Contains(all.String(), "\n0 packets dropped by kernel") {
			t.Fatalf("tcpdump lost frames, or says otherwise:\n%s", all.String())
		}
		b, err := os.ReadFile(file)
		must(t, err)
		return pcap(t, b)
	}
}

// pcap reads a capture file of nanosecond precision (draft-ietf-opsawg-pcap, magic 0xa1b23c4d) of Ethernet frames.
func pcap(t *testing.T, b []byte) (out []sniffed) {
	t.Helper()
	if len(b) < 24 || binary.NativeEndian.Uint32(b) != 0xa1b23c4d {
		t.Fatalf("not a nanosecond capture: % x", b[:min(len(b), 24)])
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.NativeEndian.Uint32(b[8:]))
		s := sniffed{at: time.Unix(int64(binary.NativeEndian.Uint32(b)), int64(binary.NativeEndian.Uint32(b[4:]))), frame: b[16 : 16+n]}
		s.tcp = wire.Parse(s.frame[14:], &s.seg) == wire.ReasonNone
		out = append(out, s)
		b = b[16+n:]
	}
	return out
}

// clockKey is a segment as both captures know it.
type clockKey struct {
	flow  wire.Flow
	flags wire.Flags
	seq   wire.Seq
}

// A thousand connects, and every time of ours is tcpdump's: both read the same stamp of the same frame.
func TestEveryHandshakeTimeIsTcpdumps(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(topo.Service{Port: 80, Then: topo.Echo, Backlog: 4096})
	r.start(t, EngineOptions{RingBytes: 16 << 20})
	r.burst(t, to(time.Second, 1, []plan.Arm{rawArm(plan.Single())}, on(serverV4, 80)))
	stop := r.tcpdump(t)
	const n = 500
	obs := r.burst(t, to(20*time.Second, n, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80)))
	theirs := map[clockKey][]time.Time{}
	for _, s := range stop() {
		if s.tcp {
			k := clockKey{s.seg.Flow(), s.seg.Flags, s.seg.Seq}
			theirs[k] = append(theirs[k], s.at)
		}
	}
	if obs.CaptureDrops != 0 {
		t.Fatalf("%d frames lost", obs.CaptureDrops)
	}
	var off []time.Duration
	compare := func(a *observe.Attempt, what string, k clockKey, at time.Time) {
		if len(theirs[k]) != 1 {
			t.Errorf("%s %d: %s is in tcpdump's capture %d times", a.Arm, a.Index, what, len(theirs[k]))
			return
		}
		off = append(off, at.Sub(theirs[k][0]).Abs())
	}
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Outcome != observe.Accepted || len(a.SYNs) != 1 || len(a.Answers) == 0 || a.Clock != observe.TapClock {
			t.Fatalf("%s %d: %s %q, %d SYNs, %d answers, by the %s clock", a.Arm, i, a.Outcome, a.Reason, len(a.SYNs), len(a.Answers), a.Clock)
		}
		ans := &a.Answers[0]
		compare(a, "its SYN", clockKey{a.Flow, wire.SYN, a.ISS}, a.SYNs[0].At)
		compare(a, "its SYN-ACK", clockKey{a.Flow.Reverse(), wire.SYN | wire.ACK, ans.Seq}, ans.At)
		if a.RTT != ans.At.Sub(a.SYNs[0].At) || a.Handshake != a.RTT {
			t.Errorf("%s %d: RTT %s, handshake %s", a.Arm, i, a.RTT, a.Handshake)
		}
	}
	slices.Sort(off)
	if len(off) != 4*n {
		t.Fatalf("%d times compared, want %d", len(off), 4*n)
	}
	exact, _ := slices.BinarySearch(off, 1)
	t.Logf("%d of %d times are tcpdump's to the nanosecond; p99 %s, worst %s off", exact, len(off), off[len(off)*99/100], off[len(off)-1])
	if p99 := off[len(off)*99/100]; p99 > time.Microsecond {
		t.Errorf("p99 is %s off", p99)
	}
}
