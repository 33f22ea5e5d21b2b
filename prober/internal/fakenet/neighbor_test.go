package fakenet_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// requests lists when who-has passed the tap, from the burst's start.
func requests(o observe.Observation, outgoing bool) (at []time.Duration) {
	for _, e := range o.Neighbor {
		if e.Kind == observe.NeighborRequest && e.Outgoing == outgoing {
			at = append(at, e.At.Sub(o.Started))
		}
	}
	return at
}

func near(d, want, slack time.Duration) bool { return d >= want && d <= want+slack }

// window is how many segments of a kind are to pass the tap within a time.
type window struct {
	out      bool
	flags    wire.Flags
	from, to time.Duration
	want     int
}

func counts(t *testing.T, seen []sent, all []window) {
	t.Helper()
	for _, c := range all {
		if n := count(seen, c.out, c.flags, c.from, c.to); n != c.want {
			t.Errorf("%s out=%t in %s–%s: %d, want %d", c.flags, c.out, c.from, c.to, n, c.want)
		}
	}
}

// The lab's own figures: burst 10, capacity 3, ARP delay 20 ms.
func TestClientLacksServer(t *testing.T) {
	w := fakenet.LocalQueue(1, 3, 20*time.Millisecond)
	seen := watch(w)
	o := w.Run(connects(w, 10, 5*time.Second))
	if at := requests(o, true); len(at) != 1 || at[0] != 0 {
		t.Errorf("requests at %v, want one at once", at)
	}
	counts(t, *seen, []window{
		{true, wire.SYN, 0, 20 * time.Millisecond, 0},                      // before the reply
		{true, wire.SYN, 20 * time.Millisecond, 900 * time.Millisecond, 3}, // with it
		{true, wire.SYN, time.Second, 1100 * time.Millisecond, 7},
	})
	for i, a := range o.Attempts {
		late := i < 7
		took := a.Kernel.Completed.Sub(a.Kernel.Started)
		switch {
		case a.Outcome != observe.Accepted:
			t.Errorf("attempt %d: %s", i, a.Outcome)
		case late && (a.Unseen != 1 || len(a.SYNs) != 1 || !near(took, time.Second, 80*time.Millisecond)):
			t.Errorf("attempt %d: unseen %d, %d SYNs, %s", i, a.Unseen, len(a.SYNs), took)
		case !late && (a.Unseen != 0 || !near(took, 20*time.Millisecond, 3*time.Millisecond)):
			t.Errorf("attempt %d: unseen %d, %s", i, a.Unseen, took)
		}
	}
	if n := o.Counters["arp_cache.unresolved_discards"]; n != 7 {
		t.Errorf("unresolved_discards %d, want 7", n)
	}
	if o := w.Run(connects(w, 10, 5*time.Second)); len(o.Neighbor) != 0 || outcomes(o) != "10 accepted" || o.Attempts[0].Retransmissions != 0 {
		t.Errorf("the warm repeat: %s, %d ARP frames", outcomes(o), len(o.Neighbor))
	}
}

func TestServerLacksClient(t *testing.T) {
	w := fakenet.RemoteQueue(1, 3, 20*time.Millisecond)
	seen := watch(w)
	o := w.Run(connects(w, 10, 5*time.Second))
	if at := requests(o, false); len(at) != 1 || at[0] > 5*time.Millisecond {
		t.Errorf("who-has from the server at %v, want one at once", at)
	}
	counts(t, *seen, []window{
		{true, wire.SYN, 0, 20 * time.Millisecond, 10},
		{false, synAck, 20 * time.Millisecond, 900 * time.Millisecond, 3},
		{true, wire.SYN, time.Second, 1100 * time.Millisecond, 7},
		{false, synAck, time.Second, 1200 * time.Millisecond, 14}, // seven repeats of the server's, seven answers to ours
	})
	for i, a := range o.Attempts {
		if late := i < 7; a.Outcome != observe.Accepted || (a.Retransmissions == 1) != late || a.Unseen != 0 {
			t.Errorf("attempt %d: %s, %d repeats", i, a.Outcome, a.Retransmissions)
		}
	}
}

