// Package agent asks another vipprobe, which serves its API elsewhere, to measure from there.
package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
)

// Options are how a vantage is reached.
type Options struct {
	// URL is http(s)://HOST:PORT, with a path where the service has a prefix.
	URL string
	// User and Password authenticate, where User is not empty.
	User     string
	Password prober.Secret
	// CAFile is a PEM file of the authority to trust; empty: the system's.
	CAFile string
}

// Client asks one vantage. It is safe for concurrent use.
type Client struct {
	opts Options
	base *url.URL
	http *http.Client
}

// maxAnswer bounds what a vantage may answer, in octets.
const maxAnswer = 8 << 20

// New checks how a vantage is reached; nothing is sent yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("url %q: %w", o.URL, errors.Unwrap(err))
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("url %q: want http://HOST:PORT or https://HOST:PORT", o.URL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("url of %s: want neither user, query nor fragment in it", u.Host)
	case o.User != "" && u.Scheme == "http" && !local(u.Hostname()):
		return nil, fmt.Errorf("url %q: a password is sent over https only", o.URL)
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s: no certificate in it", o.CAFile)
		}
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{opts: o, base: u, http: &http.Client{Transport: t, CheckRedirect: refuse}}, nil
}

func local(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Validate holds a host against checks from the vantage. An error says that the vantage could not be asked, or would not.
func (c *Client) Validate(ctx context.Context, r *view.ValidationRequest) ([]view.Candidate, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("api/v1/validations").String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base.Host, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.opts.User != "" {
		req.SetBasicAuth(c.opts.User, string(c.opts.Password))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base.Host, errors.Unwrap(err))
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", c.base.Host, err)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("%s answers with more than %d octets", c.base.Host, maxAnswer)
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &BusyError{Host: c.base.Host, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %s", c.base.Host, refusal(resp.Status, text))
	}
	var a view.ValidationAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base.Host, err)
	}
	if len(a.Candidates) == 0 {
		return nil, fmt.Errorf("%s measured nothing", c.base.Host)
	}
	return a.Candidates, nil
}

// BusyError says that a vantage has as much to do as it may.
type BusyError struct {
	Host       string
	RetryAfter time.Duration // 1 s to 30 s
}

func (e *BusyError) Error() string { return e.Host + " has as much to do as it may" }

// retryAfter is the wait that a header asks for, within bounds.
func retryAfter(s string) time.Duration {
	n, err := strconv.Atoi(s)
	if err != nil {
		n = 1
	}
	return time.Duration(min(max(n, 1), 30)) * time.Second
}

// refusal is what a problem says, or the status where the answer is none.
func refusal(status string, text []byte) string {
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message, Location string
		} `json:"errors"`
	}
	if json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return status
	}
	parts := []string{status, p.Detail}
	for _, e := range p.Errors {
		parts = append(parts, strings.TrimSpace(e.Location+" "+e.Message))
	}
	return strings.Join(parts, ": ")
}
