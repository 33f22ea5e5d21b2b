package targets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober"
)

// Scope is one entry of what a sweep goes to: the addresses of a prefix, or of a name, at some ports.
type Scope struct {
	Text   string
	Prefix netip.Prefix // of one address or more; invalid where Host is a name
	Host   string
	Ports  []uint16
}

// ScopeError says what in the spelling of a scope cannot be read.
type ScopeError struct {
	Text string
	At   int // characters before what is wrong
	Why  string
	// Clear says that Why needs no example of how it should be.
	Clear bool
}

func (e *ScopeError) Error() string {
	if e.Clear {
		return fmt.Sprintf("%q: %s", e.Text, e.Why)
	}
	return fmt.Sprintf("%q: %s; want ADDR:PORT, PREFIX:PORT,PORT… or [IPV6-PREFIX]:PORT, as in 192.0.2.0/24:443", e.Text, e.Why)
}

func badScope(text string, at int, why string) error {
	return &ScopeError{Text: text, At: at, Why: why}
}

// ParseScope reads ADDR:PORTS, PREFIX:PORTS, NAME:PORTS, IPv6 in brackets; PORTS are numbers with commas between. Without them the ports are
// those given, and brackets are not needed. Errors are *ScopeError.
func ParseScope(text string, ports []uint16) (Scope, error) {
	host, list, at, err := splitScope(text)
	if err != nil {
		return Scope{}, err
	}
	s := Scope{Text: text, Ports: ports}
	if at > 0 {
		if s.Ports, err = parsePorts(text, list, at); err != nil {
			return Scope{}, err
		}
	}
	if len(s.Ports) == 0 {
		return Scope{}, badScope(text, utf8.RuneCountInString(text), "no port")
	}
	offset := strings.Index(text, host)
	switch {
	case strings.Contains(host, "/"):
		allow, err := prober.ParseAllow([]string{host})
		if err != nil {
			return Scope{}, &ScopeError{Text: text, At: offset, Why: innermost(err).Error(), Clear: true}
		}
		s.Prefix = netip.MustParsePrefix(asPrefix(allow.Entries()[0]))
		return s, nil
	case strings.Contains(host, ":"):
		a, err := netip.ParseAddr(host)
		if err != nil {
			return Scope{}, badScope(text, offset, "no IPv6 address")
		}
		s.Prefix = single(a)
		return s, nil
	case strings.Trim(host, "0123456789.") == "" && !netip4(host):
		return Scope{}, badScope(text, offset, "no IPv4 address")
	}
	ep, err := prober.ParseEndpoint(host + ":1")
	if err != nil {
		why := err
		if bad, ok := errors.AsType[*prober.TargetError](err); ok {
			why = errors.New(bad.Why)
		}
		return Scope{}, badScope(text, offset, why.Error())
	}
	if s.Host = ep.Host; ep.Addr.IsValid() {
		s.Host, s.Prefix = "", single(ep.Addr)
	}
	return s, nil
}

func netip4(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is4()
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// asPrefix gives an address the length of one.
func asPrefix(entry string) string {
	if strings.Contains(entry, "/") {
		return entry
	}
	return single(netip.MustParseAddr(entry)).String()
}

// splitScope finds the host and the ports, which begin at character at; 0: there are none.
func splitScope(text string) (host, ports string, at int, err error) {
	colon := strings.LastIndexByte(text, ':')
	switch {
	case text == "":
		return "", "", 0, badScope(text, 0, "empty")
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		switch rest := text[end+1:]; {
		case end < 0:
			return "", "", 0, badScope(text, 0, "no ] for the [")
		case rest == "":
			colon = -1
		case rest[0] != ':':
			return "", "", 0, badScope(text, utf8.RuneCountInString(text[:end+1]), "want : and ports behind ]")
		}
		host = text[1:end]
		if !strings.Contains(host, ":") {
			return "", "", 0, badScope(text, 1, "what is in brackets is no IPv6 address or prefix")
		}
		if colon < 0 {
			return host, "", 0, nil
		}
	case colon < 0:
		return text, "", 0, nil
	case strings.IndexByte(text, ':') < colon: // IPv6 without brackets, and so without ports
		bare, _, _ := strings.Cut(text, "/")
		if _, err := netip.ParseAddr(bare); err != nil {
			return "", "", 0, badScope(text, 0, "an IPv6 address or prefix needs brackets")
		}
		return text, "", 0, nil
	default:
		host = text[:colon]
	}
	return host, text[colon+1:], utf8.RuneCountInString(text[:colon+1]), nil
}

// ParsePorts reads numbers with commas between.
func ParsePorts(text string) ([]uint16, error) { return parsePorts(text, text, 0) }

func parsePorts(text, list string, at int) ([]uint16, error) {
	var out []uint16
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(word, 10, 16)
		switch {
		case err != nil || n == 0:
			return nil, badScope(text, at, "port "+strconv.Quote(word)+" is not 1 to 65535")
		case slices.Contains(out, uint16(n)):
			return nil, badScope(text, at, "port "+word+" is there twice")
		}
		out = append(out, uint16(n))
		at += utf8.RuneCountInString(word) + 1
	}
	return out, nil
}