// A reply after a second and more delivers the answers to the first and second SYN of one port at one instant.
func TestRemoteReplyTooLate(t *testing.T) {
	w := fakenet.RemoteQueue(1, 256, 1500*time.Millisecond)
	seen := watch(w)
	w.Run(connects(w, 3, 5*time.Second))
	if n := count(*seen, false, synAck, 1500*time.Millisecond, 1502*time.Millisecond); n < 6 {
		t.Errorf("%d SYN-ACKs at the instant of the reply, want two or more for each of 3 ports", n)
	}
}

func TestNextHopNeverAnswers(t *testing.T) {
	w := fakenet.LocalDead(1)
	o := w.Run(connects(w, 5, 10*time.Second))
	if got := outcomes(o); got != "5 local_drop" {
		t.Error(got)
	}
	at := requests(o, true)
	for i, want := range []time.Duration{0, time.Second, 2 * time.Second} {
		if i >= len(at) || !near(at[i], want, 150*time.Millisecond) {
			t.Fatalf("requests at %v", at)
		}
	}
	for i, a := range o.Attempts {
		took := a.Kernel.Completed.Sub(a.Kernel.Started)
		if a.Kernel.Errno != "EHOSTUNREACH" || !near(took, 3*time.Second, 250*time.Millisecond) || len(a.SYNs) != 0 {
			t.Errorf("attempt %d: %s after %s, %d SYNs seen", i, a.Kernel.Errno, took, len(a.SYNs))
		}
	}
	if o := w.Run(raws(w, 2, script(1, plan.Reset), time.Second)); outcomes(o) != "2 not_sent" {
		t.Errorf("raw: %s", outcomes(o))
	}
}

// What leaves the vantage teaches the server: on one link, neither knowing the other looks like the vantage not knowing.
func TestRequestTeaches(t *testing.T) {
	for _, learns := range []bool{true, false} {
		w := fakenet.BothQueues(1, 3, 20*time.Millisecond)
		w.Near.Learns = learns
		o := w.Run(connects(w, 3, 5*time.Second))
		if asked := len(requests(o, false)) > 0; asked == learns {
			t.Errorf("the server learns: %t; who-has from it: %t", learns, asked)
		}
	}
}

// After a failover without an announcement packets go to the old MAC until the entry is verified: 5 s and three requests.
func TestAddressMoved(t *testing.T) {
	w := fakenet.VIPMoved(1)
	o := w.Run(connects(w, 4, 30*time.Second))
	for i, a := range o.Attempts {
		if a.Outcome != observe.Accepted || !near(a.Handshake, 8*time.Second, 4*time.Second) || len(a.SYNs) < 6 {
			t.Errorf("attempt %d: %s after %s and %d SYNs", i, a.Outcome, a.Handshake, len(a.SYNs))
		}
		if a.SYNs[0].NextHop == a.SYNs[len(a.SYNs)-1].NextHop {
			t.Errorf("attempt %d: the next hop's MAC did not change", i)
		}
	}
	w = fakenet.VIPMoved(1)
	w.Announce(w.Target.Addr(), w.Near.Moved)
	if o := w.Run(connects(w, 4, 30*time.Second)); o.Attempts[3].Retransmissions != 0 {
		t.Error("an announcement should have healed it")
	}
}

func TestFlapping(t *testing.T) {
	w := fakenet.Flapping(1, 300*time.Millisecond)
	b := connects(w, 1, 2*time.Second)
	b.Linger = true
	macs := map[string]int{}
	for _, e := range w.Run(b).Neighbor {
		if e.Kind == observe.NeighborGratuitous {
			macs[e.SenderMAC]++
		}
	}
	if len(macs) != 2 {
		t.Errorf("announcements by %v, want two MACs in turn", macs)
	}
}

func TestTableFull(t *testing.T) {
	w := fakenet.TableFull(1)
	o := w.Run(connects(w, 3, 2500*time.Millisecond))
	if outcomes(o) != "3 local_drop" || len(o.Neighbor) != 0 || o.Counters["arp_cache.table_fulls"] == 0 {
		t.Errorf("%s, %d ARP frames, counters %v", outcomes(o), len(o.Neighbor), o.Counters)
	}
}

// Who has to ask twice.
func TestSlowARP(t *testing.T) {
	w := fakenet.SlowARP(1, 2, 100*time.Millisecond)
	o := w.Run(connects(w, 3, 5*time.Second))
	if at := requests(o, true); outcomes(o) != "3 accepted" || len(at) != 2 || !near(at[1], time.Second, 100*time.Millisecond) {
		t.Errorf("%s, requests at %v", outcomes(o), at)
	}
}

