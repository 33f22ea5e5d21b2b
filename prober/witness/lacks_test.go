package witness

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// until is what a witness had said by a time, having begun a second before the first SYN.
func until(list []observe.Witness, end time.Duration) []observe.Witness {
	for i := range list {
		var kept []observe.Statement
		for _, s := range list[i].Statements {
			if d := s.Asked.Sub(start()); d >= -time.Second && d <= end {
				kept = append(kept, s)
			}
		}
		list[i].Statements = kept
	}
	return list
}

// TestLacks: five bursts close together, after a second of quiet, are one in 252 by chance; the wait that is asked for makes it a proof, and only where
// the counter has been still without them.
func TestLacks(t *testing.T) {
	close5 := []time.Duration{90 * time.Millisecond, 290 * time.Millisecond, 490 * time.Millisecond, 690 * time.Millisecond, 890 * time.Millisecond}
	const ended = 1200 * time.Millisecond
	heard := func(r room, end time.Duration) diagnose.Effect {
		d := cause(diagnose.TWRecyclePAWSDrop, diagnose.Confirmed)
		Hear(&d, r.observations(), until(r.witnesses(), end))
		return d.Testimony[0].Effect
	}
	still := room{doses: close5, counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0"}
	wait := Lacks(still.observations(), until(still.witnesses(), ended))
	if before := heard(still, ended); wait <= 0 || wait > 5*time.Second || before == diagnose.EffectUpgraded {
		t.Fatalf("before the wait: %s, and a wait of %s", before, wait)
	}
	if after := heard(still, ended+wait); after != diagnose.EffectUpgraded {
		t.Errorf("after a wait of %s: %s, want it upgraded", wait, after)
	}
	later := still
	later.others = func(d time.Duration) int64 { return max(0, int64((d-ended)/(10*time.Millisecond))) }
	if after := heard(later, ended+wait); after == diagnose.EffectUpgraded {
		t.Error("a background that the wait shows did not speak against it")
	}
	for name, r := range map[string]room{
		"told already":             {doses: far(6), counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0"},
		"it moves without us":      {doses: close5, counter: "TcpExt.PAWSPassive", own: 1, others: steady(60), kernel: "3.10.0"},
		"it does not move":         {doses: close5, counter: "TcpExt.PAWSPassive", kernel: "3.10.0"},
		"three for each of ours":   {doses: close5, counter: "TcpExt.PAWSPassive", own: 3, kernel: "3.10.0"},
		"a kernel without recycle": {doses: close5, counter: "TcpExt.PAWSPassive", own: 1, kernel: "4.12.0"},
		"nothing went in vain":     {counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0"},
	} {
		end := ended
		if name == "told already" {
			end = 8 * time.Second
		}
		if d := Lacks(r.observations(), until(r.witnesses(), end)); d != 0 {
			t.Errorf("%s: asks for %s more", name, d)
		}
	}
}