// ReadScopes reads scopes from a file, some on a line, with # before a remark. Its errors are Errors, by line and column.
func ReadScopes(name string, r io.Reader, ports []uint16) ([]Scope, error) {
	var out []Scope
	err := readWords(name, r, func(word string) error {
		s, err := ParseScope(word, ports)
		out = append(out, s)
		return err
	})
	return out, err
}

// ReadPrefixes reads addresses and prefixes as ReadScopes does.
func ReadPrefixes(name string, r io.Reader) ([]netip.Prefix, error) {
	var out []netip.Prefix
	err := readWords(name, r, func(word string) error {
		p, err := ParsePrefix(word)
		out = append(out, p)
		return err
	})
	return out, err
}

// ParsePrefix reads an address, or a prefix below whose length no bit is set.
func ParsePrefix(text string) (netip.Prefix, error) {
	allow, err := prober.ParseAllow([]string{text})
	if err != nil {
		return netip.Prefix{}, innermost(err)
	}
	return netip.MustParsePrefix(asPrefix(allow.Entries()[0])), nil
}

// maxLine bounds a line of a file with targets, octets.
const maxLine = 1 << 20

// readWords hands on each word of a file.
func readWords(name string, r io.Reader, take func(word string) error) error {
	var errs Errors
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for n = 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if !utf8.ValidString(line) {
			errs = append(errs, &Error{File: name, Line: n, Column: 1, Message: "this is no text in UTF-8"})
			break
		}
		for at, word := range words(line) {
			err := take(word)
			if bad, ok := errors.AsType[*ScopeError](err); ok {
				at += bad.At
			}
			if err != nil {
				errs = append(errs, &Error{File: name, Line: n, Column: at + 1, Message: err.Error()})
			}
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("a line of more than %d octets; want targets with white space between, in lines", maxLine)
	}
	if err != nil {
		errs = append(errs, &Error{File: name, Line: n, Column: 1, Message: err.Error()})
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// words are what stands between white space, with the number of characters before it.
func words(line string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		at := 0
		for word := range strings.SplitSeq(strings.Map(blank, line), " ") {
			if word != "" && !yield(at, word) {
				return
			}
			at += utf8.RuneCountInString(word) + 1
		}
	}
}

// blank makes a space of other white space.
func blank(r rune) rune {
	if r == '\t' || r == '\r' || r == '\v' || r == '\f' {
		return ' '
	}
	return r
}

// Size is how many targets the scopes have at the most, each address of a prefix counted; math.MaxInt64 where that is more.
func Size(scopes []Scope) int64 {
	var sum float64
	for _, s := range scopes {
		n := 1.0
		if s.Prefix.IsValid() {
			n = math.Pow(2, float64(s.Prefix.Addr().BitLen()-s.Prefix.Bits()))
		}
		sum += n * float64(len(s.Ports))
	}
	if sum >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(sum)
}

// All is every target of the scopes but for excluded ones, each once: port by port, the addresses of a prefix in order. Names are left out.
func All(scopes []Scope, exclude []netip.Prefix) iter.Seq[netip.AddrPort] {
	return func(yield func(netip.AddrPort) bool) {
		before := covered{ones: map[netip.AddrPort]bool{}}
		for _, s := range scopes {
			for x := range s.all() {
				if !before.has(x) && !excluded(exclude, x.Addr()) && !yield(x) {
					return
				}
			}
			before.add(s)
		}
	}
}

func (s *Scope) all() iter.Seq[netip.AddrPort] {
	return func(yield func(netip.AddrPort) bool) {
		for _, port := range s.Ports {
			for a := s.Prefix.Addr(); s.Prefix.Contains(a); a = a.Next() {
				if !yield(netip.AddrPortFrom(a, port)) {
					return
				}
			}
		}
	}
}

func excluded(exclude []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(exclude, func(p netip.Prefix) bool { return p.Contains(a) })
}

// covered is what scopes hold.
type covered struct {
	ones map[netip.AddrPort]bool
	wide []Scope // of more than one address
}

func (c *covered) add(s Scope) {
	switch {
	case s.Prefix.IsSingleIP():
		for x := range s.all() {
			c.ones[x] = true
		}
	case s.Prefix.IsValid():
		c.wide = append(c.wide, s)
	}
}

func (c *covered) has(x netip.AddrPort) bool {
	return c.ones[x] || slices.ContainsFunc(c.wide, func(s Scope) bool { return s.Prefix.Contains(x.Addr()) && slices.Contains(s.Ports, x.Port()) })
}
