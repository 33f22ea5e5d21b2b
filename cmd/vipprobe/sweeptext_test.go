package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// swept is a sweep that came to something of everything.
func swept() *sweeping {
	f := &sweepFlags{rate: 1000, repeats: 1, list: 3, shots: 1}
	s := &sweeping{flags: f, report: &prober.SweepReport{LastSent: time.Time{}.Add(4 * time.Second), CaptureDrops: 7}}
	add := func(dst string, rs ...sweep.Result) {
		for _, r := range rs {
			r.Flow = wire.Flow{Dst: netip.MustParseAddrPort(dst)}
			s.tally.Add(r)
		}
	}
	took := func(d time.Duration, again int) sweep.Result {
		return sweep.Result{State: sweep.Accepted, Left: true, Timed: true, Took: d, Again: again}
	}
	for _, x := range []string{"10.64.0.0:443", "10.64.0.1:443", "10.64.0.2:443"} {
		add(x, took(210*time.Microsecond, 0))
	}
	add("10.64.0.3:443", took(1020*time.Millisecond, 1))
	add("10.64.0.4:443", took(300*time.Microsecond, 0), sweep.Result{State: sweep.Silent, Again: 1})
	for _, x := range []string{"10.64.1.0:443", "10.64.1.1:443", "10.64.2.0:443", "10.64.3.0:443", "10.64.4.0:443", "10.64.4.1:443", "10.64.4.2:443"} {
		add(x, sweep.Result{State: sweep.Silent, Again: 1})
	}
	add("[2001:db8::1]:443", sweep.Result{State: sweep.Unreachable, ICMPType: 1, ICMPCode: 1})
	add("[2001:db8::2]:443", sweep.Result{State: sweep.Unreachable, ICMPType: 1, ICMPCode: 1})
	add("10.64.5.0:443", sweep.Result{State: sweep.Refused, Timed: true, Took: 90 * time.Microsecond})
	add("10.64.5.1:443", sweep.Result{State: sweep.Unseen})
	s.tally.Close()
	s.tally.LeaveOut(netip.MustParseAddrPort("239.0.0.1:443"), 1, sweep.NotSent, "a multicast address and needs an entry of its own")
	return s
}

func TestSweepReport(t *testing.T) {
	s := swept()
	var b bytes.Buffer
	p := &printer{w: &b, width: lineWidth}
	s.render(p)
	want := `17 targets: 3 answer, 1 stalls, 1 mixed, 7 silent, 2 unreachable, 1 refuses, 1 not sent to, 1 unknown
  26 SYNs in 4s, at most 1000 a second; unanswered ones again after 1s
  7 frames were not captured: a target without an answer at that time is unknown, not silent
  handshakes: 210µs at the least, half within 210µs, 90 % within 210µs, 99 % within 210µs, slowest 210µs
  (10.64.0.0:443)

stalls       10.64.0.3:443  answered after 1.02s

mixed        10.64.0.4:443  1 accepted, 1 timed out

silent       10.64.4.0-10.64.4.2:443  3 targets: no answer to 2 SYNs
             10.64.1.0-10.64.1.1:443  2 targets: no answer to 2 SYNs
             10.64.2.0:443            no answer to 2 SYNs
             1 more; -o csv, ndjson or json has all

unreachable  [2001:db8::1-2001:db8::2]:443  2 targets: admin_prohibited

refuses      10.64.5.0:443  RST after 90µs

not sent to  239.0.0.1:443  a multicast address and needs an entry of its own

unknown      10.64.5.1:443  the capture lost frames

next         vipprobe diagnose 10.64.0.3:443
             vipprobe diagnose 10.64.0.4:443
             vipprobe diagnose 10.64.1.0:443
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(b.String(), "\n")); diff != "" || p.err != nil {
		t.Errorf("%v (-want +got):\n%s", p.err, diff)
	}
}

// One that is interrupted while link addresses are still asked for has nothing to count, and says so.
func TestSweepInterruptedEarly(t *testing.T) {
	s := &sweeping{flags: &sweepFlags{rate: 1000, list: 3, shots: 1}, cut: true}
	s.tally.Close()
	var b bytes.Buffer
	s.render(&printer{w: &b, width: lineWidth})
	if want := "interrupted before a SYN was sent: nothing is known of any target\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// What is not well outweighs what was not sent, and that what is not known.
func TestSweepExit(t *testing.T) {
	for _, x := range []struct {
		want   int
		states []sweep.State
	}{
		{exitPass, []sweep.State{sweep.Accepted}},
		{exitInconclusive, []sweep.State{sweep.Accepted, sweep.Unseen}},
		{exitEnvironment, []sweep.State{sweep.Accepted, sweep.Unseen, sweep.Dropped}},
		{exitFinding, []sweep.State{sweep.Accepted, sweep.Unseen, sweep.NotSent, sweep.Silent}},
		{exitFinding, []sweep.State{sweep.Refused}},
	} {
		var s sweeping
		a := netip.MustParseAddr("10.64.0.0")
		for _, state := range x.states {
			a = a.Next()
			s.tally.Add(sweep.Result{State: state, Flow: wire.Flow{Dst: netip.AddrPortFrom(a, 443)}})
		}
		s.tally.Close()
		if got := s.exit(); got != x.want {
			t.Errorf("%v: exit %d, want %d", x.states, got, x.want)
		}
	}
}
