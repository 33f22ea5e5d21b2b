package diagnose

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// reuses is a burst of flows asked three times. Each is told by what answered its SYNs: a new sequence number (n), one after the next SYN
// had left (l), the one before (s), nothing (.).
func reuses(at time.Time, flows ...string) observe.Observation {
	same := plan.Arm{Name: "same flow", Via: plan.Raw}
	fresh := plan.Arm{Name: "fresh flow", Via: plan.Raw}
	o := observe.Observation{Kind: plan.KindReuse, Captured: true, Started: at, Finished: at.Add(time.Second), Arms: []plan.Arm{same, fresh}}
	for i, f := range flows {
		a := observe.Attempt{Arm: same.Name, Via: plan.Raw, Outcome: observe.Accepted}
		seq := wire.Seq(1000 * i)
		for k, c := range f {
			sent := at.Add(time.Duration(k) * 200 * time.Millisecond)
			own := wire.TSval(100 * (k + 1))
			a.SYNs = append(a.SYNs, observe.SYN{At: sent, TSval: own, HasTS: true})
			trip := time.Millisecond
			switch c {
			case '.':
				continue
			case 's':
				own = a.SYNs[0].TSval
			case 'l':
				trip = 300 * time.Millisecond
				seq += 10
			case 'n':
				seq += 10
			}
			a.Answers = append(a.Answers, observe.Answer{Kind: observe.SYNACK, At: sent.Add(trip), Seq: seq, TSecr: own, HasTS: true})
		}
		o.Attempts = append(o.Attempts, a, observe.Attempt{Arm: fresh.Name, Via: plan.Raw, Outcome: observe.Accepted})
	}
	return o
}

func TestReusedPorts(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		story  string
		bursts [][]string
		want   Level // of the finding; none: LevelUnknown
		fact   answer
		lost   int
	}{
		{"every second use is lost", [][]string{{"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}, {"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}}, Confirmed, yes, 12},
		{"once is not enough", [][]string{{"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}}, Inconclusive, yes, 6},
		{"an RST of ours was lost, so that one flow had not ended", [][]string{{"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}, {"n.n", "n.n", "nsn", "n.n", "n.n", "n.n"}},
			Confirmed, yes, 11},
		{"one third use is lost as well", [][]string{{"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}, {"n..", "n.n", "n.n", "n.n", "n.n", "n.n"}}, Confirmed, yes, 13},
		{"one flow never began", [][]string{{"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}, {"...", "n.n", "n.n", "n.n", "n.n", "n.n"}}, Confirmed, yes, 11},
		{"a second use works", [][]string{{"n.n", "n.n", "n.n", "n.n", "n.n", "n.n"}, {"n.n", "n.n", "nnn", "n.n", "n.n", "n.n"}}, LevelUnknown, unknown, 11},
		{"third uses are lost, too", [][]string{{"n..", "n..", "n..", "n..", "n..", "n.n"}}, LevelUnknown, unknown, 11},
		{"all work", [][]string{{"nnn", "nnn", "nnn", "nnn"}}, LevelUnknown, no, 0},
		{"all work, late", [][]string{{"lln", "lln", "nln", "nnl", "nll"}}, LevelUnknown, no, 0},
		{"all work, by cookies, which come again", [][]string{{"nss", "nss", "nss", "nss"}}, LevelUnknown, no, 0},
	} {
		in := Input{explained: map[int]bool{}}
		for i, b := range c.bursts {
			in.Observations = append(in.Observations, reuses(now.Add(time.Duration(i)*time.Second), b...))
		}
		got := LevelUnknown
		for _, f := range checkReuse(&in) {
			got = f.Level
		}
		u := readUses(&in)
		if fact := readReuse(&in); got != c.want || fact != c.fact || u.lost() != c.lost {
			t.Errorf("%s: level %s, want %s; fact %v, want %v; lost %d, want %d", c.story, got, c.want, fact, c.fact, u.lost(), c.lost)
		}
	}
}
