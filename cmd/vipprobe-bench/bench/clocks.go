package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// clockPeer is a peer that tells how long each handshake took.
type clockPeer struct {
	name string
	argv func(r *rig, atOnce, targets int) []string
	read func(out string) []timed
}

// hpingBase is the first of hping3's source ports, which count up.
const hpingBase = 20000

// clockPeers ask each of so many targets once, so many at once. Hping3 asks one target from so many ports; it has no other way.
func clockPeers() []clockPeer {
	return []clockPeer{
		{name: "hping3", read: hpingTimes, argv: func(_ *rig, atOnce, targets int) []string {
			every := "u50" // with less it sees no answer at all
			if atOnce == 1 {
				every = "u5000"
			}
			return []string{"hping3", "-S", "-n", "-p", text(port), "-s", text(hpingBase), "-c", text(targets), "-i", every, at(answered, 0).String()}
		}},
		{name: "nping", read: npingTimes, argv: func(_ *rig, atOnce, targets int) []string {
			pace := []string{"--rate", "100000"}
			if atOnce == 1 {
				pace = []string{"--rate", "100"}
			}
			return append(append([]string{"nping", "--tcp", "-p", text(port), "--flags", "syn", "-c", "1", "-H"}, pace...), spread(targets))
		}},
		{name: "nmap", read: nmapTimes, argv: func(_ *rig, atOnce, targets int) []string {
			return []string{"nmap", "-n", "-Pn", "-sS", "-p", text(port), "--max-retries", "0", "--min-hostgroup", text(targets), "--min-parallelism", text(atOnce),
				"--max-parallelism", text(atOnce), "-oX", "-", spread(targets)}
		}},
	}
}

// spread writes the first addresses of answered as nmap and nping take them: up to 250, or a multiple of that.
func spread(targets int) string {
	if targets <= 250 {
		return fmt.Sprintf("10.64.0.0-%d", targets-1)
	}
	return fmt.Sprintf("10.64.0-%d.0-249", targets/250-1)
}

func hpingTimes(out string) (all []timed) {
	for _, m := range regexp.MustCompile(`ip=(\S+) .*flags=SA seq=(\d+) .*rtt=([\d.]+) ms`).FindAllStringSubmatch(out, -1) {
		seq, err := strconv.ParseUint(m[2], 10, 15)
		ms, err2 := strconv.ParseFloat(m[3], 64)
		if errors.Join(err, err2) == nil {
			all = append(all, timed{Port: hpingBase + uint16(seq), Dst: m[1], Took: time.Duration(ms * float64(time.Millisecond))})
		}
	}
	return all
}

func npingTimes(out string) (all []timed) {
	for _, m := range regexp.MustCompile(`Statistics for host (\S+):\n.*\n.*Avg rtt: ([\d.]+)ms`).FindAllStringSubmatch(out, -1) {
		if ms, err := strconv.ParseFloat(m[2], 64); err == nil {
			all = append(all, timed{Dst: m[1], Took: time.Duration(ms * float64(time.Millisecond))})
		}
	}
	return all
}

func nmapTimes(out string) (all []timed) {
	for _, m := range regexp.MustCompile(`(?s)<address addr="([^"]+)".*?<times srtt="(\d+)"`).FindAllStringSubmatch(out, -1) {
		if µs, err := strconv.ParseInt(m[2], 10, 64); err == nil {
			all = append(all, timed{Dst: m[1], Took: time.Duration(µs) * time.Microsecond})
		}
	}
	return all
}

// peersClocks sets what the peers say of their handshakes against a tcpdump beside them.
func (c *course) peersClocks(ctx context.Context, round, atOnce int, loaded bool) {
	targets := max(atOnce, 100)
	figure := errorOf(atOnce, loaded)
	for _, p := range clockPeers() {
		if _, err := exec.LookPath(p.name); err != nil || ctx.Err() != nil {
			continue
		}
		x := contestant{name: p.name, argv: func(r *rig) []string { return p.argv(r, atOnce, targets) }}
		c.clock(ctx, round, figure, p.name, command(&x, c.rig, c.dir), loaded, func(ctx context.Context) ([]timed, error) {
			u, err := c.rig.run(ctx, deadline, x.argv(c.rig)...)
			if times := p.read(string(u.out)); len(times) > 0 {
				return times, nil // hping3 exits with 1 for a single answer that it missed
			}
			return nil, err
		})
	}
	if path, err := exec.LookPath(blackboxProgram); err == nil && ctx.Err() == nil {
		how := fmt.Sprintf("%s   (probe_duration_seconds of %d GET /probe, %d at a time)", blackboxProgram, targets, atOnce)
		c.clock(ctx, round, figure, blackbox, how, loaded, func(ctx context.Context) ([]timed, error) {
			return c.blackboxTimes(ctx, path, atOnce, targets)
		})
	}
}

// clock runs a peer beside a tcpdump and enters the 99th percentile of its error.
func (c *course) clock(ctx context.Context, round int, figure, name, how string, loaded bool, run func(context.Context) ([]timed, error)) {
	fmt.Fprintf(c.progress, "round %d: %s, %s\n", round+1, figure, name)
	p99, err := c.beside(ctx, loaded, run)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.failed(round, name, fmt.Errorf("%s: %w", figure, err))
		return
	}
	c.report.Add(figure, name, "µs", round, p99)
	if how != "" {
		c.report.Note(figure, name, how)
	}
}

// blackboxTimes has blackbox_exporter probe each target once and returns what it says of each.
func (c *course) blackboxTimes(ctx context.Context, path string, atOnce, targets int) ([]timed, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var mu sync.Mutex
	var all []timed
	_, err := c.exporter(ctx, path, func(ctx context.Context, get getter) error {
		return together(atOnce, targets, func(i int) error {
			dst := at(answered, i).String()
			page, err := get(ctx, "/probe?module=tcp_connect&target="+url.QueryEscape(net.JoinHostPort(dst, text(port))), "\nprobe_success 1\n")
			m := regexp.MustCompile(`(?m)^probe_duration_seconds (\S+)$`).FindStringSubmatch(page)
			if err != nil || m == nil {
				return err
			}
			s, err := strconv.ParseFloat(m[1], 64)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, timed{Dst: dst, Took: time.Duration(s * float64(time.Second))})
			return err
		})
	})
	return all, err
}

// together does n jobs, so many at once, and stops each of these rows at its first error.
func together(atOnce, n int, job func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, atOnce)
	for k := range atOnce {
		wg.Go(func() {
			for i := k; i < n && errs[k] == nil; i += atOnce {
				errs[k] = job(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ofWorker reads the times of a process of ours.
func ofWorker(u usage) ([]timed, error) {
	var t tally
	if err := json.Unmarshal(u.out, &t); err != nil {
		return nil, fmt.Errorf("read what a worker says: %w", err)
	}
	return t.Times, nil
}
