package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
)

// transferFlags say what data a target's service exchanges.
type transferFlags struct {
	way, bytes, congestion string
	flows                  int
}

func (f *transferFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.way, "transfer", "", "examine a real data phase as well: http:/PATH (GET), post:/PATH, echo, sink (the server reads), source (it sends by itself); "+
		"who retransmits what, why, and what is out of order")
	fs.StringVar(&f.bytes, "bytes", "1MB", "with --transfer: payload of each flow in one burst, as 500kB, 1MB or 2MiB; up to 8 bursts are made")
	fs.IntVar(&f.flows, "flows", 8, "with --transfer: connections at once, 1 to "+strconv.Itoa(prober.MaxTransferFlows))
	fs.StringVar(&f.congestion, "congestion", "", "with --transfer: congestion controls of this side to compare, as cubic,bbr; default: the host's")
}

// read puts the flags into the options.
func (f *transferFlags) read(fs *pflag.FlagSet, o *prober.DiagnoseOptions) error {
	if f.way == "" {
		for _, name := range []string{"bytes", "flows", "congestion"} {
			if fs.Changed(name) {
				return usageError{fmt.Errorf("--%s: nothing is transferred without --transfer", name)}
			}
		}
		return nil
	}
	t := experiment.Transfer{Flows: f.flows}
	var err error
	if t.Way, t.Path, err = parseWay(f.way); err != nil {
		return usageError{fmt.Errorf("--transfer %q: %w", f.way, err)}
	}
	if t.Bytes, err = parseBytes(f.bytes); err != nil {
		return usageError{fmt.Errorf("--bytes %q: %w", f.bytes, err)}
	}
	if f.flows < 1 || f.flows > prober.MaxTransferFlows {
		return usageError{fmt.Errorf("--flows %d: want 1 to %d", f.flows, prober.MaxTransferFlows)}
	}
	if t.Bytes > prober.MaxTransferBytes/int64(f.flows) {
		return usageError{fmt.Errorf("--bytes %s on %d flows: want at most %d MiB in all", f.bytes, f.flows, prober.MaxTransferBytes>>20)}
	}
	for name := range strings.SplitSeq(f.congestion, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "" && f.congestion == "":
		case name == "" || len(name) > 15 || strings.ContainsAny(name, " \t/"):
			return usageError{fmt.Errorf("--congestion %q: want names as in net.ipv4.tcp_available_congestion_control, with commas between them", f.congestion)}
		default:
			t.Congestion = append(t.Congestion, name)
		}
	}
	o.Transfer = &t
	return nil
}

// parseWay reads what is exchanged.
func parseWay(s string) (plan.Way, string, error) {
	name, path, hasPath := strings.Cut(s, ":")
	for _, w := range plan.Ways() {
		if w.String() != name {
			continue
		}
		switch http := w == plan.Get || w == plan.Post; {
		case hasPath && !http:
			return w, "", fmt.Errorf("%s takes no path", name)
		case http && !strings.HasPrefix(path, "/"):
			return w, "", fmt.Errorf("want %s:/PATH", name)
		case strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
			return w, "", errors.New("want a path of printable ASCII without blanks, others percent-encoded")
		}
		return w, path, nil
	}
	if name == "https" {
		return 0, "", errors.New("TLS is not spoken here: the segments are judged, whatever is in them; use echo, sink, or a port without TLS")
	}
	return 0, "", errors.New("want http:/PATH, post:/PATH, echo, sink or source")
}

// parseBytes reads a number of octets, k, M and G for thousands (kB, MB, GB) and Ki, Mi, Gi for 1,024 (KiB, MiB, GiB).
func parseBytes(s string) (int64, error) {
	number := strings.TrimRight(s, "kKMGiB")
	unit := strings.TrimSuffix(s[len(number):], "B")
	factors := map[string]float64{"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
	factor, ok := factors[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || math.IsNaN(n) || n*factor < 1 || n*factor > 1<<40 {
		return 0, errors.New("want a number of octets of 1 or more, as 500kB, 1MB or 2MiB")
	}
	return int64(n * factor), nil
}

// transferred is the table of a round's data phases.
func (p *printer) transferred(r *prober.Round) {
	rows := diagnose.Transferred(r.Observations)
	if len(rows) == 0 {
		return
	}
	p.f("\n%-9s %-6s %5s %9s  %-4s %9s %6s %6s %6s %6s %6s %6s %6s\n", "data", "by", "done", "rate", "way", "segments", "rto", "fast", "tlp", "other", "twice", "lost", "late")
	for i := range rows {
		d := &rows[i]
		name := string(d.Kind)
		if d.Kind == plan.KindSmall {
			name = d.Arm // it holds small segments against full ones
		}
		head := fmt.Sprintf("%-9.9s %-6.6s %5s %9s", name, d.Congestion, fmt.Sprintf("%d/%d", d.Done, d.Flows), rateText(d.Rate))
		for k := range d.Ways {
			c := &d.Ways[k]
			way := "out"
			if c.Heading == diagnose.Back {
				way = "in"
			}
			n := transferCells(c)
			p.f("%s  %-4s %9s %6s %6s %6s %6s %6s %6s %6s\n", head, way, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7])
			head = strings.Repeat(" ", len(head))
		}
		for _, why := range d.Why {
			p.f("%s\n", p.item("", why))
		}
	}
	p.holed(r)
}

// holed is what came of data with a hole in front.
func (p *printer) holed(r *prober.Round) {
	s := diagnose.SumHoled(r.Observations)
	if s.Arrived == 0 {
		return
	}
	there, back, answers := s.Ways()
	p.f("%s\n", p.item("", fmt.Sprintf("data with a hole in front: %d of %d segments lost on the way there, %d of %d %s on the way back: %s", there.Hits, there.N, back.Hits, back.N,
		answers, s.Says())))
}

// transferCells are a row's figures: segments, then what was sent again by class, what came or was reported twice, lost, out of order.
func transferCells(c *diagnose.Carried) [8]string {
	other := c.Copies.Total() - c.Copies[retrans.RTO] - c.Copies[retrans.Fast] - c.Copies[retrans.TLP]
	var out [8]string
	for i, n := range []int{c.Segments, c.Copies[retrans.RTO], c.Copies[retrans.Fast], c.Copies[retrans.TLP], other, c.Twice, c.Lost, c.Reordered} {
		out[i] = strconv.Itoa(n)
		if n == 0 && i > 0 {
			out[i] = "."
		}
	}
	return out
}

func rateText(r float64) string {
	switch {
	case r >= 1e6:
		return fmt.Sprintf("%.1f MB/s", r/1e6)
	case r >= 1e3:
		return fmt.Sprintf("%.0f kB/s", r/1e3)
	}
	return fmt.Sprintf("%.0f B/s", r)
}
