package prober

import (
	"net/netip"
	"strconv"
	"strings"
)

// Endpoint is a target as asked for: a name or an address literal, and a port.
type Endpoint struct {
	Host string
	Port uint16
	// Addr is valid for a literal.
	Addr netip.Addr
}

// ParseEndpoint reads HOST:PORT, ADDR:PORT or [ADDR]:PORT. Port 0 and names with characters that no host name has are errors.
func ParseEndpoint(s string) (Endpoint, error) {
	bad := func(why string) (Endpoint, error) { return Endpoint{}, &TargetError{Target: s, Why: why} }
	if s == "" {
		return bad("empty")
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return bad("no port")
	}
	host, portText := s[:i], s[i+1:]
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return bad("port " + strconv.Quote(portText) + " is not 1 to 65535")
	}
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	if bracketed {
		host = host[1 : len(host)-1]
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() == bracketed {
		return Endpoint{Host: host, Port: uint16(port), Addr: addr.Unmap()}, nil
	}
	if bracketed {
		return bad("what is in brackets is no IPv6 address")
	}
	if why := badHostname(host); why != "" {
		return bad(why)
	}
	return Endpoint{Host: host, Port: uint16(port)}, nil
}

func badHostname(h string) string {
	switch {
	case h == "":
		return "no host"
	case len(h) > 253:
		return "host name longer than 253 octets"
	case strings.Contains(h, ":"):
		return "an IPv6 address needs brackets"
	}
	for _, r := range h {
		ok := r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127
		if !ok {
			return "host name holds " + strconv.QuoteRune(r)
		}
	}
	return ""
}

// String is the target's spelling.
func (e Endpoint) String() string {
	if strings.Contains(e.Host, ":") {
		return "[" + e.Host + "]:" + strconv.Itoa(int(e.Port))
	}
	return e.Host + ":" + strconv.Itoa(int(e.Port))
}
