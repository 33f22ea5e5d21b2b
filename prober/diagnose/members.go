package diagnose

import (
	"fmt"
	"strings"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Member is a real server behind a VIP, met directly at the same time.
type Member struct {
	Name         string // address and port
	Observations []observe.Observation
	Diagnosis    Diagnosis
	// Why it could not be probed; empty: it was.
	Why string
}

// face is how an address looks from here: how many raw SYNs it answered, how many of its SYN-ACKs carry timestamps where we offered
// them, and the fingerprints of its stacks.
type face struct {
	asked, answered  int
	offered, stamped int
	prints           map[look]bool
}

func readFace(seen []observe.Observation) face {
	f := face{prints: map[look]bool{}}
	for i := range seen {
		o := &seen[i]
		if aside(o.Kind) && o.Kind != plan.KindCells || !trusted(o) {
			continue
		}
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if a.Via != plan.Raw || len(a.SYNs) == 0 {
				continue
			}
			f.asked++
			if a.Outcome == observe.Accepted || a.Outcome == observe.Refused || a.Outcome == observe.Reset {
				f.answered++
			}
			ans := firstSYNACK(a)
			if ans == nil || !a.SYNs[0].HasTS {
				continue
			}
			f.offered++
			f.prints[fingerprint(ans)] = true
			if ans.HasTS {
				f.stamped++
			}
		}
	}
	return f
}

// told is the sentence about a member met directly.
func (m *Member) told() (line string, refuses, silent bool) {
	if m.Why != "" {
		return fmt.Sprintf("%s could not be probed: %s", m.Name, m.Why), false, false
	}
	for i := range m.Diagnosis.Causes {
		if c := &m.Diagnosis.Causes[i]; c.Verdict.Subject() == SubjectTimestamps {
			return fmt.Sprintf("%s refuses by TSval when met directly (%s, %s)", m.Name, c.Verdict, c.Level), true, false
		}
	}
	f := readFace(m.Observations)
	if f.asked > 0 && f.answered == 0 {
		return fmt.Sprintf("%s answers nothing when met directly (%d SYNs)", m.Name, f.asked), false, true
	}
	return fmt.Sprintf("%s answers %d of %d SYNs when met directly", m.Name, f.answered, f.asked), false, false
}

// tell is what the members showed, those without fault in one sentence, and how many refuse by TSval or answer nothing.
func tell(members []Member) (lines []string, refusing, silent int) {
	var fine []string
	for i := range members {
		line, refuses, mute := members[i].told()
		switch {
		case refuses:
			refusing++
		case mute:
			silent++
		case members[i].Why == "" && members[i].Diagnosis.Healthy():
			fine = append(fine, members[i].Name)
			continue
		}
		lines = append(lines, line)
	}
	if len(fine) > 0 {
		lines = append(lines, fmt.Sprintf("met directly, %s answer every TSval", strings.Join(fine, ", ")))
	}
	return lines, refusing, silent
}

// Compare holds a VIP's diagnosis against its members, met directly from the same vantage: what they show explains the VIP's causes, and says
// where the VIP can show nothing of them. A VIP is never called healthy over a member that refuses by TSval behind it.
func (d *Diagnosis) Compare(vip []observe.Observation, members []Member) {
	if len(members) == 0 {
		return
	}
	lines, refusing, silent := tell(members)
	named := false
	for i := range d.Causes {
		c := &d.Causes[i]
		switch {
		case c.Verdict.Subject() == SubjectTimestamps:
			named = true
			c.Evidence = append(c.Evidence, lines...)
			if refusing == 0 && silent == 0 {
				c.Evidence = append(c.Evidence, "no member refuses this host's own address: what they remember belongs to the address that the balancer gives its clients")
			}
		case c.Verdict == BlackholeBackend:
			c.Evidence = append(c.Evidence, lines...)
			if silent == 0 {
				c.Evidence = append(c.Evidence, "every member answers when met directly: what swallows a share lies between the balancer and a member")
			}
		}
	}
	if named {
		return
	}
	d.masked(vip, members, lines, refusing)
}

// masked adds that the load balancer hides its members, where it does.
func (d *Diagnosis) masked(vip []observe.Observation, members []Member, lines []string, refusing int) {
	why := masking(vip, members)
	if why == "" && refusing == 0 {
		return
	}
	f := Finding{
		Verdict: LBFullProxyMasks, Level: Inconclusive, Evidence: lines,
		Summary: "masked by the load balancer: " + why,
		Settle:  "each real server probed from where the balancer's own connections come from",
	}
	if why == "" {
		f.Summary = "masked by the load balancer: SYNs to it are answered whatever their TSval, while a member behind it refuses by TSval"
	}
	if refusing > 0 && d.Healthy() {
		d.Notes = append([]Finding{f}, d.Notes...)
		d.Causes = nil
		d.Headline = headline(d)
		return
	}
	d.Notes = append(d.Notes, f)
}

// masking says why the VIP's arms cannot differ whatever its members do; empty: they can, as far as can be seen.
func masking(vip []observe.Observation, members []Member) string {
	front := readFace(vip)
	var behind face
	behind.prints = map[look]bool{}
	for i := range members {
		f := readFace(members[i].Observations)
		behind.offered += f.offered
		behind.stamped += f.stamped
		for p := range f.prints {
			behind.prints[p] = true
		}
	}
	switch {
	case front.offered == 0 || behind.offered == 0:
		return ""
	case front.stamped == 0 && behind.stamped > 0:
		return "its SYN-ACKs carry no timestamps and its members' do, so it ends connections itself or takes the option out, and no TSval reaches a member"
	}
	for p := range front.prints {
		if behind.prints[p] {
			return ""
		}
	}
	return "its SYN-ACKs look like none of its members', so it ends connections itself, and no TSval of ours reaches a member"
}
