package prober

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// secure turns the connection to TLS and notes what the peer showed.
func (d *dialogue) secure(ctx context.Context) error {
	if _, already := d.conn.(*tls.Conn); already {
		return errors.New("starttls: the connection has TLS already")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12} // the default of crypto/tls for clients
	if d.tls != nil {
		config = d.tls.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = d.host
	}
	c := tls.Client(d.conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake as %s: %w", config.ServerName, unhidden(ctx, err))
	}
	state := c.ConnectionState()
	d.out.secured(&state)
	d.over(c)
	return nil
}

// secured fills in what a handshake showed, each value as blackbox_exporter spells it.
func (t *TCPResult) secured(s *tls.ConnectionState) {
	t.TLSVersion, t.TLSCipher = tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite)
	t.EarliestExpiry, t.LastChainExpiry = earliest(s.PeerCertificates), lastChain(s.VerifiedChains)
	if len(s.PeerCertificates) == 0 {
		return
	}
	leaf := s.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	t.Fingerprint = hex.EncodeToString(sum[:])
	t.Issuer, t.Subject = leaf.Issuer.String(), leaf.Subject.String()
	t.SubjectAltNames = strings.Join(leaf.DNSNames, ",")
	t.Serial = hex.EncodeToString(leaf.SerialNumber.Bytes())
}

// earliest is when the first of the certificates expires; zero without any.
func earliest(certs []*x509.Certificate) time.Time {
	var first time.Time
	for _, c := range certs {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// lastChain is when the last of the verified chains ceases to be valid, each with the first of its certificates; zero where nothing was
// verified.
func lastChain(chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, c := range chains {
		if e := earliest(c); e.After(last) {
			last = e
		}
	}
	return last
}
