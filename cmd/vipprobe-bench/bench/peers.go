package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/figures"
)

// measure is one run of one contestant: figure → value.
type measure struct {
	figure, unit string
	value        float64
}

// contestant is one that runs.
type contestant struct {
	name   string
	needs  string // a program; empty: ours
	argv   func(r *rig) []string
	limit  time.Duration
	forced bool // it does not end by itself: it is killed at the limit
	read   func(u usage) ([]measure, error)
}

// The names of contestants.
const (
	ours    = figures.Ours
	oursXDP = figures.Ours + " (AF_XDP)"
)

// The figures.
const (
	transmitCPU  = "SYN transmit, dropping sink: CPU per packet"
	transmitRate = "SYN transmit, dropping sink: rate"
	connectCPU   = "full connects: CPU per connect"
	nearCPU      = "full connects, answered before connect(2) returns: CPU per connect"
	memory       = "memory per raw probe in flight"
)

// matching names what is measured of who probes a kernel that answers.
type matching struct{ sent, matched, seen string }

var (
	// matchApart is where that kernel has a core of its own.
	matchApart = matching{"send + SYN-ACK + match: CPU per probe sent", "send + SYN-ACK + match: CPU per probe matched", "answers seen at 100,000 probes/s"}
	// matchNear is where it answers within the system call that sends.
	matchNear = matching{"send + SYN-ACK + match, answered within the sender's call: CPU per probe sent",
		"send + SYN-ACK + match, answered within the sender's call: CPU per probe matched", "answers seen at 100,000 probes/s, so answered"}
)

func micros(d time.Duration, n float64) float64 { return float64(d.Nanoseconds()) / 1e3 / n }

// perPacket reads a flood.
func perPacket(u usage) ([]measure, error) {
	if u.sent == 0 {
		return nil, errors.New("sent nothing")
	}
	return []measure{{transmitCPU, "µs", micros(u.cpu, float64(u.sent))}, {transmitRate, "packets/s", float64(u.sent) / u.wall.Seconds()}}, nil
}

func perPacketOfOurs(u usage) ([]measure, error) {
	t, err := readTally(u)
	if err != nil {
		return nil, err
	}
	return []measure{{transmitCPU, "µs", micros(u.cpu, float64(t.Probes))}, {transmitRate, "packets/s", float64(t.Probes) / t.Took.Seconds()}}, nil
}

func readTally(u usage) (t tally, err error) {
	if err := json.Unmarshal(u.out, &t); err != nil {
		return t, fmt.Errorf("read what a worker says: %w", err)
	}
	if t.Probes == 0 {
		return t, errors.New("a worker probed nothing")
	}
	return t, nil
}

func sinkArgs(n string) func(r *rig) []string {
	return func(*rig) []string {
		return job{what: n, prefix: sunk, targets: floodSize, shots: 1, rate: 1e8, repeat: 1}.args()
	}
}

// floodSize is a /11 of packets, what masscan cannot but send of that prefix: so many that what a process costs before it sends is a hundredth.
const floodSize = 1 << 21

// transmit is who floods a sink.
func transmit() []contestant {
	flood := strings.Replace(sunk, "/10", "/11", 1)
	return []contestant{
		{name: ours, argv: sinkArgs("blind"), read: perPacketOfOurs},
		{name: oursXDP, argv: sinkArgs("xdp"), read: perPacketOfOurs},
		{name: "masscan", needs: "masscan", limit: 15 * time.Second, read: perPacket, argv: func(*rig) []string {
			return append([]string{"masscan", flood, "-p80", "--rate", "10000000", "--router-mac", sinkMAC}, masscanCommon()...)
		}},
		{name: "zmap", needs: "zmap", read: perPacket, argv: func(*rig) []string {
			return append(zmapCommon(sinkMAC), "-r", "10000000", "-n", text(floodSize), "-o", os.DevNull, sunk)
		}},
		{name: "hping3", needs: "hping3", limit: 2 * time.Second, forced: true, read: perPacket, argv: func(*rig) []string {
			return []string{"hping3", "--flood", "-q", "-n", "-S", "-p", "80", at(sunk, 1).String()}
		}},
		{name: "nping", needs: "nping", limit: 2 * time.Second, forced: true, read: perPacket, argv: func(*rig) []string {
			return []string{"nping", "--tcp", "-p", "80", "--flags", "syn", "--rate", "1000000", "-c", "1000000", "-N", "-H", "-q", at(sunk, 1).String()}
		}},
	}
}

func masscanCommon() []string {
	return []string{"--adapter", "eth0", "--adapter-ip", clientAddr, "--wait", "1"}
}

func zmapCommon(mac string) []string {
	return []string{"zmap", "-C", os.DevNull, "-b", os.DevNull, "-i", "eth0", "-p", "80", "-G", mac, "-S", clientAddr, "-T", "1", "-c", "1", "-q", "-v", "2"}
}

// matchSize is a /14 of probes.
const (
	matchSize = 1 << 18
	matchRate = 100000
)

