package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// The network of the benchmark: every address of prefix is the server's own, behind one next hop; so is every one of dark, but nothing
// answers there.
const (
	clientAddr, serverAddr = "10.0.0.1", "10.0.0.2"
	prefix, dark           = "10.64.0.0/11", "10.96.0.0/11"
	port                   = 80
)

// scaleRun is one row: so many targets, each probed with a burst every interval.
type scaleRun struct {
	Targets  int           `json:"targets"`
	Burst    int           `json:"burst"`
	Interval time.Duration `json:"interval_ns"`
	Warm     time.Duration `json:"warm_ns"`
	Span     time.Duration `json:"span_ns"`
	Dark     bool          `json:"dark"` // nobody answers
	Scrape   string        `json:"scrape"`
	CPU      int           `json:"cpu"` // the one core that the prober may use
}

// scaled is what came of it.
type scaled struct {
	scaleRun
	Rounds, Probes, Healthy, Ill, Skipped int
	Seen                                  float64       `json:"answers_seen"`
	User, System                          time.Duration // of the prober's process
	LagP50, LagP99, LagMax                time.Duration
	Drops                                 uint64
	InFlight                              int
	RSS, Idle                             int64 // KiB: at the end, and before the first round
	Scrapes                               int
	ScrapeTime                            time.Duration
	Series                                int
}

func scale(args []string) int {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	list := fs.String("targets", "1000,3000,10000,30000,100000", "numbers of targets, a row each")
	burst := fs.Int("burst", 10, "SYNs of a burst")
	interval := fs.Duration("interval", 10*time.Second, "time between two rounds of a target")
	span := fs.Duration("span", 20*time.Second, "how long each row is measured, after two intervals that are not")
	inFlight := fs.Int("in-flight", 100000, "SYNs that nobody answers, in flight at once; 0: not measured")
	scrape := fs.String("scrape", "target", "metrics_detail of a scrape every 15 s: none, target (up to 30,000 targets); off: no metrics are kept")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := topo.New(ctx)
	defer n.Close()
	client, notes := stage(n)
	if err := n.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	var rows []scaled
	for text := range strings.SplitSeq(*list, ",") {
		targets, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || targets < 1 || targets > 1<<21 {
			fmt.Fprintf(os.Stderr, "--targets %q: want numbers from 1 to %d\n", text, 1<<21)
			return 2
		}
		rows = append(rows, measure(client, scaleRun{Targets: targets, Burst: *burst, Interval: *interval, Warm: 2 * *interval, Span: *span, Scrape: kept(*scrape, targets)}))
	}
	if *inFlight > 0 {
		rows = append(rows, measure(client, scaleRun{Targets: *inFlight / *burst * 5 / 4, Burst: *burst, Interval: 40 * time.Second, Span: 45 * time.Second, Dark: true, Scrape: "off"}))
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		if enc.Encode(rows) != nil {
			return 1
		}
		return 0
	}
	table(rows, notes)
	return 0
}

// kept is the detail of a row's metrics: beyond detailed targets, none of theirs.
func kept(asked string, targets int) string {
	if targets > detailed && asked == "target" {
		return "none"
	}
	return asked
}

// detailed is up to how many targets series of each are kept.
const detailed = 30000

// stage builds client and server on one cable, and moves what the server's kernel does to another core where that can be.
func stage(n *topo.Net) (client *topo.Host, notes []string) {
	client = n.Host("client")
	server := n.Host("server")
	near, far := n.Cable(client, server)
	near.Addr(clientAddr + "/24")
	far.Addr(serverAddr + "/24")
	near.Knows(serverAddr, far)
	far.Knows(clientAddr, near)
	client.Route("10.64.0.0/10", serverAddr)
	server.Sysctl("net.ipv4.tcp_max_syn_backlog", "65536")
	server.Sysctl("net.core.somaxconn", "65536")
	server.Build("every address of "+prefix, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		dst, err := netlink.ParseIPNet(prefix)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: localRoute, Table: localTable, Scope: netlink.SCOPE_HOST})
	})
	server.Build("nobody at "+dark, func() error {
		dst, err := netlink.ParseIPNet(dark)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Type: blackholeRoute})
	})
	server.Serve(topo.Service{Port: port, Then: topo.CloseFirst, Backlog: 65536})
	if runtime.NumCPU() < 2 {
		return client, append(notes, "one core alone: what the server's kernel does is in the prober's cost")
	}
	if err := server.Do(func() error { return steer(far.Name, "2") }); err != nil {
		notes = append(notes, fmt.Sprintf("what the server's kernel does for a SYN is in the prober's cost: %v", err))
	} else {
		notes = append(notes, "the server's kernel works on core 1 (rps_cpus), the prober on core 0")
	}
	if err := client.Do(func() error { return steer(near.Name, "1") }); err != nil {
		notes = append(notes, fmt.Sprintf("answers are received on the server's core: %v", err))
	} else {
		notes = append(notes, "answers are received on the prober's core (rps_cpus)")
	}
	return client, notes
}

// measure starts one prober in the client's namespace and reads what it found.
func measure(client *topo.Host, r scaleRun) scaled {
	in, _ := json.Marshal(r) // plain values
	cmd := client.Command(context.Background(), "/proc/self/exe", workerName, string(in))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	fmt.Fprintf(os.Stderr, "%d targets × %d every %s…\n", r.Targets, r.Burst, r.Interval)
	if err := client.Run(cmd); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return scaled{scaleRun: r}
	}
	var s scaled
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return s
}

func table(rows []scaled, notes []string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "targets\tburst\tevery\tprobes/s\tone core\tµs/probe\tlag p50\tp99\tmax\tskipped\tanswers\tring drops\tRSS\tKiB/target\tscrape\t")
	for _, r := range rows {
		if r.Dark {
			continue
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%.0f\t%.1f %%\t%.2f\t%s\t%s\t%s\t%d\t%.4f %%\t%d\t%d MiB\t%.2f\t%s\t\n", r.Targets, r.Burst, r.Interval,
			float64(r.Probes)/r.Span.Seconds(), 100*(r.User+r.System).Seconds()/r.Span.Seconds(),
			float64((r.User+r.System).Microseconds())/float64(max(r.Probes, 1)), short(r.LagP50), short(r.LagP99), short(r.LagMax), r.Skipped, 100*r.Seen, r.Drops,
			r.RSS>>10, float64(r.RSS-r.Idle)/float64(r.Targets), r.scraped())
	}
	_ = w.Flush()
	for _, r := range rows {
		if r.Dark {
			fmt.Printf("\n%d SYNs without an answer were in flight at once: %d octets each in the table; the process takes %d MiB; %d rounds told in full, ring drops %d\n",
				r.InFlight, recordOctets, r.RSS>>10, r.Ill, r.Drops)
		}
	}
	fmt.Println()
	for _, n := range append(notes, "CPU is user and system time of the prober's process, which is bound to one core",
		"limits are raised as in a configuration: half-open, unanswered, SYNs a second") {
		fmt.Println("·", n)
	}
}

func (r *scaled) scraped() string {
	if r.Scrapes == 0 {
		return "none"
	}
	return fmt.Sprintf("%d series, %s", r.Series, short(r.ScrapeTime/time.Duration(r.Scrapes)))
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
