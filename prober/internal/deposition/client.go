// Package deposition asks servers for their own kernel counters over HTTP: another vipprobe that serves its testimony, or a node_exporter. It
// reads and never changes anything; it follows no redirect, so that a token goes to nobody but whom it was meant for, and no error text holds one.
package deposition

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// Path is where a vipprobe serves its testimony.
const Path = "/api/v1/testimony"

// Credentials say who asks. The zero value is nobody.
type Credentials struct {
	User   string // with it Secret is a password of HTTP basic authentication; else a bearer token
	Secret string
	CAFile string // PEM, of the authority that signed the server's certificate; empty: the system's
}

// Client asks one server. It is for one goroutine at a time.
type Client struct {
	url    *url.URL
	cred   Credentials
	http   *http.Client
	source string
	keep   []string // names of counters
	ports  []uint16
}

// ParseURL reads where a server's testimony is: a URL whose path ends in /metrics is a node_exporter's, another one without a path, or HOST:PORT
// alone, a vipprobe's. Credentials in the URL are refused: they would be seen in process lists and logs.
func ParseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL and no HOST:PORT")
	case u.User != nil:
		return nil, errors.New("it holds credentials, which others can see; give a file with them")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("it names no host")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it has a query or a fragment; only a host and a path are wanted")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = Path
	}
	return u, nil
}

// New makes a client that asks for counters by name and for the listeners of ports. Errors: of the URL, or the CA file.
func New(where string, c Credentials, keep []string, ports []uint16) (*Client, error) {
	u, err := ParseURL(where)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{MaxIdleConnsPerHost: 1, ResponseHeaderTimeout: 5 * time.Second, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: false}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the authority's certificate: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", c.CAFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	k := &Client{url: u, cred: c, keep: slices.Clone(keep), ports: ports, source: observe.SourceVipprobe}
	if strings.HasSuffix(u.Path, "/metrics") {
		k.source = observe.SourceNodeExporter
	}
	k.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return k, nil
}

// Source is the kind of the endpoint, as in observe.Witness.
func (k *Client) Source() string { return k.source }

// Close ends idle connections.
func (k *Client) Close() { k.http.CloseIdleConnections() }

// Answer is one reading.
type Answer struct {
	observe.Statement
	Kernel   string
	Settings map[string]string
	Missing  []string
}

// RefusedError is an answer that asking again will not change.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return e.Why }

// maxBody bounds an answer, octets.
const maxBody = 16 << 20

// Ask takes one reading; settings asks for the sysctls as well. Errors: *RefusedError, or that nothing could be read this time.
func (k *Client) Ask(ctx context.Context, settings bool) (Answer, error) {
	u := *k.url
	if k.source == observe.SourceVipprobe {
		q := url.Values{}
		for _, p := range k.ports {
			q.Add("port", strconv.Itoa(int(p)))
		}
		q.Set("settings", strconv.FormatBool(settings))
		u.RawQuery = q.Encode()
	}
	asked := time.Now().Round(0)
	body, err := k.fetch(ctx, &u)
	if err != nil {
		return Answer{}, err
	}
	answered := time.Now().Round(0)
	read := readDocument
	if k.source == observe.SourceNodeExporter {
		read = readExposition
	}
	a, err := read(body)
	if err != nil {
		return a, fmt.Errorf("read the answer of %s: %w", k.url.Redacted(), err)
	}
	a.Asked, a.Answered = asked, answered
	k.sift(a.Counters)
	return a, nil
}

// sift drops the counters that nobody asked for.
func (k *Client) sift(counters map[string]int64) {
	for name := range counters {
		if !slices.Contains(k.keep, name) {
			delete(counters, name)
		}
	}
}

func (k *Client) fetch(ctx context.Context, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", k.url.Redacted(), err)
	}
	switch {
	case k.cred.User != "":
		req.SetBasicAuth(k.cred.User, k.cred.Secret)
	case k.cred.Secret != "":
		req.Header.Set("Authorization", "Bearer "+k.cred.Secret)
	}
	resp, err := k.http.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err // the place is said already
		}
		return nil, fmt.Errorf("ask %s: %w", k.url.Redacted(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
		return nil, k.refusal(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", k.url.Redacted(), err)
	case len(body) > maxBody:
		return nil, &RefusedError{fmt.Sprintf("%s answers with more than %d octets", k.url.Redacted(), maxBody)}
	}
	return body, nil
}

// refusal says what a status means here; those that may pass are no *RefusedError.
func (k *Client) refusal(status int) error {
	where := k.url.Redacted()
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &RefusedError{fmt.Sprintf("%s refuses the credentials, or wants some (HTTP %d)", where, status)}
	case status == http.StatusNotFound:
		return &RefusedError{where + " has no testimony: it is off there, or the path is another"}
	case status >= 300 && status < 400:
		return &RefusedError{fmt.Sprintf("%s sends elsewhere (HTTP %d), which is not followed; name the place itself", where, status)}
	}
	return fmt.Errorf("ask %s: HTTP %d", where, status)
}