// contestants is who probes a kernel that answers.
func (m *matching) contestants(dir string) []contestant {
	scan := strings.Replace(answered, "/10", "/14", 1)
	zmapOut, masscanOut := filepath.Join(dir, "zmap"), filepath.Join(dir, "masscan")
	return []contestant{
		{name: ours, read: m.ofOurs, argv: func(*rig) []string {
			return job{what: "sweep", prefix: answered, targets: matchSize, shots: 1, rate: matchRate, repeat: 1, wait: time.Second, tap: true}.args()
		}},
		{name: "zmap", needs: "zmap", read: m.lines(zmapOut, "\n"), argv: func(r *rig) []string {
			return append(zmapCommon(r.far.MAC.String()), "-r", text(matchRate), "-n", text(matchSize), "-o", zmapOut, answered)
		}},
		{name: "masscan", needs: "masscan", limit: 9 * time.Second, read: m.lines(masscanOut, "open tcp"), argv: func(r *rig) []string {
			return append([]string{"masscan", scan, "-p80", "--rate", text(matchRate), "--router-mac", r.far.MAC.String(), "-oL", masscanOut}, masscanCommon()...)
		}},
	}
}

func (m *matching) ofOurs(u usage) ([]measure, error) {
	t, err := readTally(u)
	if err != nil {
		return nil, err
	}
	return m.measures(u, float64(t.Answered)), nil
}

func (m *matching) measures(u usage, seen float64) []measure {
	all := []measure{{m.sent, "µs", micros(u.cpu, matchSize)}, {m.seen, "%", 100 * seen / matchSize}}
	if seen > 0 {
		all = append(all, measure{m.matched, "µs", micros(u.cpu, seen)})
	}
	return all
}

// lines counts the answers that a peer wrote to a file.
func (m *matching) lines(file, mark string) func(usage) ([]measure, error) {
	return func(u usage) ([]measure, error) {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read its answers: %w", err)
		}
		_ = os.Remove(file) // else the next round counts them
		return m.measures(u, float64(bytes.Count(b, []byte(mark)))), nil
	}
}

// connects is how many full connects are made: 20 bursts of 1,000.
const connects = 20000

// connect is who makes full connects of the kernel's.
func connect(figure string) []contestant {
	make20 := job{prefix: answered, targets: connects / 1000, shots: 1000, repeat: 1}
	by := func(what string, tap bool) func(*rig) []string {
		return func(*rig) []string {
			j := make20
			j.what, j.tap = what, tap
			return j.args()
		}
	}
	read := func(u usage) ([]measure, error) { return perConnect(figure, u) }
	return []contestant{
		{name: ours, argv: by("connect", false), read: read},
		{name: ours + " (with capture)", argv: by("connect", true), read: read},
		{name: "net.Dialer", argv: by("dial", false), read: read},
	}
}

func perConnect(figure string, u usage) ([]measure, error) {
	t, err := readTally(u)
	if err != nil {
		return nil, err
	}
	if t.Answered < t.Probes*99/100 {
		return nil, fmt.Errorf("%d of %d connects succeeded", t.Answered, t.Probes)
	}
	return []measure{{figure, "µs", micros(u.cpu, float64(t.Probes))}}, nil
}

// coalesced is the figure of bursts of ten raw SYNs to so many targets at once.
func coalesced(targets int) string {
	return fmt.Sprintf("bursts of 10 raw SYNs to %d targets at once: CPU per probe", targets)
}

// raw is ours alone: bursts to 10, 200 and 2,000 targets, and the memory of two million probes in flight.
func raw() []contestant {
	var all []contestant
	for _, x := range []struct{ targets, repeat int }{{10, 100}, {200, 40}, {2000, 20}} {
		all = append(all, contestant{name: ours, argv: func(*rig) []string {
			return job{what: "sweep", prefix: answered, targets: x.targets, shots: 10, rate: 1e8, repeat: x.repeat, wait: 100 * time.Millisecond, tap: true}.args()
		}, read: func(u usage) ([]measure, error) {
			t, err := readTally(u)
			if err != nil {
				return nil, err
			}
			return []measure{{coalesced(x.targets), "µs", micros(u.cpu, float64(t.Probes))}}, nil
		}})
	}
	return append(all, contestant{name: ours, argv: func(*rig) []string {
		return job{what: "sweep", prefix: sunk, targets: floodSize, shots: 1, rate: 1e8, repeat: 1, wait: time.Millisecond, tap: true}.args()
	}, read: func(u usage) ([]measure, error) {
		t, err := readTally(u)
		if err != nil {
			return nil, err
		}
		return []measure{{memory, "octets", t.BytesPerProbe}}, nil
	}})
}

// installed reports whether the contestant's program is there.
func (c *contestant) installed() bool {
	if c.needs == "" {
		return true
	}
	_, err := exec.LookPath(c.needs)
	return err == nil
}

// run runs the contestant once.
func (c *contestant) run(ctx context.Context, r *rig) ([]measure, error) {
	limit := c.limit
	if limit == 0 {
		limit = deadline
	}
	u, err := r.run(ctx, limit, c.argv(r)...)
	if err != nil {
		return nil, err
	}
	if u.late && c.needs == "" {
		return nil, fmt.Errorf("did not end within %s", limit)
	}
	return c.read(u)
}
