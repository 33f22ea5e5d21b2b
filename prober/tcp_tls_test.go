package prober

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// chain is a self-made authority and a server's certificate of it.
type chain struct {
	ca     *x509.Certificate
	leaf   *x509.Certificate
	server *tls.Config
	roots  *x509.CertPool
}

func certificate(t testing.TB, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return c, key
}

func newChain(t testing.TB) chain {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	ca, caKey := certificate(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, key := certificate(t, &x509.Certificate{SerialNumber: big.NewInt(0x0abc), Subject: pkix.Name{CommonName: "vip.example"},
		DNSNames: []string{"vip.example", "mail.example"}, IPAddresses: []net.IP{net.ParseIP(serverV4)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour)}, ca, caKey)
	c := chain{ca: ca, leaf: leaf, roots: x509.NewCertPool()}
	c.roots.AddCert(ca)
	c.server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: key}}}
	return c
}

// shown is what a round must tell of the chain; verified says that it was checked against its authority.
func (c *chain) shown(verified bool) TCPResult {
	sum := sha256.Sum256(c.leaf.Raw)
	r := TCPResult{TLSVersion: "TLS 1.3", EarliestExpiry: c.ca.NotAfter, Fingerprint: hex.EncodeToString(sum[:]),
		Issuer: "CN=Test CA", Subject: "CN=vip.example", SubjectAltNames: "vip.example,mail.example", Serial: "0abc"}
	if verified {
		r.LastChainExpiry = c.ca.NotAfter
	}
	return r
}

func TestTCPTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	c := newChain(t)
	r.serveTCP(t, 443, func(conn net.Conn) {
		s := tls.Server(conn, c.server)
		fmt.Fprintf(s, "220 hello\n")
		_, _ = io.Copy(io.Discard, s)
	})
	literal := Endpoint{Host: serverV4, Port: 443, Addr: addr(serverV4)}
	named := Endpoint{Host: "vip.example", Port: 443}
	for _, x := range []struct {
		name     string
		ep       Endpoint
		config   *tls.Config
		verified bool
		why      string
	}{
		{"the target's name", named, &tls.Config{RootCAs: c.roots}, true, ""},
		{"the target's address", literal, &tls.Config{RootCAs: c.roots}, true, ""},
		{"the configured name", Endpoint{Host: "other.example", Port: 443}, &tls.Config{RootCAs: c.roots, ServerName: "mail.example"}, true, ""},
		{"unverified", named, &tls.Config{InsecureSkipVerify: true}, false, ""},
		{"another's name", Endpoint{Host: "other.example", Port: 443}, &tls.Config{RootCAs: c.roots}, false, "TLS handshake as other.example: tls: failed to verify certificate"},
		{"unknown authority", named, nil, false, "certificate signed by unknown authority"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			m := Module{TCP: &TCPOptions{TLS: true, TLSConfig: x.config, QueryResponse: []QueryResponse{{Expect: "^220"}}}}
			before := ""
			if x.config != nil {
				before = x.config.ServerName
			}
			round := r.tcpRoundOf(t, r.prober(addr(serverV4)), x.ep, on(serverV4, 443), m)
			if x.config != nil && x.config.ServerName != before {
				t.Errorf("the module's own configuration was changed to %q", x.config.ServerName)
			}
			want := TCPResult{}
			if x.why != "" {
				failed(t, &round, x.why)
			} else {
				succeeded(t, &round)
				want = c.shown(x.verified)
				want.TLSCipher = round.TCP.TLSCipher
				if !strings.HasPrefix(want.TLSCipher, "TLS_") {
					t.Errorf("cipher %q", want.TLSCipher)
				}
			}
			if diff := cmp.Diff(&want, round.TCP); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// smtp is a mail server that knows EHLO and STARTTLS, and sends stray with its consent to TLS, in clear.
func smtp(config *tls.Config, stray string) func(net.Conn) {
	return func(c net.Conn) {
		fmt.Fprint(c, "220 mail.example ESMTP\r\n")
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			switch {
			case err != nil:
				return
			case strings.HasPrefix(line, "EHLO"):
				fmt.Fprint(c, "250-mail.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
			case strings.HasPrefix(line, "STARTTLS"):
				fmt.Fprint(c, "220 go ahead\r\n"+stray)
				s := tls.Server(c, config)
				c, in = s, bufio.NewReader(s)
			case strings.HasPrefix(line, "QUIT"):
				fmt.Fprint(c, "221 bye\r\n")
				return
			}
		}
	}
}

func TestTCPStartTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	c := newChain(t)
	r.serveTCP(t, 25, smtp(c.server, ""))
	r.serveTCP(t, 26, smtp(c.server, "221 said in clear\r\n"))
	m := steps(
		QueryResponse{Expect: `^220 ([^ ]+) ESMTP`, Send: "EHLO prober\r"},
		QueryResponse{Expect: `^250 STARTTLS`, Send: "STARTTLS\r"},
		QueryResponse{Expect: `^220`, StartTLS: true},
		QueryResponse{Send: "QUIT\r"},
		QueryResponse{Expect: `^221 (.*)`, Labels: []QueryLabel{{"farewell", "$1"}}},
	)
	m.TCP.TLSConfig = &tls.Config{RootCAs: c.roots}
	for _, port := range []uint16{25, 26} {
		round := r.tcpRoundOf(t, r.prober(addr(serverV4)), Endpoint{Host: "mail.example", Port: port}, on(serverV4, port), m)
		succeeded(t, &round)
		want := c.shown(true)
		want.TLSCipher, want.ExpectInfo = round.TCP.TLSCipher, map[string]string{"farewell": "bye"}
		if diff := cmp.Diff(&want, round.TCP); diff != "" {
			t.Errorf("port %d (-want +got):\n%s", port, diff)
		}
	}
}

// A peer that accepts and then says nothing holds no TLS handshake past the round's time.
func TestTCPTLSStuck(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	r.serveTCP(t, 443, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	round := r.tcpRound(t, on(serverV4, 443), Module{Timeout: 2 * time.Second, TCP: &TCPOptions{TLS: true}})
	failed(t, &round, "TLS handshake as 10.0.0.2: the time of the round was over")
}

// A chain lasts as long as its first certificate to expire; of several chains the one that lasts longest counts.
func TestChainExpiry(t *testing.T) {
	t.Parallel()
	at := func(hours ...int) (certs []*x509.Certificate) {
		for _, h := range hours {
			certs = append(certs, &x509.Certificate{NotAfter: time.Unix(0, 0).Add(time.Duration(h) * time.Hour)})
		}
		return certs
	}
	for _, c := range []struct {
		name   string
		chains [][]*x509.Certificate
		want   time.Time
	}{
		{"nothing verified", nil, time.Time{}},
		{"the root is first to expire", [][]*x509.Certificate{at(9, 5)}, time.Unix(5*3600, 0)},
		{"cross-signed: the old root is over, the new is not", [][]*x509.Certificate{at(9, 8, 2), at(9, 8, 7)}, time.Unix(7*3600, 0)},
	} {
		if got := lastChain(c.chains); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTCPStartTLSTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	c := newChain(t)
	r.serveTCP(t, 443, func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, tls.Server(conn, c.server))
	})
	m := Module{TCP: &TCPOptions{TLS: true, TLSConfig: &tls.Config{RootCAs: c.roots}, QueryResponse: []QueryResponse{{StartTLS: true}}}}
	round := r.tcpRound(t, on(serverV4, 443), m)
	failed(t, &round, "query_response[0]: starttls: the connection has TLS already")
}
