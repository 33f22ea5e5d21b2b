package prober

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
)

// transferLong runs the whole grid of losses and reordering, with so many octets on each flow; 0: a small part of it.
var transferLong = flag.Int64("transfer.bytes", 0, "run TestClassesAgree over its whole grid, with so many octets a flow")

// transferWith names the congestion controls of that grid.
var transferWith = flag.String("transfer.with", "cubic bbr", "congestion controls that TestClassesAgree runs its whole grid with")

// gridPace, in octets a second and flow, is what a busy machine's wire keeps up with: past it a congestion control that ignores loss (BBR) fills the
// wire with seconds of queue, and its timeouts are our machine's. gridPatience outlasts the timeouts of a flow that lost its own repeats.
const (
	gridPace     = 2 << 20
	gridPatience = 15 * time.Second
)

// impaired is a wire between client and server that harms data towards the server.
type impaired struct {
	loss, late float64
	congestion string
	six        bool // over IPv6
}

func (i impaired) String() string {
	family := ""
	if i.six {
		family = ", IPv6"
	}
	return fmt.Sprintf("loss %g %%, late %g %%, %s%s", 100*i.loss, 100*i.late, i.congestion, family)
}

// wired is network with a wire for a cable.
func (i impaired) network(t *testing.T, seed uint64) *rig {
	t.Helper()
	private(t)
	n := topo.New(t.Context())
	t.Cleanup(n.Close)
	r := &rig{Net: n, client: n.Host("client"), server: n.Host("server")}
	data := wires.All(wires.Data, wires.Going(wires.Out))
	r.near, r.far = wires.Cable(n, r.client, r.server, []wires.Stage{
		wires.Lose(i.loss, wires.Random(seed), data),
		wires.Hold(4*time.Millisecond, wires.Chance(i.late, wires.Random(seed+1), data)),
		wires.Delay(5*time.Millisecond, 0, nil, wires.Any),
	})
	r.near.SingleSegments() // so that a frame is a segment, to tshark as well
	r.near.Addr(clientV4 + "/24").Addr(clientV6 + "/64")
	r.far.Addr(serverV4 + "/24").Addr(serverV6 + "/64")
	r.server.Serve(topo.Service{Port: 80, Then: topo.Sink})
	return r.start(t, EngineOptions{RingBytes: 32 << 20})
}

func transferBurst(t plan.Transfer, flows int, dst netip.AddrPort) plan.Burst {
	arm := plan.Arm{Name: "kernel", Via: plan.Kernel, Script: plan.Script{Ladder: plan.Single(), Then: plan.Exchange{Close: plan.Abort, Transfer: &t}}}
	b := to(60*time.Second, flows, []plan.Arm{arm}, dst)
	b.Kind = plan.KindTransfer
	return b
}

// Classes of retransmissions agree with the kernel's own counters, and their sum with tshark's analysis of the same frames.
func TestClassesAgree(t *testing.T) {
	grid, octets := []impaired{{0.02, 0, "cubic", false}, {0, 0.05, "cubic", false}, {0.02, 0, "cubic", true}, {0, 0.05, "cubic", true}}, int64(1<<20)
	if *transferLong > 0 {
		octets, grid = *transferLong, nil
		for cc := range strings.FieldsSeq(*transferWith) {
			for _, loss := range []float64{0.001, 0.005, 0.01, 0.02, 0.05} {
				grid = append(grid, impaired{loss, 0, cc, false})
			}
			for _, late := range []float64{0.01, 0.02, 0.05, 0.1} {
				grid = append(grid, impaired{0, late, cc, false})
			}
			grid = append(grid, impaired{0.01, 0.02, cc, false}, impaired{0.01, 0.02, cc, true})
		}
	}
	for k, i := range grid {
		t.Run(i.String(), func(t *testing.T) {
			r := i.network(t, uint64(k+1))
			to := on(serverV4, 80)
			if i.six {
				to = on(serverV6, 80)
			}
			b := transferBurst(plan.Transfer{Way: plan.Sink, Bytes: octets, Congestion: i.congestion, Pace: gridPace, Patience: gridPatience}, 4, to)
			obs, err := r.try(t.Context(), request{burst: &b, record: Recording{On: true}})
			must(t, err)
			if len(obs.Transfers) != 4 {
				t.Fatalf("%d data phases, want 4:\n%s", len(obs.Transfers), outcomes(&obs))
			}
			var sum retrans.Sent
			for n := range obs.Transfers {
				x := &obs.Transfers[n]
				if !x.Done {
					t.Errorf("flow %d: %s", n, x.Why)
				}
				add(&sum, &x.Read.Sent)
			}
			if !obs.Whole() {
				t.Fatalf("the capture has gaps: %d frames", obs.CaptureDrops)
			}
			agree(t, &obs, &sum)
			if n := shark(t, &obs); n >= 0 {
				near(t, "frames sent again, by tshark", sum.Frames, int64(n))
			}
		})
	}
}

