package prober

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// witnessKey is a segment as tcpdump and we both know it.
type witnessKey struct {
	flow  wire.Flow
	flags wire.Flags
	seq   wire.Seq
}

// testimony is when tcpdump saw each segment, repeats in order.
type testimony map[witnessKey][]time.Time

// witness is a tcpdump beside us on the client's device, whose capture is read as it is written.
type witness struct {
	rig  *rig
	cmd  *exec.Cmd
	says *bufio.Scanner
	saw  chan testimony // one, when the marker has come; closed without where tcpdump ended before it
	read sync.WaitGroup
}

// markerPort is where the last connect of a capture goes: once tcpdump has shown its SYN, all before it has been shown, too.
const markerPort = 9

func tcpdumpPath(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("tcpdump")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("tcpdump is not installed")
	}
	if err != nil {
		t.Skip("SKIPPED: tcpdump is not installed")
	}
	return bin
}

// callWitness starts a tcpdump and returns when it captures.
func (r *rig) callWitness(t testing.TB) *witness {
	t.Helper()
	w := &witness{rig: r, saw: make(chan testimony, 1)}
	w.cmd = r.client.Command(t.Context(), tcpdumpPath(t), "-i", r.near.Name, "-w", "-", "-U", "--immediate-mode",
		"--time-stamp-precision=nano", "-s", "256", "-B", "32768", "-Z", "root", "tcp")
	out, err := w.cmd.StdoutPipe()
	must(t, err)
	said, err := w.cmd.StderrPipe()
	must(t, err)
	must(t, r.client.Start(w.cmd))
	w.read.Go(func() { w.listen(out) })
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // ended long ago where the test went well
		w.read.Wait()
		_ = w.cmd.Wait()
	})
	w.says = bufio.NewScanner(said)
	var first []string
	for w.says.Scan() {
		if strings.Contains(w.says.Text(), "listening on") {
			return w
		}
		first = append(first, w.says.Text())
	}
	t.Fatalf("tcpdump does not listen:\n%s", strings.Join(first, "\n"))
	return nil
}

// listen reads the capture up to the marker, and the rest of it so that tcpdump never waits for us.
func (w *witness) listen(out io.Reader) {
	defer close(w.saw)
	capture, err := pcapgo.NewReader(out)
	if err != nil {
		return
	}
	all := testimony{}
	for {
		frame, info, err := capture.ReadPacketData()
		if err != nil {
			return
		}
		var seg wire.Segment
		if len(frame) <= 14 || wire.Parse(frame[14:], &seg) != wire.ReasonNone {
			continue
		}
		if seg.Dst.Port() == markerPort {
			w.saw <- all
			_, _ = io.Copy(io.Discard, out)
			return
		}
		k := witnessKey{seg.Flow(), seg.Flags, seg.Seq}
		all[k] = append(all[k], info.Timestamp)
	}
}

// testify ends the capture and returns all of it.
func (w *witness) testify(t testing.TB) testimony {
	t.Helper()
	w.rig.burst(t, to(time.Second, 1, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, markerPort)))
	var all testimony
	select {
	case all = <-w.saw:
	case <-time.After(patience):
	}
	must(t, w.cmd.Process.Signal(os.Interrupt))
	var last []string
	for w.says.Scan() {
		last = append(last, w.says.Text())
	}
	w.read.Wait()
	must(t, w.cmd.Wait())
	if all == nil || !slices.Contains(last, "0 packets dropped by kernel") {
		t.Fatalf("tcpdump has not seen everything:\n%s", strings.Join(last, "\n"))
	}
	return all
}

// spin keeps every core busy until stop, or for patience at most.
func spin(t testing.TB) (stop func()) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// disagreement is how far our times are from tcpdump's, never negative.
type disagreement struct{ syn, synACK, rtt []time.Duration }

// add compares one attempt.
func (d *disagreement) add(a *observe.Attempt, saw testimony) error {
	if a.Outcome != observe.Accepted || a.Clock != observe.TapClock || a.Answered < 0 || len(a.Answers) == 0 {
		return fmt.Errorf("%s %q, by the %s clock, answered %d, %d answers", a.Outcome, a.Reason, a.Clock, a.Answered, len(a.Answers))
	}
	first := &a.Answers[0]
	syns, acks := saw[witnessKey{a.Flow, wire.SYN, a.ISS}], saw[witnessKey{a.Flow.Reverse(), wire.SYN | wire.ACK, first.Seq}]
	if len(syns) != len(a.SYNs) || len(acks) == 0 {
		return fmt.Errorf("%d SYNs; tcpdump saw %d, and %d SYN-ACKs", len(a.SYNs), len(syns), len(acks))
	}
	for i := range syns {
		d.syn = append(d.syn, a.SYNs[i].At.Sub(syns[i]).Abs())
	}
	d.synACK = append(d.synACK, first.At.Sub(acks[0]).Abs())
	d.rtt = append(d.rtt, (a.RTT - acks[0].Sub(syns[a.Answered])).Abs())
	return nil
}

// distribution is of times that were sorted.
type distribution struct {
	n, exact       int
	p50, p99, most time.Duration
}

func spread(ds []time.Duration) distribution {
	slices.Sort(ds)
	exact, _ := slices.BinarySearch(ds, 1)
	return distribution{len(ds), exact, ds[len(ds)/2], ds[len(ds)*99/100], ds[len(ds)-1]}
}

