package diagnose

import (
	"fmt"
	"slices"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// dataHealth holds a claim of health against the data phases of the round: connections that were accepted are not healthy where data does not
// pass, or where it is open why it does not pass whole. Where it passed, that is said.
func (d *Diagnosis) dataHealth(in *Input, healthy Finding) Finding {
	all := transfers(in)
	if len(all) == 0 {
		return healthy
	}
	done, octets := 0, int64(0)
	why := ""
	for i := range all {
		octets += all[i].t.Sent + all[i].t.Received
		if all[i].t.Done || spared(&all[i]) {
			done++
		} else if why == "" {
			why = all[i].t.Why
		}
	}
	data := []Verdict{PathLoss, PathReordering, MTUBlackhole, ECMPPathLoss}
	open := slices.IndexFunc(d.Notes, func(f Finding) bool { return slices.Contains(data, f.Verdict) && len(f.Wants) > 0 })
	withheld := Finding{Verdict: InsufficientSamples, Level: Inconclusive}
	switch {
	case done < len(all):
		withheld.Summary = fmt.Sprintf("connections are accepted, but %d of %d data phases did not end well (%s), and no rule explains it", len(all)-done, len(all), why)
		withheld.Settle = "what the service exchanges: --transfer must say what it does; its log; the same towards each real server"
		return withheld
	case open >= 0:
		withheld.Summary = "connections are accepted, but their data does not pass whole: " + d.Notes[open].Summary
		withheld.Settle = d.Notes[open].Settle
		return withheld
	}
	sum := [3]Carried{}
	for _, h := range []Heading{Towards, Back} {
		sum[h] = sumCarried(all, h, plan.KindTransfer, plan.KindGentle)
	}
	healthy.Evidence = append(healthy.Evidence, fmt.Sprintf("%d data phases moved %s octets; of %s segments to the target and %s to us %d were lost and %d out of order", done,
		number(int(octets)), number(sum[Towards].Segments), number(sum[Back].Segments), sum[Towards].Lost+sum[Back].Lost, sum[Towards].Reordered+sum[Back].Reordered))
	return healthy
}

// spared reports whether a data phase of ours that was slow on purpose ended because the time that we had left for it was over, while it moved: the fault, if
// any, is not the path's, and what had passed by then counts.
func spared(m *dataFlow) bool {
	return m.kind == plan.KindGentle && m.t.Cut && m.t.Sent+m.t.Received > 0
}
