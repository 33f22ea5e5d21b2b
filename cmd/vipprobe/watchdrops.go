package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/testimony"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// dropped shows what the kernel drops, sends again and resolves, beside the counters of what its tracepoints do not see. Where this machine cannot
// trace, it says why and the counters alone are shown.
func (f *watchFlags) dropped(cmd *cobra.Command, w *watch.Watcher) error {
	t, err := w.Trace()
	if err != nil {
		complain(cmd.ErrOrStderr(), err)
		complain(cmd.ErrOrStderr(), errors.New("watch goes on without --drops: counters only"))
		return f.live(cmd, w)
	}
	out := cmd.OutOrStdout()
	s := &dropSink{flags: f, p: newPrinter(out), live: f.output == "table" && isTerminal(out) && os.Getenv("TERM") != "dumb", tracer: t}
	ctx := cmd.Context()
	err = w.Run(ctx, f.interval, f.count, f.length, s.interval)
	if err == nil {
		err = s.finish()
	}
	if e := t.Close(); e != nil {
		err = errors.Join(err, e)
	}
	if err == nil && ctx.Err() != nil && (f.count > 0 || f.length > 0) && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return exitError(exitInterrupted)
	}
	return err
}

// dropSink is where what was traced goes.
type dropSink struct {
	flags   *watchFlags
	p       *printer
	live    bool
	tracer  *watch.Tracer
	n       int
	drops   watch.Drops
	reading watch.Reading
}

// unseen are the counters of drops that no tracepoint tells.
func unseen() []string {
	return []string{"TcpExt.ListenOverflows", "TcpExt.TCPReqQFullDrop", "TcpExt.PAWSPassive", "TcpExt.ListenDrops"}
}

func (s *dropSink) interval(readings []watch.Reading) error {
	before := s.drops
	var err error
	if s.drops, err = s.tracer.Read(); err != nil {
		return err
	}
	s.drops.Listeners = fullest(before.Listeners, s.drops.Listeners)
	s.reading = readings[0]
	s.n++
	switch {
	case s.n == 1 && s.flags.output == "table":
		s.p.f("%s\n", s.p.paragraph("", "counting in the kernel what it drops, sends again and resolves; Ctrl-C ends it with the sum", 0))
	case s.n == 1:
	case s.flags.output == "ndjson":
		return view.WriteLine(s.p.w, s.view())
	case s.live:
		s.p.f("\x1b[H\x1b[2J") // ECMA-48 §8.3.21, §8.3.39
		s.p.drops(s)
	case s.flags.output == "table" && s.flags.count != 1:
		s.p.f("%8s  %s\n", "+"+s.reading.Since.Round(100*time.Millisecond).String(), moreDropped(before.Reasons, s.drops.Reasons))
	}
	return s.p.err
}

// fullest is each listener at its fullest, the fullest first.
func fullest(before, now []observe.ListenQueue) []observe.ListenQueue {
	for _, b := range before {
		i := slices.IndexFunc(now, func(q observe.ListenQueue) bool { return q.Addr == b.Addr })
		switch {
		case i < 0:
			now = append(now, b)
		case now[i].Queued < b.Queued:
			now[i] = b
		}
	}
	slices.SortStableFunc(now, func(a, b observe.ListenQueue) int { return cmp.Compare(b.Queued, a.Queued) })
	return now
}

// moreDropped says what was dropped since an earlier reading.
func moreDropped(before, now []watch.Reason) string {
	old := map[string]uint64{}
	for _, r := range before {
		old[r.Name] = r.N
	}
	var parts []string
	for _, r := range now {
		if n := r.N - old[r.Name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", testimony.Count(int64(n)), r.Name))
		}
	}
	if len(parts) == 0 {
		return "nothing dropped"
	}
	return "dropped: " + strings.Join(parts, ", ")
}

func (s *dropSink) view() view.Drops {
	counters := map[string]int64{}
	for _, name := range unseen() {
		if _, told := s.reading.Values[name]; told {
			counters[name] = s.reading.Whole[name]
		}
	}
	return view.NewDrops(&s.drops, s.reading.Place, s.reading.Since, counters, s.flags.top)
}

func (s *dropSink) finish() error {
	switch s.flags.output {
	case "json":
		return view.WriteJSON(s.p.w, s.view())
	case "ndjson":
		return view.WriteLine(s.p.w, s.view())
	}
	s.p.f("\n")
	s.p.drops(s)
	return s.p.err
}

