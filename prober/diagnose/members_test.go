package diagnose

import (
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// facing is a burst of raw SYNs: n of them answered, with or without timestamps, by a stack of that window scale.
func facing(n, answered int, stamped bool, scale uint8) []observe.Observation {
	o := observe.Observation{Kind: plan.KindQuadrants, Captured: true}
	for i := range n {
		a := observe.Attempt{Index: i, Via: plan.Raw, Outcome: observe.TimedOut, SYNs: []observe.SYN{{HasTS: true}}}
		if i < answered {
			a.Outcome = observe.Accepted
			a.Answers = []observe.Answer{{Kind: observe.SYNACK, HasTS: stamped, HopLimit: 64, Options: wire.LinuxSYN(1460, 0, scale)}}
		}
		o.Attempts = append(o.Attempts, a)
	}
	return []observe.Observation{o}
}

func diagnosed(v Verdict) Diagnosis {
	d := Diagnosis{Causes: []Cause{{Verdict: v, Level: Confirmed, Summary: "as seen"}}}
	d.Headline = headline(&d)
	return d
}

func TestCompareWithMembers(t *testing.T) {
	well := Member{Name: "10.0.0.3:80", Observations: facing(16, 16, true, 7), Diagnosis: diagnosed(Healthy)}
	sick := Member{Name: "10.0.0.2:80", Observations: facing(16, 8, true, 7), Diagnosis: diagnosed(TWRecyclePAWSDrop)}
	dead := Member{Name: "10.0.0.4:80", Observations: facing(16, 0, true, 7)}
	gone := Member{Name: "10.0.0.5:80", Why: "no route"}
	for _, tt := range []struct {
		name    string
		vip     []observe.Observation
		verdict Verdict
		members []Member
		healthy bool
		want    []string // in evidence, notes or the headline
		never   string
	}{
		{"SNAT: no member refuses us", facing(16, 8, true, 7), TWRecyclePAWSDropSNAT, []Member{well, gone}, false,
			[]string{"met directly, 10.0.0.3:80 answer every TSval", "no member refuses this host's own address", "10.0.0.5:80 could not be probed: no route"}, "masked"},
		{"a member refuses us too", facing(16, 8, true, 7), TWRecyclePAWSDropSNAT, []Member{sick, well}, false,
			[]string{"10.0.0.2:80 refuses by TSval when met directly (tw_recycle_paws_drop, confirmed)"}, "no member refuses"},
		{"the dead member has a name", facing(16, 12, true, 7), BlackholeBackend, []Member{well, dead}, false,
			[]string{"10.0.0.4:80 answers nothing when met directly (16 SYNs)"}, "lies between"},
		{"no member is dead", facing(16, 12, true, 7), BlackholeBackend, []Member{well}, false, []string{"what swallows a share lies between the balancer and a member"}, "answers nothing"},
		{"full proxy without timestamps, members well", facing(16, 16, false, 7), Healthy, []Member{well}, true,
			[]string{"masked by the load balancer: its SYN-ACKs carry no timestamps"}, "inconclusive: masked"},
		{"full proxy without timestamps, a member refuses", facing(16, 16, false, 7), Healthy, []Member{sick, well}, false,
			[]string{"inconclusive: masked by the load balancer", "10.0.0.2:80 refuses"}, "healthy:"},
		{"full proxy of another make, a member refuses", facing(16, 16, true, 9), Healthy, []Member{sick}, false, []string{"look like none of its members'"}, "healthy:"},
		{"near miss: the VIP passes SYNs on, all well", facing(16, 16, true, 7), Healthy, []Member{well}, true, []string{"healthy"}, "masked"},
		{"near miss: nobody else", facing(16, 16, false, 7), Healthy, nil, true, []string{"healthy"}, "masked"},
	} {
		d := diagnosed(tt.verdict)
		d.Compare(tt.vip, tt.members)
		text := d.Headline
		for _, f := range append(append([]Finding{}, d.Causes...), d.Notes...) {
			text += "\n" + f.Summary + "\n" + strings.Join(f.Evidence, "\n")
		}
		if d.Healthy() != tt.healthy {
			t.Errorf("%s: healthy is %v", tt.name, d.Healthy())
		}
		for _, w := range tt.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: want %q in\n%s", tt.name, w, text)
			}
		}
		if strings.Contains(text, tt.never) {
			t.Errorf("%s: %q in\n%s", tt.name, tt.never, text)
		}
	}
}