func TestDuplicateAddress(t *testing.T) {
	w := fakenet.DuplicateAddress(1)
	o := w.Run(connects(w, 1, time.Second))
	var macs []string
	for _, e := range o.Neighbor {
		if e.Kind == observe.NeighborReply {
			macs = append(macs, e.SenderMAC)
		}
	}
	if len(macs) != 2 || macs[0] == macs[1] {
		t.Errorf("replies from %v, want two MACs", macs)
	}
}

// The survivors of a queue are exactly its last packets, whoever's queue it is.
func TestQueueKeepsTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := rapid.IntRange(1, 256).Draw(t, "queue")
		n := rapid.IntRange(1, 300).Draw(t, "burst")
		delay := time.Duration(rapid.IntRange(5, 900).Draw(t, "delay ms")) * time.Millisecond
		remote := rapid.Bool().Draw(t, "remote")
		seed := rapid.Uint64().Draw(t, "seed")
		w := fakenet.LocalQueue(seed, q, delay)
		if remote {
			w = fakenet.RemoteQueue(seed, q, delay)
		}
		o := w.Run(connects(w, n, 5*time.Second))
		for i, a := range o.Attempts {
			if lost := i < n-q; (a.Retransmissions > 0) != lost || a.Outcome != observe.Accepted {
				t.Fatalf("attempt %d of %d, queue %d: %s, %d repeats", i, n, q, a.Outcome, a.Retransmissions)
			}
		}
	})
}

// The remote queue measured as an experiment would: an unused source, a closed port, RSTs counted.
func TestRemoteQueueAtClosedPort(t *testing.T) {
	for _, q := range []int{1, 3, 7, 78, 256} {
		w := fakenet.RemoteQueue(1, q, 0)
		w.Client.Answers.Delay = 300 * time.Millisecond
		clear(w.Hosts[0].Ports)
		o := w.Run(raws(w, 300, script(1, plan.Reset), time.Second))
		var at []int
		for i, a := range o.Attempts {
			if a.Outcome == observe.Refused {
				at = append(at, i)
			}
		}
		want := make([]int, 0, q)
		for i := 300 - q; i < 300; i++ {
			want = append(want, i)
		}
		if !slices.Equal(at, want) {
			t.Errorf("queue %d: refused %v", q, at)
		}
	}
}

// The engine asks the wire itself for raw shots: that makes no entry of the kernel's, and shows who else answers.
func TestAsk(t *testing.T) {
	w := fakenet.DuplicateAddress(1)
	o := w.Run(raws(w, 1, script(1, plan.Reset), 100*time.Millisecond))
	if at := requests(o, true); outcomes(o) != "1 accepted" || len(at) != 1 {
		t.Errorf("raw: %s, requests at %v", outcomes(o), at)
	}
	b := connects(w, 1, time.Second)
	b.Prepare = []plan.NeighborStep{{Action: plan.Ask, Addr: w.Target.Addr()}}
	o = w.Run(b)
	if at := requests(o, true); outcomes(o) != "1 accepted" || len(at) != 2 || at[0] >= 0 || at[1] != 0 {
		t.Errorf("kernel after asking: %s, requests at %v, want the step's and the kernel's own", outcomes(o), at)
	}
	if o = w.Run(b); len(requests(o, true)) != 1 {
		t.Errorf("asked when known: requests at %v, want the step's alone", requests(o, true))
	}
}

func TestForget(t *testing.T) {
	w := fakenet.Clean(1)
	b := connects(w, 3, time.Second)
	b.Prepare = []plan.NeighborStep{{Action: plan.Forget, Addr: w.Target.Addr()}}
	if o := w.Run(b); len(o.Neighbor) != 0 || len(o.Unmeasured) == 0 {
		t.Errorf("not granted, yet %d ARP frames; %q", len(o.Neighbor), o.Unmeasured)
	}
	w.Client.MayForget = true
	if o := w.Run(b); len(requests(o, true)) != 1 {
		t.Errorf("granted, yet %d requests", len(requests(o, true)))
	}
	w.Forget()
	if o := w.Run(connects(w, 3, time.Second)); len(requests(o, false)) != 1 {
		t.Errorf("the server has forgotten us, yet asked %d times", len(requests(o, false)))
	}
}