// drops is the whole report.
func (p *printer) drops(s *dropSink) {
	d, v := &s.drops, s.view()
	p.f("%s\n", p.tint(bold, fmt.Sprintf("%s, %s", s.reading.Place, s.reading.Since.Round(100*time.Millisecond))))
	p.f("%s\n", p.item("dropped", someReasons(d.Reasons, s.flags.top)))
	for _, x := range v.Flows {
		p.f("%s\n", p.item("", fmt.Sprintf("%8s  %s  %s", testimony.Count(int64(x.Count)), x.Reason, flowText(&x))))
	}
	p.more(len(d.Flows)-len(v.Flows), "flows")
	head := "again"
	for _, x := range v.Peers {
		p.f("%s\n", p.item(head, fmt.Sprintf("%8s  to %s over %d connections: %s", testimony.Count(int64(x.Count)), x.Peer, x.Connections, classesText(x.ByClass))))
		head = ""
	}
	p.more(len(d.Peers)-len(v.Peers), "peers")
	head = "neighbour"
	for _, x := range v.Neighbors {
		p.f("%s\n", p.item(head, fmt.Sprintf("%8s  %s %s (interface %d)", testimony.Count(int64(x.Count)), x.Addr, x.State, x.IfIndex)))
		head = ""
	}
	p.untold(d)
	p.blind(&v)
	for _, w := range d.Without {
		p.f("%s\n", p.item("without", w))
	}
}

// untold says what is known in sum only, and what not at all.
func (p *printer) untold(d *watch.Drops) {
	for _, u := range []struct {
		n    uint64
		what string
	}{
		{d.Untold.Drops, "drops of flows that the kernel's table of 16,384 had no room for: in the sums by reason, in no line of a flow"},
		{d.Untold.Retransmissions, "retransmissions of connections that its table of 8,192 had no room for"},
		{d.Untold.Neighbors, "updates of neighbours that its table of 4,096 had no room for"},
		{d.Missed, "events that came while the same program ran on their processor, in no sum"},
	} {
		if u.n > 0 {
			p.f("%s\n", p.item("untold", fmt.Sprintf("%8s  %s", testimony.Count(int64(u.n)), u.what)))
		}
	}
}

func (p *printer) more(n int, what string) {
	if n > 0 {
		p.f("%s\n", p.item("", fmt.Sprintf("%8s  more %s (--top)", testimony.Count(int64(n)), what)))
	}
}

// blind says what the tracepoints do not see, from the counters and queues that do.
func (p *printer) blind(v *view.Drops) {
	var text strings.Builder
	text.WriteString("SYNs that a listener itself drops pass no tracepoint; counted meanwhile:")
	for _, name := range unseen() {
		if n, told := v.Counters[name]; told {
			fmt.Fprintf(&text, " %s %+d", strings.TrimPrefix(name, "TcpExt."), n)
		}
	}
	p.f("%s\n", p.item("unseen", text.String()))
	for _, l := range v.Listeners {
		full := ""
		if l.Queued > l.Backlog {
			full = ": full, and every SYN to it was dropped"
		}
		p.f("%s\n", p.item("", fmt.Sprintf("- accept queue of %s at its fullest %d, backlog %d%s", l.Address, l.Queued, l.Backlog, full)))
	}
}

func someReasons(list []watch.Reason, top int) string {
	if len(list) == 0 {
		return "nothing"
	}
	parts := make([]string, 0, top)
	for _, r := range list[:min(top, len(list))] {
		parts = append(parts, fmt.Sprintf("%s %s", testimony.Count(int64(r.N)), r.Name))
	}
	if n := len(list) - len(parts); n > 0 {
		parts = append(parts, fmt.Sprintf("%d more reasons", n))
	}
	return strings.Join(parts, ", ")
}

func flowText(x *view.DroppedFlow) string {
	if x.Src == "" {
		return "no IP packet, or its header is gone"
	}
	text := fmt.Sprintf("%s %s → %s", x.Proto, x.Src, x.Dst)
	if x.SYN {
		text += " (SYN)"
	}
	return text
}

func classesText(by map[string]uint64) string {
	parts := make([]string, 0, len(by))
	for _, c := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %s", testimony.Count(int64(by[c])), c))
	}
	return strings.Join(parts, ", ")
}
