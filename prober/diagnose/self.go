package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// checkClockStep: the wall clock was set while a burst ran, so tap times on both sides of the step cannot be compared.
func checkClockStep(in *Input) []Finding {
	for i := range in.Observations {
		if step := in.Observations[i].ClockStep; step != 0 {
			return []Finding{{
				Verdict: ProberClockStep, Level: Proven,
				Summary:  fmt.Sprintf("the prober's wall clock was set by %s during burst %d; its times mean nothing", step, i+1),
				Evidence: []string{fmt.Sprintf("CLOCK_REALTIME moved %s against CLOCK_MONOTONIC", step)},
				Disproof: "both clocks advancing alike over the burst",
				Remedy:   "let the time daemon slew in place of stepping, and probe again",
			}}
		}
	}
	return nil
}

// checkCaptureDrops: the capture ring lost frames, so a segment that was not seen may still have been there. It is named only
// where something is missing; a complete round needs no excuse.
func checkCaptureDrops(in *Input) []Finding {
	drops, missing := uint32(0), 0
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.CaptureDrops == 0 {
			continue
		}
		drops += o.CaptureDrops
		for j := range o.Attempts {
			if a := &o.Attempts[j]; a.Outcome == observe.TimedOut || a.Outcome == observe.LocalDrop || a.Retransmissions > 0 {
				missing++
			}
		}
	}
	if drops == 0 || missing == 0 {
		return nil
	}
	return []Finding{{
		Verdict: ProberLocalDrop, Level: Confirmed,
		Summary:  fmt.Sprintf("this prober's capture ring lost %d frames; %d attempts cannot be judged", drops, missing),
		Evidence: []string{fmt.Sprintf("PACKET_STATISTICS counts %d drops over the round", drops)},
		Disproof: "the same losses in a round without capture drops",
		Remedy:   "give the prober a CPU of its own or a larger ring, or probe fewer targets at a time",
	}}
}
