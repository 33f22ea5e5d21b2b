package evidence

import (
	"fmt"
	"strconv"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// comment says in one line which attempt a frame belongs to and what it is in it. who goes in front; it is empty in a file of one address.
func comment(who string, burst int, o *observe.Observation, f *observe.Frame) string {
	line := fmt.Sprintf("%sburst %d (%s)", who, burst+1, o.Label)
	if f.Attempt < 0 || f.Attempt >= len(o.Attempts) {
		return line + neighbor(o, f)
	}
	a := &o.Attempts[f.Attempt]
	line += fmt.Sprintf(", attempt %d, arm %s", a.Index, a.Arm)
	if f.Outgoing {
		return line + sent(a, f)
	}
	return line + received(a, f)
}

// ordinal is a number as people count: first to tenth in words.
func ordinal(n int) string {
	words := [...]string{"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"}
	if n >= 1 && n <= len(words) {
		return words[n-1]
	}
	end := "th"
	if n%100 < 11 || n%100 > 13 {
		end = [...]string{"th", "st", "nd", "rd", "th", "th", "th", "th", "th", "th"}[n%10]
	}
	return strconv.Itoa(n) + end
}

// sent describes a frame of ours.
func sent(a *observe.Attempt, f *observe.Frame) string {
	for k := range a.SYNs {
		if a.SYNs[k].At.Equal(f.At) {
			return ", " + ordinal(k+1) + " " + what(f) + unseen(a) + fate(a, k)
		}
	}
	return ", our " + what(f)
}

// unseen says that the SYNs on the tap are not all that there were.
func unseen(a *observe.Attempt) string {
	if a.Unseen == 0 {
		return ""
	}
	return fmt.Sprintf(" of those that left this host (%d did not)", a.Unseen)
}

// fate is what became of SYN k, as far as that is known.
func fate(a *observe.Attempt, k int) string {
	if len(a.Answers) == 0 {
		return ", no answer"
	}
	switch {
	case a.Answered < 0:
		return ""
	case k < a.Answered:
		return ", without effect"
	case k == a.Answered && a.RTT > 0:
		return ", answered after " + a.RTT.String()
	case k == a.Answered:
		return ", answered"
	}
	return ", sent after the answer had left"
}

// received describes what came back.
func received(a *observe.Attempt, f *observe.Frame) string {
	for k := range a.Answers {
		ans := &a.Answers[k]
		if !ans.At.Equal(f.At) {
			continue
		}
		switch ans.Kind {
		case observe.ICMP:
			return fmt.Sprintf(", ICMP %s from %s", ans.ICMPName, ans.From)
		case observe.SYNACK:
			return ", SYN-ACK" + answering(a, k)
		case observe.SYNACKStray:
			return ", SYN-ACK that acknowledges no SYN of ours"
		case observe.BareACK:
			return ", bare ACK"
		case observe.AnswerUnknown, observe.RST, observe.Data, observe.FIN:
		}
		return ", their " + what(f)
	}
	return ", their " + what(f) + ", not counted"
}

// answering says which SYN the first SYN-ACK answers, and how long all took.
func answering(a *observe.Attempt, k int) string {
	for i := range k {
		if a.Answers[i].Kind == observe.SYNACK {
			return ", again"
		}
	}
	text := ""
	if a.Answered >= 0 {
		text = " to the " + ordinal(a.Answered+1) + " SYN"
	}
	if a.Handshake > 0 && len(a.SYNs) > 1 {
		text += ", " + a.Handshake.Round(time.Microsecond).String() + " after the first"
	}
	return text
}

// what names the kind of a TCP segment.
func what(f *observe.Frame) string {
	var seg wire.Segment
	if r := wire.Parse(network(f), &seg); r != wire.ReasonNone && r != wire.ReasonOptions {
		return "segment (" + r.String() + ")"
	}
	switch {
	case seg.Flags&wire.RST != 0:
		return "RST"
	case seg.Flags.Has(wire.SYN | wire.ACK):
		return "SYN-ACK"
	case seg.Flags&wire.SYN != 0:
		return "SYN"
	case seg.Length > 0 && seg.Flags&wire.FIN != 0:
		return fmt.Sprintf("FIN with %d octets of data", seg.Length)
	case seg.Flags&wire.FIN != 0:
		return "FIN"
	case seg.Length > 0:
		return fmt.Sprintf("%d octets of data", seg.Length)
	}
	return "ACK"
}

// network is a frame without its link header.
func network(f *observe.Frame) []byte {
	n := 14
	switch {
	case f.Bare:
		return f.Data
	case len(f.Data) >= 14 && f.Data[12] == 0x81 && f.Data[13] == 0: // one IEEE 802.1Q tag
		n = 18
	}
	return f.Data[min(n, len(f.Data)):]
}

// neighbor describes an ARP or ND frame.
func neighbor(o *observe.Observation, f *observe.Frame) string {
	for i := range o.Neighbor {
		e := &o.Neighbor[i]
		if !e.At.Equal(f.At) || e.Outgoing != f.Outgoing || e.IfIndex != f.IfIndex {
			continue
		}
		switch e.Kind {
		case observe.NeighborRequest:
			return fmt.Sprintf(", %s asks for %s", asker(e), e.Target)
		case observe.NeighborReply:
			return fmt.Sprintf(", %s is at %s", e.Sender, e.SenderMAC)
		case observe.NeighborGratuitous:
			return fmt.Sprintf(", %s announces itself at %s", e.Sender, e.SenderMAC)
		case observe.NeighborUnknown:
		}
	}
	return echo(f)
}

// echo describes an ICMP echo message; what is left is a neighbour frame.
func echo(f *observe.Frame) string {
	var m wire.Echo
	r := wire.ParseEcho(network(f), &m)
	switch {
	case r != wire.ReasonNone && r != wire.ReasonChecksum: // a frame is cut behind its headers
		return ", neighbour frame"
	case f.Outgoing:
		return fmt.Sprintf(", ICMP echo request %d", m.Seq)
	}
	return fmt.Sprintf(", ICMP echo reply %d from %s", m.Seq, m.Src)
}

func asker(e *observe.NeighborEvent) string {
	if !e.Sender.IsValid() || e.Sender.IsUnspecified() {
		return e.FrameMAC
	}
	return e.Sender.String()
}
