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
	cpu, err := c.exporter(ctx, path, func(ctx context.Context, get getter) error {
		return together(blackboxParallel, blackboxProbes, func(i int) error {
			target := net.JoinHostPort(at(answered, i).String(), text(port))
			_, err := get(ctx, "/probe?module=tcp_connect&target="+url.QueryEscape(target), "\nprobe_success 1\n")
			return err
		})
	})
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

// getter fetches a page of the exporter's, which must hold a text.
type getter func(ctx context.Context, path, want string) (string, error)

// exporter starts the exporter, has it asked, ends it and returns its CPU time.
func (c *course) exporter(ctx context.Context, path string, ask func(ctx context.Context, get getter) error) (time.Duration, error) {
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
	err := c.asked(ctx, ask)
	_ = cmd.Process.Signal(os.Interrupt) // it may have ended
	_ = cmd.Wait()                       // its own exit status is of no interest
	if err != nil {
		return 0, err
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// asked waits until the exporter listens and has it asked.
func (c *course) asked(ctx context.Context, ask func(ctx context.Context, get getter) error) error {
	client := &http.Client{Transport: &http.Transport{DialContext: c.dialInside, MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	fetch := func(ctx context.Context, path, want string) (string, error) { return get(ctx, client, path, want) }
	for {
		_, err := fetch(ctx, "/-/healthy", "")
		if err == nil {
			return ask(ctx, fetch)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
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
func get(ctx context.Context, client *http.Client, path, want string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+blackboxAddr+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		return "", fmt.Errorf("%s answers %s without %q", path, resp.Status, strings.TrimSpace(want))
	}
	return string(body), nil
}
