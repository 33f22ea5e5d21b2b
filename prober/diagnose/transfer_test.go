package diagnose_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// carriedBack is a data phase of n segments towards us of which some were lost, each at a moment of its own.
func carriedBack(n, lost int) observe.Transfer {
	t := observe.Transfer{Done: true, Received: int64(n) * 1000, Segments: make([]retrans.Segment, 1)}
	t.Read.Received = retrans.Received{Segments: n, Lossy: lost, By: retrans.ByID}
	t.Read.Received.Copies[retrans.Fast] = lost
	return t
}

func reordered(n, late int) observe.Transfer {
	t := carriedBack(n, 0)
	t.Read.Received.Reordered, t.Read.Received.Swaps, t.Read.Received.Extent, t.Read.Received.Late = late, late, 5, 3*time.Millisecond
	return t
}

// bunched is late as well, but in few pieces: a sender that moved to another processor once or twice.
func bunched(n, late, pieces int) observe.Transfer {
	t := reordered(n, late)
	t.Read.Received.Swaps = pieces
	return t
}

func stuck(times int) observe.Transfer {
	t := observe.Transfer{Stood: true, Why: "nothing moved for 4s", Segments: make([]retrans.Segment, 1)}
	t.Read.Sent = retrans.Sent{Segments: 10, Acknowledged: 100, Stuck: retrans.Stuck{Length: 1448, Times: times, For: 3 * time.Second}}
	return t
}

func needlessProbe() observe.Transfer {
	t := carriedBack(1000, 0)
	t.Read.Received.Spurious[retrans.TLP] = 1
	return t
}

func arm(name string, mss int) plan.Arm {
	return plan.Arm{Name: name, Via: plan.Kernel, Script: plan.Script{Then: plan.Exchange{Transfer: &plan.Transfer{MSS: mss}}}}
}

// size is the arm of a data phase: in a burst of both sizes the first eight are small.
func size(k plan.Kind, i int) string {
	if k == plan.KindSmall && i < 8 {
		return "small"
	}
	return "full"
}

// phases is a burst of a kind in which every flow had a data phase.
func phases(k plan.Kind, list ...observe.Transfer) observe.Observation {
	o := observe.Observation{Kind: k, Captured: true, Strays: map[string]int{}, Transfers: list,
		Arms: []plan.Arm{arm("full", 0), arm("small", 500)}}
	for i := range list {
		o.Transfers[i].Attempt = i
		o.Attempts = append(o.Attempts, observe.Attempt{Index: i, Arm: size(k, i), Via: plan.Kernel, Outcome: observe.Accepted, Answered: -1,
			Flow: wire.Flow{Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(61000+i)), Dst: netip.MustParseAddrPort("192.0.2.9:80")}})
	}
	return o
}

// cut ends data phases before all had moved.
func cut(list []observe.Transfer) []observe.Transfer {
	for i := range list {
		list[i].Done, list[i].Cut, list[i].Why, list[i].Received = false, true, "its time was over", 1000
	}
	return list
}

func times(n int, one func(i int) observe.Transfer) []observe.Transfer {
	var out []observe.Transfer
	for i := range n {
		out = append(out, one(i))
	}
	return out
}

