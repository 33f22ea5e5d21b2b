package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

// queueFlags are what only a neighbor-queue module has.
type queueFlags struct {
	borrow    []string
	delay     time.Duration
	sourceMAC bool
	router    bool
}

func (f *probeFlags) registerQueue(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.queue.borrow, "borrow", nil, "free addresses of the target's subnet to measure its neighbour queue from, one for each measurement; default: found")
	fs.DurationVar(&f.queue.delay, "arp-delay", experiment.QueueDelay, "how late the far side's question for a borrowed address is answered, 1 ms to 900 ms")
	fs.BoolVar(&f.queue.sourceMAC, "allow-source-mac", false, "give borrowed addresses a MAC of their own: for hosts that forward packets; a switch with port security may shut the port")
	fs.BoolVar(&f.queue.router, "allow-router", false, "where a router stands before the target, measure the router's neighbour queue")
}

// overrideQueue sets what only a neighbor-queue module has.
func (f *probeFlags) overrideQueue(cmd *cobra.Command, m *prober.Module) error {
	fs, o := cmd.Flags(), &m.NeighborQueue
	if m.Kind != prober.KindNeighborQueue {
		for _, name := range []string{"borrow", "arp-delay", "allow-source-mac", "allow-router"} {
			if fs.Changed(name) {
				return fmt.Errorf("--%s: only a neighbor-queue module has that, and module %s is none; use --module neighbor-queue", name, m.Name)
			}
		}
		return nil
	}
	if fs.Changed("arp-delay") {
		o.Delay = f.queue.delay
	}
	if o.Delay != 0 && (o.Delay < experiment.MinQueueDelay || o.Delay > experiment.MaxQueueDelay) {
		return fmt.Errorf("--arp-delay %s: want %s to %s: within a second the far side asks again", o.Delay, experiment.MinQueueDelay, experiment.MaxQueueDelay)
	}
	o.SourceMAC = o.SourceMAC || f.queue.sourceMAC
	o.Router = o.Router || f.queue.router
	if len(f.queue.borrow) == 0 {
		return nil
	}
	o.Addresses = nil
	for _, text := range f.queue.borrow {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--borrow %q: want an address of the target's subnet that nobody has", text)
		}
		o.Addresses = append(o.Addresses, a.Unmap())
	}
	return nil
}

// renderQueues writes what was found of each address's neighbour queue.
func renderQueues(p *printer, results []result) error {
	first := true
	for _, r := range results {
		for i := range r.rounds {
			round := &r.rounds[i]
			if round.Queue == nil {
				continue
			}
			if !first {
				p.f("\n")
			}
			first = false
			p.queue(round)
		}
	}
	return p.err
}

// queue writes one measurement: the number, what it rests on, what it means.
func (p *printer) queue(r *prober.Round) {
	const indent = 17
	q := r.Queue
	c := yellow
	if q.Confirmed {
		c = green
	}
	text := paragraph(called(r)+": ", queueHeadline(q), 2)
	who := len(called(r)) + 1
	p.f("%s%s\n", p.tint(bold, text[:who]), p.tint(c, text[who:]))
	if len(q.Contacts)+len(q.Taken) > 0 {
		p.f("\n")
	}
	if len(q.Contacts) > 0 {
		p.f("%s\n", paragraph("  method         ", queueMethod(q), indent))
	}
	for i := range q.Contacts {
		p.f("%s\n", paragraph("  first contact  ", contactLine(&q.Contacts[i]), indent))
	}
	if q.Control > 0 {
		p.f("%s\n", paragraph("  once known     ", fmt.Sprintf("%d of %d probes answered", q.Control-q.ControlLost, q.Control), indent))
	}
	if reading := q.Reading(); reading != "" {
		p.f("%s\n", paragraph("  fits           ", reading, indent))
	}
	for _, t := range q.Taken {
		p.f("%s\n", paragraph("  not borrowed   ", fmt.Sprintf("%s belongs to %s", t.Addr, t.By), indent))
	}
	if q.Why != "" && !strings.HasSuffix(queueHeadline(q), q.Why) {
		p.f("%s\n", paragraph("  but            ", q.Why, indent))
	}
	if len(q.Contacts) > 0 {
		p.f("%s\n", paragraph("  left behind    ", fmt.Sprintf("the far side remembers %s for some minutes, as at %s", addresses(q), q.MAC), indent))
	}
}

func queueHeadline(q *prober.NeighborQueue) string {
	whose := "its neighbour queue"
	if q.Router.IsValid() {
		whose = "the neighbour queue of the router " + q.Router.String()
	}
	sure := "confirmed"
	if !q.Confirmed {
		sure = "measured once"
	}
	switch q.State {
	case experiment.QueueMeasured:
		if q.Packets == 1 {
			return fmt.Sprintf("%s holds 1 packet (%s)", whose, sure)
		}
		return fmt.Sprintf("%s holds %d packets (%s)", whose, q.Packets, sure)
	case experiment.QueueAtLeast:
		return fmt.Sprintf("%s holds %d packets or more (%s)", whose, q.Packets, sure)
	case experiment.QueueRange:
		if q.High == 0 {
			return fmt.Sprintf("%s holds %d packets or more (inconclusive)", whose, q.Low)
		}
		return fmt.Sprintf("%s holds %d to %d packets (inconclusive)", whose, q.Low, q.High)
	case experiment.QueueNotApplicable:
		return "not applicable: " + q.Why
	case experiment.QueueInconclusive:
	}
	return cmp.Or(q.Why, "not measured")
}

func queueMethod(q *prober.NeighborQueue) string {
	how := map[experiment.Method]string{experiment.ClosedPort: "SYNs to closed port", experiment.BareACK: "bare ACKs to port", experiment.OpenPort: "SYNs to open port"}
	return fmt.Sprintf("%s %d; the far side's question was answered after %s", how[q.Method], q.Port, q.Delay)
}

func contactLine(c *experiment.QueueContact) string {
	s := fmt.Sprintf("from %s: %d sent, %d answered", c.Addr, c.Sent, c.Answered)
	switch c.Reading {
	case experiment.QueueTail:
		return s + fmt.Sprintf(", exactly the last %d", c.Answered)
	case experiment.QueueWhole:
		return s + ", all of them"
	default:
		return s + " (" + strings.ReplaceAll(string(c.Reading), "_", " ") + ")"
	}
}

func addresses(q *prober.NeighborQueue) string {
	var list []string
	for i := range q.Contacts {
		list = append(list, q.Contacts[i].Addr.String())
	}
	return strings.Join(list, ", ")
}
