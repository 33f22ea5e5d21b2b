package evidence

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Origin is who wrote a bundle, and where.
type Origin struct {
	Program  string // "vipprobe 1.2.3"
	Hardware string // as uname -m
	OS       string // "Linux 6.18.5"
}

// WriteCapture writes the frames of all rounds as one pcapng section: nanosecond times, one interface for each device (two where it showed
// frames with and without a link header), a comment on every frame. Number must have been called before.
func WriteCapture(w io.Writer, from Origin, rounds []Round) error {
	file, _ := order(rounds)
	out := bufio.NewWriter(w)
	var b block
	if err := b.section(out, section{comment: about(rounds), hardware: from.Hardware, os: from.OS, application: from.Program}); err != nil {
		return fmt.Errorf("write section header: %w", err)
	}
	devices := map[device]int{}
	for _, p := range file {
		d := device{p.frame.IfIndex, p.frame.Bare}
		n, known := devices[d]
		if !known {
			n = len(devices)
			devices[d] = n
			if err := b.device(out, nameOf(rounds, d.ifindex), d.linkType(), snapOf(rounds)); err != nil {
				return fmt.Errorf("write interface %d: %w", d.ifindex, err)
			}
		}
		who := ""
		if len(rounds) > 1 {
			who = rounds[p.round].Addr.String() + ": "
		}
		if err := b.packet(out, packet{device: n, at: p.frame.At.UnixNano(), outgoing: p.frame.Outgoing, orig: p.frame.Orig, data: p.frame.Data,
			comment: comment(who, p.burst, p.obs, p.frame)}); err != nil {
			return fmt.Errorf("write frame %d: %w", p.frame.Number, err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the last frames: %w", err)
	}
	return nil
}

// device is an interface of the file.
type device struct {
	ifindex int
	bare    bool
}

func (d device) linkType() uint16 {
	if d.bare {
		return linkRaw
	}
	return linkEthernet
}

// nameOf is the name of an interface as it was when its frames were taken.
func nameOf(rounds []Round, ifindex int) string {
	for i := range rounds {
		for k := range rounds[i].Observations {
			r := rounds[i].Observations[k].Recorded
			if r == nil {
				continue
			}
			for _, d := range r.Devices {
				if d.IfIndex == ifindex {
					return d.Name
				}
			}
		}
	}
	return fmt.Sprintf("if%d", ifindex)
}

// snapOf is the most octets kept of a frame in any burst.
func snapOf(rounds []Round) int {
	most := 0
	for i := range rounds {
		for k := range rounds[i].Observations {
			if r := rounds[i].Observations[k].Recorded; r != nil {
				most = max(most, r.Snap)
			}
		}
	}
	return most
}

// Lost counts the frames that a file lacks: over the bound of a recording, and dropped by the capture ring.
func Lost(rounds []Round) (over, dropped int) {
	for i := range rounds {
		for k := range rounds[i].Observations {
			o := &rounds[i].Observations[k]
			if o.Recorded != nil {
				over += o.Recorded.Over
				dropped += int(o.CaptureDrops)
			}
		}
	}
	return over, dropped
}

// about says what the file holds and what it lacks.
func about(rounds []Round) string {
	var s strings.Builder
	s.WriteString("Only frames of the flows that this program opened, ICMP errors that quote them, and ARP or ND frames of their next hop.")
	over, dropped := Lost(rounds)
	if over > 0 {
		fmt.Fprintf(&s, " %d frames over the bound of the recording are not here.", over)
	}
	if dropped > 0 {
		fmt.Fprintf(&s, " The capture ring lost %d frames: what is not here may have been on the wire.", dropped)
	}
	return s.String()
}
