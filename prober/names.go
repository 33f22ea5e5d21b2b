package prober

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// Names are targets resolved once, so that what is permitted and what is probed cannot differ.
type Names struct {
	known map[string][]netip.Addr
	allow []netip.Addr
}

// NewNames reads targets and resolves their names. A target that cannot be read is an error; a name that does not resolve, or
// resolves to an address of special meaning, is left for the probe to report.
func NewNames(ctx context.Context, targets []string) (*Names, error) {
	n := &Names{known: map[string][]netip.Addr{}}
	for _, t := range targets {
		ep, err := ParseEndpoint(t)
		if err != nil {
			return nil, err
		}
		if ep.Addr.IsValid() {
			n.allow = append(n.allow, ep.Addr)
			continue
		}
		addrs, err := lookup(ctx, ep.Host)
		if err != nil {
			continue
		}
		n.known[ep.Host] = addrs
		for _, a := range addrs {
			if special(a.Unmap()) == "" {
				n.allow = append(n.allow, a)
			}
		}
	}
	return n, nil
}

// Allow permits exactly what was named.
func (n *Names) Allow() Allow { return AllowAddrs(n.allow...) }

// Lookup answers from what was resolved, and asks the system's resolver for other names.
func (n *Names) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addrs, ok := n.known[host]; ok {
		return append([]netip.Addr(nil), addrs...), nil
	}
	addrs, err := lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("look up: %w", err)
	}
	return addrs, nil
}

// distinct returns addresses in their order, each once and IPv4 as such: a hosts file may have one twice.
func distinct(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// choose returns those of a name's addresses that the module probes.
func (m *Module) choose(addrs []netip.Addr) []netip.Addr {
	if m.IPProtocol != "" {
		var preferred []netip.Addr
		for _, a := range addrs {
			if a.Is4() == (m.IPProtocol == "ip4") {
				preferred = append(preferred, a)
			}
		}
		if len(preferred) > 0 || !m.IPFallback {
			addrs = preferred
		}
	}
	one := m.Addresses == OneAddress || m.Addresses == "" && m.IPProtocol != ""
	if one && len(addrs) > 1 {
		return addrs[:1]
	}
	return addrs
}
