package prober

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// recorded executes a burst and keeps its frames.
func (r *rig) recorded(t testing.TB, b plan.Burst, payload int) observe.Observation {
	t.Helper()
	obs, err := r.try(t.Context(), request{burst: &b, record: Recording{On: true, Payload: payload}})
	must(t, err)
	if obs.Recorded == nil {
		t.Fatal("nothing was recorded")
	}
	return obs
}

// packetOf is a frame without its link header.
func packetOf(f *observe.Frame) []byte {
	if f.Bare {
		return f.Data
	}
	return f.Data[14:]
}

// whole holds a recording against its observation: each segment that was judged is there at its time, once, and each frame belongs to the
// flow of its attempt. It returns how many frames of each kind there are.
func whole(t *testing.T, o *observe.Observation) map[string]int {
	t.Helper()
	count := map[string]int{}
	seen := map[string]int{}
	for i := range o.Recorded.Frames {
		f := &o.Recorded.Frames[i]
		seen[fmt.Sprint(f.Attempt, f.At.UnixNano(), f.Outgoing)]++
		if len(f.Data) > o.Recorded.Snap || f.Orig < len(f.Data) {
			t.Errorf("frame %d: %d octets of %d, snap %d", i, len(f.Data), f.Orig, o.Recorded.Snap)
		}
		if f.Attempt < 0 {
			count["neighbour"]++
			continue
		}
		count[kindOf(t, f, o.Attempts[f.Attempt].Flow)]++
	}
	once := func(i int, at time.Time, outgoing bool) {
		if n := seen[fmt.Sprint(i, at.UnixNano(), outgoing)]; n != 1 {
			t.Errorf("attempt %d: the segment at %s (outgoing %t) is recorded %d times", i, at, outgoing, n)
		}
	}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		for k := range a.SYNs {
			once(i, a.SYNs[k].At, true)
		}
		for k := range a.Answers {
			once(i, a.Answers[k].At, false)
		}
	}
	for i := range o.Neighbor {
		once(-1, o.Neighbor[i].At, o.Neighbor[i].Outgoing)
	}
	return count
}

// kindOf names a frame, which must be of the flow or quote it.
func kindOf(t *testing.T, f *observe.Frame, flow wire.Flow) string {
	t.Helper()
	flow.Dst = unmapped(flow.Dst)
	var seg wire.Segment
	if wire.Parse(packetOf(f), &seg) == wire.ReasonNone {
		if got := seg.Flow(); f.Outgoing && got != flow || !f.Outgoing && got != flow.Reverse() {
			t.Errorf("%s is kept with %s", got, flow)
		}
		switch {
		case seg.Flags&wire.RST != 0:
			return "RST"
		case seg.Flags.Has(wire.SYN | wire.ACK):
			return "SYN-ACK"
		case seg.Flags&wire.SYN != 0:
			return "SYN"
		case seg.Length > 0:
			return "data"
		}
		return "ACK"
	}
	var m wire.ICMPError
	if r := wire.ParseICMP(packetOf(f), &m); r != wire.ReasonNone || m.Quoted != flow {
		t.Errorf("a frame that is neither of %s nor quotes it: %s, %x", flow, r, f.Data)
	}
	return "ICMP"
}

func TestWhatARunSendsAndReceivesIsRecorded(t *testing.T) {
	t.Parallel()
	r := network(t)
	fate(r.server)
	fate(r.client)
	r.start(t, EngineOptions{})
	for _, host := range []string{serverV4, serverV6, "127.0.0.1", "::1"} {
		for _, tc := range []struct {
			port uint16
			want string // kind of answer
		}{{portServed, "SYN-ACK"}, {portClosed, "RST"}, {portRejected, "ICMP"}} {
			t.Run(fmt.Sprintf("%s %s", tc.want, host), func(t *testing.T) {
				t.Parallel()
				obs := r.recorded(t, to(5*time.Second, 4, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(host, tc.port)), 0)
				got := whole(t, &obs)
				if got["SYN"] != 8 || got[tc.want] < 8 {
					t.Errorf("8 SYNs and 8 × %s are wanted: %v\n%s", tc.want, got, outcomes(&obs))
				}
				if d := obs.Recorded.Devices; len(d) != 1 || d[0].Name != map[bool]string{true: "lo", false: r.near.Name}[addr(host).IsLoopback()] {
					t.Errorf("devices %v", d)
				}
			})
		}
	}
}

// A burst that nobody wants recorded leaves nothing, and what others send at the same time is in no recording.
func TestOnlyTheOwnFlowsAreRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	b := to(3*time.Second, 20, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if i%2 == 0 {
				obs := r.recorded(t, b, 0)
				if got := whole(t, &obs); got["SYN"] != 40 {
					t.Errorf("%v: %s", got, outcomes(&obs))
				}
				return
			}
			if obs := r.burst(t, b); obs.Recorded != nil {
				t.Error("recorded unasked")
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			must(t, r.client.Do(func() error { return dialFrom("10.0.0.1:0", on(serverV4, 80)) }))
		}
	})
	wg.Wait()
}