func add(sum, s *retrans.Sent) {
	sum.Segments += s.Segments
	sum.Copies.Add(s.Copies)
	sum.Spurious.Add(s.Spurious)
	sum.Frames += s.Frames
	sum.DSACKs += s.DSACKs
	sum.Reordered += s.Reordered
}

// agree holds what was read off the wire against what the kernel counted in the client's namespace, where nothing else sends.
func agree(t *testing.T, obs *observe.Observation, sum *retrans.Sent) {
	t.Helper()
	c := obs.Counters
	timeouts, fast, slow := c["TcpExt.TCPTimeouts"], c["TcpExt.TCPFastRetrans"], c["TcpExt.TCPSlowStartRetrans"]
	near(t, "all", sum.Copies.Total(), c["Tcp.RetransSegs"])
	if *transferLong == 0 {
		return // on a busy machine acknowledgments are seen long before they are acted upon: the classes need one to themselves
	}
	near(t, "fast", sum.Copies[retrans.Fast], fast)
	near(t, "after a timeout", sum.Copies[retrans.AfterRTO], slow)
	near(t, "timeouts", sum.Copies[retrans.RTO], timeouts)
	near(t, "tail loss probes that repeat", sum.Copies[retrans.TLP], c["Tcp.RetransSegs"]-fast-slow-timeouts)
	near(t, "duplicate SACKs", sum.DSACKs, c["TcpExt.TCPDSACKRecv"]+c["TcpExt.TCPDSACKOfoRecv"])
	reordered(t, sum.Reordered, c["TcpExt.TCPSACKReorder"]+c["TcpExt.TCPTSReorder"])
	t.Logf("of %d segments: again %v (by class: unknown, rto, after, fast, tlp), needless %v; kernel: probes %d, probes that mended %d, DSACK undo %d", sum.Segments, sum.Copies,
		sum.Spurious, c["TcpExt.TCPLossProbes"], c["TcpExt.TCPLossProbeRecovery"], c["TcpExt.TCPDSACKUndo"])
}

// reordered wants the same moments of reordering within a tenth: the kernel counts some twice, by SACKs and by the echo, where it meant to send a copy
// that pacing still held back (tcp_packet_delayed, 6.18), which no segment shows.
func reordered(t *testing.T, ours int, theirs int64) {
	t.Helper()
	t.Logf("%-30s ours %5d, theirs %5d", "reordering", ours, theirs)
	if math.Abs(float64(int64(ours)-theirs)) > max(8, 0.1*float64(theirs)) {
		t.Errorf("reordering: %d by the wire, %d by the kernel", ours, theirs)
	}
}

// near wants two counts within 2 %, or one apart for each of the four connections where they are small.
func near(t *testing.T, what string, ours int, theirs int64) {
	t.Helper()
	apart := math.Abs(float64(int64(ours) - theirs))
	t.Logf("%-30s ours %5d, theirs %5d", what, ours, theirs)
	if apart > max(4, 0.02*float64(theirs)) {
		t.Errorf("%s: %d by the wire, %d by the other", what, ours, theirs)
	}
}

// shark counts the frames of ours that tshark takes for sent again; −1: it is not there, or the recording is cut.
func shark(t *testing.T, obs *observe.Observation) int {
	t.Helper()
	bin, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tshark is not installed")
		}
		return -1
	}
	if obs.Recorded == nil || obs.Recorded.Over > 0 {
		return -1
	}
	name := filepath.Join(t.TempDir(), "c.pcapng")
	f, err := os.Create(name)
	must(t, err)
	must(t, evidence.WriteCapture(f, evidence.Origin{}, []evidence.Round{{Observations: []observe.Observation{*obs}}}))
	must(t, f.Close())
	var out bytes.Buffer
	cmd := exec.Command(bin, "-n", "-r", name, "-Y", "tcp.dstport == 80 && tcp.len > 0 && (tcp.analysis.retransmission || tcp.analysis.out_of_order)", "-T", "fields", "-e", "frame.number")
	cmd.Stdout = &out
	must(t, cmd.Run())
	return strings.Count(out.String(), "\n")
}
