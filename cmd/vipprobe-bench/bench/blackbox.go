package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	blackbox        = "blackbox_exporter"
	blackboxProgram = "prometheus-blackbox-exporter"
	blackboxAddr    = "127.0.0.1:9115"
	// blackboxProbes are made by so many at once.
	blackboxProbes   = 4000
	blackboxParallel = 100
)

// blackbox measures blackbox_exporter's TCP probe, scraped as Prometheus does, for a figure.
func (c *course) blackbox(ctx context.Context, round int, figure string) {
	path, err := exec.LookPath(blackboxProgram)
	if err != nil || ctx.Err() != nil {
		return
	}
	command := fmt.Sprintf("%s --web.listen-address=%s   (%d GET /probe?module=tcp_connect&target=…, %d at a time)", blackboxProgram, blackboxAddr,
		blackboxProbes, blackboxParallel)
	fmt.Fprintf(c.progress, "round %d: %s\n", round+1, command)
	cpu, err := c.scrape(ctx, path)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.failed(round, blackbox, err)
		return
	}
	c.report.Add(figure, blackbox, "µs", round, micros(cpu, blackboxProbes))
	c.report.Note(figure, blackbox, command)
}

// scrape runs the exporter, has it probe, ends it and returns its CPU time.
func (c *course) scrape(ctx context.Context, path string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	config := filepath.Join(c.dir, "blackbox.yml")
	if err := os.WriteFile(config, []byte("modules:\n  tcp_connect:\n    prober: tcp\n    timeout: 5s\n    tcp: {preferred_ip_protocol: ip4}\n"), 0o600); err != nil {
		return 0, err
	}
	cmd := c.rig.client.Command(ctx, path, "--config.file="+config, "--web.listen-address="+blackboxAddr, "--log.level=error")
	if err := c.rig.client.Start(cmd); err != nil {
		return 0, fmt.Errorf("start %s: %w", path, err)
	}
	err := c.probes(ctx)
	_ = cmd.Process.Signal(os.Interrupt) // it may have ended
	_ = cmd.Wait()                       // its own exit status is of no interest
	if err != nil {
		return 0, err
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// probes asks for all probes.
func (c *course) probes(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DialContext: c.dialInside, MaxIdleConnsPerHost: blackboxParallel}}
	defer client.CloseIdleConnections()
	for { // until it listens
		err := get(ctx, client, "/-/healthy", "")
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, blackboxParallel)
	for k := range blackboxParallel {
		wg.Go(func() {
			for i := k; i < blackboxProbes && errs[k] == nil; i += blackboxParallel {
				target := net.JoinHostPort(at(answered, i).String(), text(port))
				errs[k] = get(ctx, client, "/probe?module=tcp_connect&target="+url.QueryEscape(target), "\nprobe_success 1\n")
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dialInside opens the scraper's connections in the client's namespace.
func (c *course) dialInside(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = errors.Join(c.rig.client.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return nil
	}), err)
	return conn, err
}

// get fetches a page that must hold a text.
func get(ctx context.Context, client *http.Client, path, want string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+blackboxAddr+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		return fmt.Errorf("%s answers %s without %q", path, resp.Status, strings.TrimSpace(want))
	}
	return nil
}