// Payload is kept as far as it was asked for, and no further; how long the segment was stays known.
func TestPayloadIsCut(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	secret := []byte("GET /?password=hunter2 HTTP/1.0\r\n\r\n")
	arm := rawArm(plan.Single())
	arm.Script.OnSYNACK = plan.Acknowledge
	arm.Script.Then = plan.Exchange{Data: secret, Close: plan.Abort, CloseDelay: 200 * ms}
	for _, keep := range []int{0, 4} {
		obs := r.recorded(t, to(3*time.Second, 2, []plan.Arm{arm}, on(serverV4, 80), on(serverV6, 80)), keep)
		got := whole(t, &obs)
		if got["data"] < 8 {
			t.Errorf("data both ways on four flows: %v", got)
		}
		for i := range obs.Recorded.Frames {
			f := &obs.Recorded.Frames[i]
			var seg wire.Segment
			if wire.Parse(packetOf(f), &seg) != wire.ReasonNone || seg.Length == 0 {
				continue
			}
			if seg.Length != len(secret) || !bytes.Equal(seg.Payload, secret[:keep]) || f.Orig != len(f.Data)-keep+len(secret) {
				t.Errorf("%d octets are asked for, %q of %d are kept, frame %d of %d", keep, seg.Payload, seg.Length, len(f.Data), f.Orig)
			}
		}
	}
}

// The requests for the next hop are recorded with the burst that waits for them.
func TestNeighbourFramesAreRecorded(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.far.Addr("10.0.0.77/24").Addr("fd00::77/64")
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	for _, host := range []string{"10.0.0.77", "fd00::77"} {
		obs := r.recorded(t, to(5*time.Second, 2, []plan.Arm{kernelArm(plan.Single())}, on(host, 80)), 0)
		if got := whole(t, &obs); got["neighbour"] < 2 || got["neighbour"] != len(obs.Neighbor) {
			t.Errorf("%s: %v, %d events", host, got, len(obs.Neighbor))
		}
		for i := range obs.Recorded.Frames {
			if f := &obs.Recorded.Frames[i]; f.Attempt < 0 && addr(host).Is4() && len(f.Data) != 14+arpOctets {
				t.Errorf("ARP of %d octets: padding is kept", len(f.Data))
			}
		}
	}
}

// A device without a link header shows IP packets, and they are recorded as that.
func TestADeviceWithoutALinkHeader(t *testing.T) {
	t.Parallel()
	r := network(t)
	tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE,
		Queues: 1, NonPersist: true}
	if err := r.client.Do(func() error { return addTun(tun, "10.9.0.1/24") }); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED: no tun device: %v", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { refuseAll(tun.Fds[0]) })
	t.Cleanup(func() {
		tun.Fds[0].Close()
		wg.Wait()
	})
	r.start(t, EngineOptions{})
	obs := r.recorded(t, to(5*time.Second, 3, []plan.Arm{kernelArm(plan.Single())}, on("10.9.0.2", 80)), 0)
	got := whole(t, &obs)
	if got["SYN"] != 3 || got["RST"] != 3 {
		t.Errorf("%v\n%s", got, outcomes(&obs))
	}
	for i := range obs.Recorded.Frames {
		if f := &obs.Recorded.Frames[i]; !f.Bare || f.Data[0]>>4 != 4 {
			t.Errorf("%+v", f)
		}
	}
}

func addTun(tun *netlink.Tuntap, prefix string) error {
	if err := netlink.LinkAdd(tun); err != nil {
		return err
	}
	p, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(tun, p); err != nil {
		return err
	}
	return netlink.LinkSetUp(tun)
}

// refuseAll answers every SYN that comes out of a tun device with an RST, until it is closed.
func refuseAll(f *os.File) {
	b, out := make([]byte, 2048), make([]byte, 128)
	for {
		n, err := f.Read(b)
		if err != nil {
			return
		}
		var seg wire.Segment
		if wire.Parse(b[:n], &seg) != wire.ReasonNone || !isSYN(&seg) {
			continue
		}
		rst := wire.Segment{Src: seg.Dst, Dst: seg.Src, Ack: seg.Seq + 1, Flags: wire.RST | wire.ACK, HopLimit: 64}
		n, err = rst.Encode(out)
		if err != nil {
			panic(err)
		}
		if _, err := f.Write(out[:n]); err != nil {
			return
		}
	}
}