func TestDataPhases(t *testing.T) {
	all := func(n, lost int) []observe.Transfer {
		return times(8, func(int) observe.Transfer { return carriedBack(n, lost) })
	}
	some := func(lossy int) []observe.Transfer {
		return times(8, func(i int) observe.Transfer { return carriedBack(1000, []int{0, 20}[min(1, max(0, lossy-i))]) })
	}
	full := times(8, func(int) observe.Transfer { return stuck(4) })
	for _, tt := range []struct {
		story string
		seen  []observe.Observation
		want  diagnose.Verdict
		level diagnose.Level
		note  diagnose.Verdict
		wants plan.Kind
	}{
		{"nothing is lost", []observe.Observation{phases(plan.KindTransfer, all(1000, 0)...)}, diagnose.Healthy, diagnose.Confirmed, "", ""},
		{"one segment is lost", []observe.Observation{phases(plan.KindTransfer, append(all(1000, 0), carriedBack(1000, 1))...)}, diagnose.Healthy, diagnose.Confirmed, "", ""},
		{"loss at full rate asks whether it lasts", []observe.Observation{phases(plan.KindTransfer, all(1000, 20)...)},
			"", 0, diagnose.PathLoss, plan.KindGentle},
		{"loss at full rate and with little in flight", []observe.Observation{phases(plan.KindTransfer, all(1000, 20)...), phases(plan.KindGentle, all(1000, 20)...)},
			diagnose.PathLoss, diagnose.Confirmed, "", ""},
		{"loss at full rate alone, asked twice", []observe.Observation{phases(plan.KindTransfer, all(1000, 20)...), phases(plan.KindGentle, all(1000, 0)...),
			phases(plan.KindGentle, all(1000, 0)...)}, diagnose.Healthy, diagnose.Confirmed, diagnose.PathLoss, ""},
		{"a tail of it with little in flight is no other cause", []observe.Observation{phases(plan.KindTransfer, all(1000, 100)...), phases(plan.KindGentle, all(1000, 2)...),
			phases(plan.KindGentle, all(1000, 2)...)}, diagnose.Healthy, diagnose.Confirmed, diagnose.PathLoss, ""},
		{"what was slow on purpose was not over in our time", []observe.Observation{phases(plan.KindTransfer, all(1000, 100)...), phases(plan.KindGentle, all(1000, 0)...),
			phases(plan.KindGentle, cut(all(1000, 0))...)}, diagnose.Healthy, diagnose.Confirmed, diagnose.PathLoss, ""},
		{"what was asked for was not over in our time", []observe.Observation{phases(plan.KindTransfer, cut(all(1000, 0))...)}, "", 0, diagnose.InsufficientSamples, ""},
		{"loss on three connections of eight", []observe.Observation{phases(plan.KindTransfer, some(3)...), phases(plan.KindGentle, some(3)...)},
			diagnose.ECMPPathLoss, diagnose.Confirmed, "", ""},
		{"segments out of order", []observe.Observation{phases(plan.KindTransfer, times(8, func(int) observe.Transfer { return reordered(1000, 20) })...)},
			diagnose.PathReordering, diagnose.Confirmed, "", ""},
		{"near miss: one in 8,000 out of order", []observe.Observation{phases(plan.KindTransfer, append(all(1000, 0), reordered(1000, 1))...)},
			diagnose.Healthy, diagnose.Confirmed, "", ""},
		{"near miss: 135 of 8,000 out of order, in three pieces", []observe.Observation{phases(plan.KindTransfer, append(all(1000, 0)[1:], bunched(1000, 135, 3))...)},
			diagnose.Healthy, diagnose.Confirmed, "", ""},
		{"a probe of the tail alone", []observe.Observation{phases(plan.KindTransfer, times(8, func(int) observe.Transfer { return needlessProbe() })...)},
			diagnose.Healthy, diagnose.Confirmed, diagnose.SpuriousRetransTLP, ""},
		{"full segments never pass", []observe.Observation{phases(plan.KindTransfer, full...)}, "", 0, diagnose.MTUBlackhole, plan.KindSmall},
		{"full segments never pass, small ones do", []observe.Observation{phases(plan.KindTransfer, full...), phases(plan.KindSmall, slices.Concat(all(100, 0), full)...)},
			diagnose.MTUBlackhole, diagnose.Confirmed, "", ""},
		{"near miss: small ones pass no more than full ones", []observe.Observation{phases(plan.KindTransfer, full...), phases(plan.KindSmall, slices.Concat(full, full)...)},
			"", 0, diagnose.MTUBlackhole, ""},
		{"near miss: a path that stood still for a time", []observe.Observation{phases(plan.KindTransfer, full...), phases(plan.KindSmall, all(100, 0)...),
			phases(plan.KindTransfer, all(100, 0)...)}, "", 0, diagnose.MTUBlackhole, ""},
		{"near miss: repeated twice, and moving again", []observe.Observation{phases(plan.KindTransfer, append(all(1000, 0), stuck(2))...)},
			"", 0, diagnose.InsufficientSamples, ""},
	} {
		t.Run(tt.story, func(t *testing.T) {
			d := diagnose.Diagnose(diagnose.Input{Observations: tt.seen})
			if tt.want == "" && len(d.Causes) > 0 {
				t.Errorf("named %+v, want nothing", d.Causes)
			}
			if tt.want != "" && (len(d.Causes) != 1 || d.Causes[0].Verdict != tt.want || d.Causes[0].Level != tt.level) {
				t.Errorf("named %+v, want %s (%s)", d.Causes, tt.want, tt.level)
			}
			noted := slices.ContainsFunc(d.Notes, func(f diagnose.Finding) bool { return f.Verdict == tt.note })
			if tt.note != "" && !noted {
				t.Errorf("notes %+v, want %s among them", d.Notes, tt.note)
			}
			wanted := slices.ContainsFunc(d.Wants(), func(w diagnose.Want) bool { return w.Kind == tt.wants })
			if tt.wants != "" && !wanted {
				t.Errorf("wants %+v, want %s among them", d.Wants(), tt.wants)
			}
		})
	}
}
