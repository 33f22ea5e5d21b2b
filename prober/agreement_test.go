package prober

import (
	"bufio"
	"context"
	"errors"
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

// onlooker is a tcpdump beside us on the client's device, whose capture is read as it is written.
type onlooker struct {
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
func (r *rig) callWitness(t testing.TB) *onlooker {
	t.Helper()
	w := &onlooker{rig: r, saw: make(chan testimony, 1)}
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
	why := strings.Join(first, "\n")
	if strings.Contains(why, "Couldn't change to") && os.Getenv("CI") != "true" {
		t.Skip("SKIPPED: tcpdump must be able to become another user: run the tests as root: " + why)
	}
	t.Fatalf("tcpdump does not listen:\n%s", why)
	return nil
}

// listen reads the capture up to the marker, and the rest of it so that tcpdump never waits for us.
func (w *onlooker) listen(out io.Reader) {
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
func (w *onlooker) testify(t testing.TB) testimony {
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
			for n := 0; ctx.Err() == nil; n++ {
				if n%(1<<16) == 0 {
					runtime.Gosched() // else whoever waits for a turn in this process waits 10 ms for each
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// disagreement is how far our times are from tcpdump's, never negative.
type disagreement struct{ syn, synACK, handshake, rtt []time.Duration }

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
	d.handshake = append(d.handshake, (a.Handshake - acks[0].Sub(syns[0])).Abs())
	if a.RTT > 0 { // else it is ambiguous which of several SYNs was answered, and none is claimed
		d.rtt = append(d.rtt, (a.RTT - acks[0].Sub(syns[a.Answered])).Abs())
	} else if len(syns) == 1 {
		return errors.New("no RTT of its one SYN")
	}
	return nil
}

// part is one kind of time, and how many there must be at least after a thousand connects.
type part struct {
	what  string
	off   []time.Duration
	least int
}

// parts are all kinds. A machine that is busy with more than this test may make the kernel repeat SYNs, whose round trips are ambiguous.
func (d *disagreement) parts() []part {
	return []part{{"SYN", d.syn, 1000}, {"SYN-ACK", d.synACK, 1000}, {"handshake", d.handshake, 1000}, {"RTT", d.rtt, 500}}
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

// witnessed is a rig with a peer that answers every SYN to a ghost, and to which the ways are known.
func witnessed(t testing.TB) *rig {
	t.Helper()
	tcpdumpPath(t)
	r := network(t)
	r.listen(t, func(p *peer, s *wire.Segment) {
		if isSYN(s) && (s.Dst.Addr() == addr(ghostV4) || s.Dst.Addr() == addr(ghostV6)) {
			p.send(synAckTo(s))
		}
	})
	r.start(t, EngineOptions{RingBytes: 16 << 20})
	r.burst(t, to(time.Second, 1, witnessedArms(), on(ghostV4, 80), on(ghostV6, 80)))
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
	obs := r.burst(t, to(patience, 250, witnessedArms(), on(ghostV4, 80), on(ghostV6, 80)))
	stop()
	saw := w.testify(t)
	if obs.CaptureDrops != 0 {
		t.Fatalf("our capture lost %d frames", obs.CaptureDrops)
	}
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if err := d.add(a, saw); err != nil {
			t.Fatalf("%s %d: %v", a.Arm, a.Index, err)
		}
	}
}

// Both read the kernel's own time of the frame, so that a busy machine moves neither. A SYN-ACK that comes straight from a kernel's TCP over
// veth would bring its departure time along, which is no time of receipt (include/linux/skbuff.h skb_tstamp), so that the kernel stamps it for
// each tap anew (net/packet/af_packet.c tpacket_rcv, 6.18): up to 0.9 µs apart, as measured with busy cores. A peer's comes as from a network
// card, with one stamp for all.
//
// Not parallel: other tests run timers that busy cores would make late.
func TestHandshakeTimesAreThoseOfTcpdumpOnABusyMachine(t *testing.T) {
	r := witnessed(t)
	var d disagreement
	r.compare(t, &d)
	for _, x := range d.parts() {
		s := spread(x.off)
		t.Logf("%s: %s", x.what, s)
		if s.n < x.least || s.p99 > time.Microsecond {
			t.Errorf("%s: p99 of %d is %s off, want at most 1µs of at least %d", x.what, s.n, s.p99, x.least)
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
	for _, x := range d.parts() {
		s := spread(x.off)
		b.ReportMetric(float64(s.p50), x.what+"-p50-ns")
		b.ReportMetric(float64(s.p99), x.what+"-p99-ns")
	}
}

// What the far side adds to a SYN-ACK is in every round trip, and in the fastest of ten there is little else.
//
// Not parallel: the wire runs in this process, and what other tests keep it waiting for would be in the round trip, too.
func TestADelayOfTheFarSideIsInTheRoundTrip(t *testing.T) {
	for _, added := range []time.Duration{ms, 30 * ms, 200 * ms} {
		t.Run(added.String(), func(t *testing.T) {
			r := behind(t, wires.Delay(added, 0, nil, wires.SYNACK))
			r.server.Serve(echoOn(80))
			r.start(t, EngineOptions{})
			const slack, bursts = 20 * ms, 3 // of which the first does, unless the machine is busy
			fastest := map[string]time.Duration{"kernel": patience, "raw": patience}
			for range bursts {
				r.roundTrips(t, added, fastest)
				if fastest["kernel"] < added+slack && fastest["raw"] < added+slack {
					break
				}
			}
			t.Logf("fastest: %v", fastest)
			for arm, rtt := range fastest {
				if rtt >= added+slack {
					t.Errorf("%s: the fastest round trip is %s with %s added", arm, rtt, added)
				}
			}
		})
	}
}

// roundTrips makes ten connects of each arm, apart so that no moment makes all of them late, and keeps the fastest of each.
func (r *rig) roundTrips(t *testing.T, added time.Duration, fastest map[string]time.Duration) {
	t.Helper()
	b := to(5*time.Second, 10, witnessedArms(), on(distantV4, 80))
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 15 * ms
	}
	obs := r.burst(t, b)
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Outcome != observe.Accepted || a.Clock != observe.TapClock {
			t.Fatalf("%s %d: %s %q, by the %s clock", a.Arm, a.Index, a.Outcome, a.Reason, a.Clock)
		}
		if a.RTT == 0 && len(a.SYNs) > 1 {
			continue // so late that its SYN was repeated: Karn
		}
		// The wire waits by the monotonic clock; the wall clock, which the tap stamps by, may be slewed by 500 ppm (adjtimex(2)).
		if a.RTT < added-added/2000 {
			t.Errorf("%s %d: RTT %s with %s added", a.Arm, a.Index, a.RTT, added)
		}
		fastest[a.Arm] = min(fastest[a.Arm], a.RTT)
	}
}

// The addresses at the two ends of a wire of ours.
const nearV4, distantV4 = "10.1.0.1", "10.1.0.2"

// behind is a network whose client and server are joined by a wire of ours with the stages.
func behind(t testing.TB, stages ...wires.Stage) *rig {
	t.Helper()
	r := network(t)
	r.client, r.server = r.Host("before the wire"), r.Host("behind the wire")
	r.near, r.far = wires.Cable(r.Net, r.client, r.server, stages)
	r.near.Addr(nearV4+"/24").Knows(distantV4, r.far)
	r.far.Addr(distantV4+"/24").Knows(nearV4, r.near)
	return r
}