func (d distribution) String() string {
	return fmt.Sprintf("%d of %d to the nanosecond, p50 %s, p99 %s, worst %s", d.exact, d.n, d.p50, d.p99, d.most)
}

// witnessed is a rig whose server can queue a thousand connects, and to which the ways are known.
func witnessed(t testing.TB) *rig {
	t.Helper()
	tcpdumpPath(t)
	r := network(t)
	r.server.Serve(topo.Service{Port: 80, Then: topo.Echo, Backlog: 4096})
	r.start(t, EngineOptions{RingBytes: 16 << 20})
	r.burst(t, to(time.Second, 1, witnessedArms(), on(serverV4, 80), on(serverV6, 80)))
	return r
}

func witnessedArms() []plan.Arm {
	return []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}
}

// compare makes a thousand connects with every core busy and sets our times against tcpdump's.
func (r *rig) compare(t testing.TB, d *disagreement) {
	t.Helper()
	w := r.callWitness(t)
	stop := spin(t)
	obs := r.burst(t, to(patience, 250, witnessedArms(), on(serverV4, 80), on(serverV6, 80)))
	stop()
	saw := w.testify(t)
	if obs.CaptureDrops != 0 {
		t.Fatalf("our capture lost %d frames", obs.CaptureDrops)
	}
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; d.add(a, saw) != nil {
			t.Fatalf("%s %d: %v", a.Arm, a.Index, d.add(a, saw))
		}
	}
}

// Both read the kernel's own time of the frame, so that a busy machine moves neither. What may differ is a frame that the kernel stamps
// for each tap anew: 0.24 to 0.34 µs for SYN-ACKs of a server on the same machine, as measured on Linux 6.18.
//
// Not parallel: other tests run timers that busy cores would make late.
func TestHandshakeTimesAreThoseOfTcpdumpOnABusyMachine(t *testing.T) {
	r := witnessed(t)
	var d disagreement
	r.compare(t, &d)
	for _, x := range []struct {
		what string
		off  []time.Duration
	}{{"SYN", d.syn}, {"SYN-ACK", d.synACK}, {"RTT", d.rtt}} {
		s := spread(x.off)
		t.Logf("%s: %s", x.what, s)
		if s.n < 1000 || s.p99 > time.Microsecond {
			t.Errorf("%s: p99 of %d is %s off, want at most 1µs of at least 1000", x.what, s.n, s.p99)
		}
	}
}

// BenchmarkAgreement reports how far our times are from tcpdump's; its time is that of starting and ending a tcpdump, too.
func BenchmarkAgreement(b *testing.B) {
	r := witnessed(b)
	var d disagreement
	for b.Loop() {
		r.compare(b, &d)
	}
	report := func(what string, off []time.Duration) {
		s := spread(off)
		b.ReportMetric(float64(s.p50), what+"-p50-ns")
		b.ReportMetric(float64(s.p99), what+"-p99-ns")
	}
	report("SYN", d.syn)
	report("SYN-ACK", d.synACK)
	report("RTT", d.rtt)
}

// What the far side adds to a SYN-ACK is in every round trip, and in the fastest of ten there is little else.
func TestADelayOfTheFarSideIsInTheRoundTrip(t *testing.T) {
	t.Parallel()
	for _, added := range []time.Duration{ms, 30 * ms, 200 * ms} {
		t.Run(added.String(), func(t *testing.T) {
			t.Parallel()
			r := delayed(t, added)
			obs := r.burst(t, to(5*time.Second, 10, witnessedArms(), on("10.1.0.2", 80)))
			fastest := map[string]time.Duration{}
			for i := range obs.Attempts {
				a := &obs.Attempts[i]
				if a.Outcome != observe.Accepted || a.Clock != observe.TapClock {
					t.Fatalf("%s %d: %s %q, by the %s clock", a.Arm, a.Index, a.Outcome, a.Reason, a.Clock)
				}
				if a.RTT == 0 {
					continue // so late that its SYN was repeated: Karn
				}
				// The wire waits by the monotonic clock; the wall clock, which the tap stamps by, may be slewed by 500 ppm (adjtimex(2)).
				if a.RTT < added-added/2000 {
					t.Errorf("%s %d: RTT %s with %s added", a.Arm, a.Index, a.RTT, added)
				}
				if f, ok := fastest[a.Arm]; !ok || a.RTT < f {
					fastest[a.Arm] = a.RTT
				}
			}
			for _, arm := range obs.Arms {
				f, ok := fastest[arm.Name]
				t.Logf("%s: fastest %s", arm.Name, f)
				if !ok || f-added >= 20*ms {
					t.Errorf("%s: the fastest round trip of ten is %s with %s added", arm.Name, f, added)
				}
			}
		})
	}
}

// delayed is a rig whose cable holds every SYN-ACK, in order.
func delayed(t *testing.T, by time.Duration) *rig {
	t.Helper()
	r := network(t)
	client, server := r.Host("near the delay"), r.Host("behind the delay")
	near, far := wires.Cable(r.Net, client, server, []wires.Stage{wires.Delay(by, 0, nil, wires.SYNACK)})
	near.Addr("10.1.0.1/24").Knows("10.1.0.2", far)
	far.Addr("10.1.0.2/24").Knows("10.1.0.1", near)
	server.Serve(echoOn(80))
	r.client = client
	return r.start(t, EngineOptions{})
}