// synFrame is a frame as the tap gives it.
func synFrame() *rawsock.Frame {
	s := wire.Segment{Src: on(clientV4, 61000), Dst: on(serverV4, 80), Flags: wire.SYN, HopLimit: 64, Options: wire.LinuxSYN(1460, 7, 7)}
	b := make([]byte, 14+s.Size(), 14+s.Size()+6)
	if _, err := s.Encode(b[14:]); err != nil {
		panic(err)
	}
	b[12] = 8
	b = b[:len(b)+6] // padding
	return &rawsock.Frame{At: 1, IfIndex: 2, Outgoing: true, EtherType: etherIPv4, Link: b[:14:14], Net: b[14:], Len: len(b) - 14}
}

// A recording is bounded, and says what it did not keep.
func TestARecordingIsBounded(t *testing.T) {
	t.Parallel()
	r := newRecorder(Recording{On: true})
	f := synFrame()
	for range recordFrames + 5 {
		r.keep(f, 0)
	}
	got := r.recording()
	if len(got.Frames) != recordFrames || got.Over != 5 || r.size > recordBytes {
		t.Errorf("%d frames, %d over, %d octets", len(got.Frames), got.Over, r.size)
	}
	f.Net = append(f.Net, make([]byte, maxPayload)...)
	f.Len = len(f.Net)
	r = newRecorder(Recording{On: true, Payload: 1 << 20})
	for range recordFrames {
		r.keep(f, 0)
	}
	if got := r.recording(); got.Snap != headersSnap+maxPayload || r.size > recordBytes || len(got.Frames)+got.Over != recordFrames {
		t.Errorf("snap %d, %d octets, %d frames, %d over", got.Snap, r.size, len(got.Frames), got.Over)
	}
}

// A tag that the kernel took off is put back, padding is left out, and the recorder keeps its own copy.
func TestARecordedFrameStandsOnItsOwn(t *testing.T) {
	t.Parallel()
	r := newRecorder(Recording{On: true})
	f := synFrame()
	f.VLAN = 7
	r.keep(f, 3)
	want := append(append(append([]byte(nil), f.Link[:12]...), 0x81, 0, 0, 7, 8, 0), f.Net[:60]...)
	clear(f.Net)
	clear(f.Link)
	got := r.recording().Frames[0]
	if !bytes.Equal(got.Data, want) || got.Orig != 14+4+66 || got.Attempt != 3 || got.Bare || !got.Outgoing || got.At.UnixNano() != 1 {
		t.Errorf("%+v\nwant %x", got, want)
	}
}

// Recording asks for memory once in hundreds of frames, and a recorder that is off never.
func TestRecordingAllocatesInPieces(t *testing.T) {
	f := synFrame()
	r := newRecorder(Recording{On: true})
	if n := testing.AllocsPerRun(pageFrames*20, func() { r.keep(f, 0) }); n > 0.1 {
		t.Errorf("%g allocations a frame", n)
	}
	var off *recorder
	if n := testing.AllocsPerRun(100, func() { off.keep(f, 0) }); n != 0 {
		t.Errorf("%g allocations a frame when off", n)
	}
}

// What recording costs the reader of the tap for each frame: the same frames of one run, recorded and not.
func BenchmarkRecording(b *testing.B) {
	for name, rec := range map[string]Recording{"off": {}, "on": {On: true}} {
		b.Run(name, func(b *testing.B) {
			e := deaf()
			r, _ := posed(e, plan.Reset, 16)
			f := ofRun(e, r)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%recordFrames == 0 {
					r.tape = newRecorder(rec)
				}
				n++
				f.At++
				e.onFrame(f)
			}
		})
	}
}

// BenchmarkRecordedBurst is a whole burst of 64 connects that are refused, recorded and not; each goes to another port, so that the source
// ports last.
func BenchmarkRecordedBurst(b *testing.B) {
	for name, rec := range map[string]Recording{"off": {}, "on": {On: true}} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, EngineOptions{})
			for port := uint16(1000); b.Loop(); port++ {
				burst := to(3*time.Second, 64, []plan.Arm{kernelArm(plan.Single())}, on(serverV4, port))
				if _, err := r.try(context.Background(), request{burst: &burst, record: rec}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// ofRun is a frame that leaves on a flow of the run's: an ACK of its first kernel shot.
func ofRun(e *engine, r *run) *rawsock.Frame {
	for i := range r.shots {
		s := &r.shots[i]
		if s.raw || s.rec < 0 || e.flows.records[s.rec].run == 0 {
			continue
		}
		seg := wire.Segment{Src: s.flow.Src, Dst: s.flow.Dst, Flags: wire.ACK, HopLimit: 64}
		b := make([]byte, 14+seg.Size())
		if _, err := seg.Encode(b[14:]); err != nil {
			panic(err)
		}
		return &rawsock.Frame{EtherType: etherIPv4, IfIndex: 2, Outgoing: true, Link: b[:14:14], Net: b[14:], Len: len(b) - 14}
	}
	panic("the run has no kernel shot")
}
