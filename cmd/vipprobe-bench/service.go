package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// onCoreName is the argument of the process that binds itself to a core and becomes another program.
const onCoreName = "service-on-core"

// serviceRun is one row of the whole service: vipprobe serve itself, with what it keeps and who reads from it.
type serviceRun struct {
	Targets  int           `json:"targets"`
	Burst    int           `json:"burst"`
	Interval time.Duration `json:"interval_ns"`
	Warm     time.Duration `json:"warm_ns"`
	Span     time.Duration `json:"span_ns"`
	Detail   string        `json:"metrics_detail"`
	Readers  bool          `json:"readers"` // the page, the API and its events are read besides
	Dark     int           `json:"dark"`    // of a hundred targets, how many nobody answers at

	program, dir, profile string
}

// served is what came of it.
type served struct {
	serviceRun
	User, System      time.Duration // of the service's process
	RSS, Peak         int64         // KiB
	Lag               lagged
	Rounds, Skipped   map[string]float64 // by result, by reason
	Wrong             map[string]int     // of the newest rounds that did not succeed, what they say
	Drops             float64            // frames that the capture lost
	Local             float64            // rounds that name prober_local_drop at the end
	Taken, Written    float64            // by the store
	Dropped           float64
	SlowestBatch      time.Duration
	File              int64 // octets of the results file
	Scrapes           int
	ScrapeTime        time.Duration
	ScrapeSent        int64 // octets of one scrape as sent, compressed
	Series            int
	Reads             int // requests of the readers that were answered
	ReadsRefused      int // told to come later
	ReadTime, Slowest time.Duration
	Load              string // of the machine, at the end
}

func serviceBench(args []string) int {
	fs := flag.NewFlagSet("service", flag.ContinueOnError)
	r := serviceRun{}
	list := fs.String("targets", "1000,3000,10000,30000,100000", "numbers of targets, a row each")
	fs.IntVar(&r.Burst, "burst", 10, "SYNs of a burst")
	fs.DurationVar(&r.Interval, "interval", 10*time.Second, "time between two rounds of a target")
	fs.DurationVar(&r.Span, "span", time.Minute, "how long each row is measured, after two intervals that are not")
	fs.StringVar(&r.Detail, "detail", "target", "metrics_detail: none, target (up to 30,000 targets, then none), backend")
	fs.BoolVar(&r.Readers, "readers", true, "the page's and the API's readers besides the scrape every 15 s")
	fs.IntVar(&r.Dark, "dark", 0, "of a hundred targets, how many nobody answers at")
	fs.StringVar(&r.program, "vipprobe", "", "the program to measure; default: vipprobe beside this one, or in PATH")
	fs.StringVar(&r.profile, "profile", "", "directory for CPU and heap profiles of each row; taking them costs some per cent")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	rows, err := rowsOf(r, *list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vipprobe-bench:", err)
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
	var out []served
	for _, r := range rows {
		s, err := serveRow(ctx, client, r)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%d targets: %v\n", r.Targets, err)
			return 3
		}
		out = append(out, *s)
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		if enc.Encode(out) != nil {
			return 1
		}
		return 0
	}
	serviceTable(out, notes)
	return 0
}

func rowsOf(r serviceRun, list string) (rows []serviceRun, err error) {
	if r.program, err = program(r.program); err != nil {
		return nil, err
	}
	r.Warm = 2 * r.Interval
	for text := range strings.SplitSeq(list, ",") {
		x := r
		if x.Targets, err = strconv.Atoi(strings.TrimSpace(text)); err != nil || x.Targets < 1 || x.Targets > 1<<20 {
			return nil, fmt.Errorf("-targets %q: want numbers from 1 to %d", text, 1<<20)
		}
		x.Detail = kept(r.Detail, x.Targets)
		rows = append(rows, x)
	}
	return rows, nil
}

// program finds vipprobe.
func program(name string) (string, error) {
	if name != "" {
		return filepath.Abs(name)
	}
	if own, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(own), "vipprobe"); isFile(beside) {
			return beside, nil
		}
	}
	path, err := exec.LookPath("vipprobe")
	if err != nil {
		return "", errors.New("no vipprobe beside this program or in PATH: go build ./cmd/vipprobe, and name it with -vipprobe")
	}
	return path, nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// onCore binds this process to a core and becomes the program whose name and arguments follow.
func onCore(args []string) int {
	cpu, err := strconv.Atoi(args[0])
	if err == nil {
		var one unix.CPUSet
		one.Set(cpu)
		err = bindAll(&one)
	}
	if err == nil {
		err = syscall.Exec(args[1], args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "vipprobe-bench:", err)
	return 3
}

func serviceTable(rows []served, notes []string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "targets\tdetail\tprobes/s\tone core\tµs/probe\tlag p50\tp99\tmost\tskipped\tdrops\tRSS\tpeak\tKiB/target\tkept/s\tnot kept\tbatch most\tscrape\treads\tload\t")
	for i := range rows {
		r := &rows[i]
		rounds := total(r.Rounds)
		cpu := r.User + r.System
		fmt.Fprintf(w, "%d\t%s\t%.0f\t%.1f %%\t%.2f\t%s\t%s\t%s\t%.0f\t%.0f\t%d MiB\t%d MiB\t%.1f\t%.0f\t%.0f\t%s\t%s\t%s\t%s\t\n", r.Targets, r.Detail,
			rounds*float64(r.Burst)/r.Span.Seconds(), 100*cpu.Seconds()/r.Span.Seconds(), float64(cpu.Microseconds())/max(1, rounds*float64(r.Burst)),
			within(r.Lag.P50), within(r.Lag.P99), within(r.Lag.Most), total(r.Skipped), r.Drops, r.RSS>>10, r.Peak>>10, float64(r.RSS)/float64(r.Targets), r.Written/r.Span.Seconds(),
			r.Dropped, short(r.SlowestBatch), r.scraped(), r.read(), r.Load)
	}
	_ = w.Flush()
	fmt.Println()
	for i := range rows {
		if len(rows[i].Skipped) > 0 || rows[i].Local > 0 {
			fmt.Printf("%d targets: rounds %v, skipped %v, prober_local_drop named now by %.0f\n", rows[i].Targets, rows[i].Rounds, rows[i].Skipped, rows[i].Local)
			for why, n := range rows[i].Wrong {
				fmt.Printf("  %d × %s\n", n, why)
			}
		}
	}
	for _, n := range append(notes, "vipprobe serve is bound to core 0; servers, scrapes and readers are on the others. CPU is user and system time of its process, SQLite included",
		"lag is of the exported histogram, by the upper edges of its buckets; RSS is at the end, peak since the start (VmHWM)",
		"limits are raised as in a configuration: half-open, unanswered, SYNs a second") {
		fmt.Println("·", n)
	}
}

// within says what a quantile is not above.
func within(edge time.Duration) string {
	if edge == math.MaxInt64 {
		return "> 10 s"
	}
	return "≤ " + edge.String()
}

func total(m map[string]float64) (sum float64) {
	for _, v := range m {
		sum += v
	}
	return sum
}

func (s *served) scraped() string {
	if s.Scrapes == 0 {
		return "none"
	}
	return fmt.Sprintf("%d series, %s, %.1f MB sent", s.Series, short(s.ScrapeTime/time.Duration(s.Scrapes)), float64(s.ScrapeSent)/1e6)
}

func (s *served) read() string {
	if s.Reads == 0 {
		return "none"
	}
	return fmt.Sprintf("%d (%d refused), %s each, most %s", s.Reads, s.ReadsRefused, short(s.ReadTime/time.Duration(s.Reads)), short(s.Slowest))
}
