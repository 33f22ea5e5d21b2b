package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober"
)

// TCP is what a tcp module found beyond the handshake.
type TCP struct {
	FailedDueToRegex bool              `json:"failed_due_to_regex"`
	ExpectInfo       map[string]string `json:"expect_info,omitempty"`
	TLS              *TLS              `json:"tls,omitempty"`
}

// TLS is what the peer's TLS showed.
type TLS struct {
	Version         string     `json:"version"`
	Cipher          string     `json:"cipher,omitempty"`
	EarliestExpiry  *time.Time `json:"earliest_expiry,omitempty"`
	LastChainExpiry *time.Time `json:"last_chain_expiry,omitempty"`
	Fingerprint     string     `json:"fingerprint_sha256,omitempty"`
	Subject         string     `json:"subject,omitempty"`
	Issuer          string     `json:"issuer,omitempty"`
	SubjectAltNames string     `json:"subject_alt_names,omitempty"`
	Serial          string     `json:"serial,omitempty"`
}

func newTCP(t *prober.TCPResult) *TCP {
	if t == nil {
		return nil
	}
	out := &TCP{FailedDueToRegex: t.FailedDueToRegex, ExpectInfo: t.ExpectInfo}
	if t.TLSVersion != "" {
		out.TLS = &TLS{
			Version: t.TLSVersion, Cipher: t.TLSCipher, EarliestExpiry: when(t.EarliestExpiry), LastChainExpiry: when(t.LastChainExpiry),
			Fingerprint: t.Fingerprint, Subject: t.Subject, Issuer: t.Issuer, SubjectAltNames: t.SubjectAltNames, Serial: t.Serial,
		}
	}
	return out
}
