package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/sweep"
)

// job is what one process of ours is asked to do.
type job struct {
	what    string // sweep, blind, xdp, connect, syn, dial
	prefix  string
	targets int
	shots   int
	rate    float64
	repeat  int
	wait    time.Duration
	tap     bool
	profile string // a file for a CPU profile; empty: none is made
}

// WorkerName is the argument of a process of ours that is measured.
const WorkerName = "worker"

// args is the job as a command line for Worker.
func (j job) args() []string {
	return []string{"/proc/self/exe", WorkerName, "-what=" + j.what, "-prefix=" + j.prefix, "-targets=" + text(j.targets), "-shots=" + text(j.shots),
		"-rate=" + strconv.FormatFloat(j.rate, 'f', -1, 64), "-repeat=" + text(j.repeat), "-wait=" + j.wait.String(), "-tap=" + strconv.FormatBool(j.tap)}
}

func parseJob(args []string) (job, error) {
	var j job
	f := flag.NewFlagSet("worker", flag.ContinueOnError)
	f.StringVar(&j.what, "what", "", "")
	f.StringVar(&j.prefix, "prefix", answered, "")
	f.IntVar(&j.targets, "targets", 1, "")
	f.IntVar(&j.shots, "shots", 1, "")
	f.Float64Var(&j.rate, "rate", 0, "")
	f.IntVar(&j.repeat, "repeat", 1, "")
	f.DurationVar(&j.wait, "wait", time.Second, "")
	f.BoolVar(&j.tap, "tap", true, "")
	f.StringVar(&j.profile, "cpuprofile", "", "")
	return j, f.Parse(args)
}

// tally is what a process of ours says of itself.
type tally struct {
	Probes, Answered int
	Drops            uint64
	BytesPerProbe    float64
	Took             time.Duration // of all sending
	Times            []timed       `json:",omitempty"`
}

// timed is one handshake as the contestant reports it.
type timed struct {
	Port uint16
	Dst  string
	Took time.Duration
}

// Worker does a job as a process of its own and writes the tally to w.
func Worker(ctx context.Context, args []string, w io.Writer) error {
	j, err := parseJob(args)
	if err != nil {
		return err
	}
	stop, err := j.profiled()
	if err != nil {
		return err
	}
	t, err := j.do(ctx)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(t)
}

func (j job) do(ctx context.Context) (tally, error) {
	switch j.what {
	case "sweep", "blind", "xdp":
		return j.sweep(ctx)
	case "connect", "syn":
		return j.bursts(ctx)
	case "dial":
		return j.dial(ctx)
	}
	return tally{}, fmt.Errorf("no job %q", j.what)
}

// profiled begins the profile that was asked for; stop ends it.
func (j job) profiled() (stop func() error, err error) {
	if j.profile == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(j.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func (j job) prober() (*prober.Prober, error) {
	allow, err := prober.ParseAllow([]string{j.prefix})
	if err != nil {
		return nil, err
	}
	lab := prober.Limits{PerTargetRate: 1e8, PerTargetBurst: 1e6, GlobalRate: 1e8, GlobalBurst: 1e6, HalfOpen: 1e6, Unanswered: 1e9}
	return prober.New(prober.Options{Allow: allow, EngineOptions: prober.EngineOptions{Limits: lab, NoCapture: !j.tap}})
}

// sweep sweeps the first addresses of the prefix, repeat times over.
func (j job) sweep(ctx context.Context) (tally, error) {
	p, err := j.prober()
	if err != nil {
		return tally{}, err
	}
	defer p.Close()
	q := prober.SweepRequest{Shots: j.shots, Rate: j.rate, Wait: j.wait, Targets: func(yield func(netip.AddrPort) bool) {
		for a, n := at(j.prefix, 0), j.targets; n > 0 && yield(netip.AddrPortFrom(a, port)); n-- {
			a = a.Next()
		}
	}}
	q.Transmit = map[string]prober.Transmit{"blind": prober.TransmitBlind, "xdp": prober.TransmitXDP}[j.what]
	var t tally
	before := resident()
	for range j.repeat {
		r, err := p.Sweep(ctx, q)
		if err != nil {
			return t, err
		}
		t.Took += r.LastSent.Sub(r.Started)
		t.Drops += r.CaptureDrops
		t.Probes += r.Book.Len()
		if q.Transmit == prober.TransmitPacket { // else nobody listens
			t.Answered += r.Book.Summarize().States[sweep.Accepted]
		}
		if j.repeat == 1 {
			t.BytesPerProbe = float64(resident()-before) / float64(r.Book.Len())
		}
	}
	return t, nil
}

// resident is the memory that this process has in use, in octets.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64) // proc(5)
	return pages * int64(os.Getpagesize())
}

// bursts makes one burst of connects, or of raw SYNs, to each target in turn.
func (j job) bursts(ctx context.Context) (tally, error) {
	p, err := j.prober()
	if err != nil {
		return tally{}, err
	}
	defer p.Close()
	m, _ := prober.BuiltinModule(prober.Kind(j.what))
	m.Burst, m.Timeout, m.MaxStalled = j.shots, 5*time.Second, -1
	var t tally
	for i := range j.targets {
		rounds, err := p.Probe(ctx, netip.AddrPortFrom(at(j.prefix, i), port).String(), m)
		if err != nil {
			return t, err
		}
		if rounds[0].Err != nil {
			return t, rounds[0].Err
		}
		for _, a := range rounds[0].Attempts() {
			t.Probes++
			if a.Outcome != observe.Accepted {
				continue
			}
			t.Answered++
			if j.wait > 0 && a.RTT > 0 {
				t.Times = append(t.Times, timed{a.Flow.Src.Port(), a.Flow.Dst.Addr().String(), a.RTT})
			}
		}
	}
	return t, nil
}

// dial makes the same connects by net.Dialer, a goroutine each.
func (j job) dial(ctx context.Context) (tally, error) {
	var t tally
	for i := range j.targets {
		dst := netip.AddrPortFrom(at(j.prefix, i), port)
		var wg sync.WaitGroup
		took := make([]timed, j.shots)
		for k := range j.shots {
			wg.Go(func() { took[k] = dialOnce(ctx, dst) })
		}
		wg.Wait()
		for _, x := range took {
			t.Probes++
			if x.Port != 0 {
				t.Answered++
				if j.wait > 0 {
					t.Times = append(t.Times, x)
				}
			}
		}
	}
	if t.Answered == 0 {
		return t, errors.New("no connect succeeded")
	}
	return t, nil
}

func dialOnce(ctx context.Context, dst netip.AddrPort) timed {
	d := net.Dialer{Timeout: 5 * time.Second}
	began := time.Now()
	c, err := d.DialContext(ctx, "tcp", dst.String())
	if err != nil {
		return timed{}
	}
	took := time.Since(began)
	defer c.Close()
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return timed{}
	}
	if raw, err := tcp.SyscallConn(); err == nil { // an abort, as ours
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		})
	}
	local, _ := tcp.LocalAddr().(*net.TCPAddr)
	return timed{uint16(local.Port), dst.Addr().String(), took}
}
