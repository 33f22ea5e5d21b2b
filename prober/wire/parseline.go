package wire

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// LineError says what ParseLine could not read, and where.
type LineError struct {
	Column int    // of Token's first octet, from 1
	Token  string // empty: the end of the line
	Why    string
}

func (e *LineError) Error() string {
	if e.Token == "" {
		return fmt.Sprintf("segment line, column %d: end of line: %s", e.Column, e.Why)
	}
	return fmt.Sprintf("segment line, column %d: %q: %s", e.Column, e.Token, e.Why)
}

// ParseLine reads the one-line form of a segment, whose grammar stands at the head of line.go. Errors are of type
// *LineError.
func ParseLine(line string) (Segment, error) {
	p := lineParser{line: line}
	s := Segment{HopLimit: lineTTL, DF: true, Checksum: ChecksumGood}
	p.endpoints(&s)
	p.flags(&s)
	p.sequence(&s)
	for p.err == nil && p.next() {
		p.field(&s)
	}
	if p.err == nil && !p.seen("win") {
		p.fail("want win")
	}
	if p.err == nil && s.Flags.Has(ACK) && !p.seen("ack") {
		p.fail("flag . without ack")
	}
	if p.err != nil {
		return Segment{}, p.err
	}
	return s, nil
}

// lineParser walks the words of a line. After the first error every method does nothing.
type lineParser struct {
	line   string
	at     int    // octets of line already taken
	token  string // the current word; empty at the end
	start  int    // where it begins
	fields []string
	err    error
}

// fail records the first error, at the current word.
func (p *lineParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = &LineError{p.start + 1, p.token, fmt.Sprintf(format, args...)}
	}
}

// next takes the next word; an option list is one word. It returns false at the end of the line.
func (p *lineParser) next() bool {
	if p.err != nil {
		return false
	}
	for p.at < len(p.line) && p.line[p.at] == ' ' {
		p.at++
	}
	p.start = p.at
	end := len(p.line)
	stop := byte(' ')
	if strings.HasPrefix(p.line[p.at:], "<") {
		stop = '>'
	}
	if i := strings.IndexByte(p.line[p.at:], stop); i >= 0 {
		end = p.at + i
		if stop == '>' {
			end++
		}
	}
	p.token, p.at = p.line[p.start:end], end
	return p.token != ""
}

func (p *lineParser) endpoints(s *Segment) {
	p.next()
	s.Src = p.addrPort(p.token)
	p.next()
	if p.token != ">" {
		p.fail("want > between source and destination")
	}
	p.next()
	dst, ok := strings.CutSuffix(p.token, ":")
	if !ok {
		p.fail("want the destination and a colon")
	}
	s.Dst = p.addrPort(dst)
	if p.err == nil && s.Src.Addr().Is4() != s.Dst.Addr().Is4() {
		p.fail("%v", ErrAddresses)
	}
}

func (p *lineParser) addrPort(text string) netip.AddrPort {
	if p.err != nil {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		p.fail("want address:port, IPv6 in brackets")
	}
	return a
}

func (p *lineParser) flags(s *Segment) {
	p.next()
	if p.err != nil || p.token == "none" {
		return
	}
	if p.token == "" {
		p.fail("want flags")
	}
	for i := range len(p.token) {
		bit := flagOf(p.token[i])
		if bit == 0 {
			p.fail("no flag is written %q: want none, or letters of FSRP.UEWe", p.token[i:i+1])
		}
		if s.Flags&bit != 0 {
			p.fail("flag %s twice", bit)
		}
		s.Flags |= bit
	}
}

func flagOf(letter byte) Flags {
	for _, l := range flagLetters {
		if l.letter == letter {
			return l.bit
		}
	}
	return 0
}

// maxLength is the longest payload length that an IP header can state (RFC 791 §3.1, RFC 8200 §3).
const maxLength = 0xffff

func (p *lineParser) sequence(s *Segment) {
	p.next()
	if p.err != nil {
		return
	}
	first, rest, ok1 := strings.Cut(p.token, ":")
	end, rest, ok2 := strings.Cut(rest, "(")
	length, rest, ok3 := strings.Cut(rest, ")")
	if !ok1 || !ok2 || !ok3 || rest != "" {
		p.fail("want sequence numbers as first:end(length)")
		return
	}
	s.Seq = Seq(p.number("first sequence number", first, 1<<32-1))
	last := Seq(p.number("end sequence number", end, 1<<32-1))
	s.Length = int(p.number("length", length, maxLength))
	if want := s.Seq.Add(s.Length); p.err == nil && last != want {
		p.fail("%d + %d octets end at %d, not %d", s.Seq, s.Length, want, last)
	}
}

// number reads a decimal number, or a hexadecimal one after 0x, of at most limit.
func (p *lineParser) number(name, text string, limit uint64) uint64 {
	if p.err != nil {
		return 0
	}
	digits, base := text, 10
	if h, ok := strings.CutPrefix(text, "0x"); ok {
		digits, base = h, 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || n > limit {
		p.fail("%s: want a number of 0 … %d", name, limit)
		return 0
	}
	return n
}

// value takes the next word as the number of a field.
func (p *lineParser) value(limit uint64) uint64 {
	name := p.token
	p.next()
	return p.number(name, p.token, limit)
}

func (p *lineParser) seen(name string) bool {
	return slices.Contains(p.fields, name)
}

// field reads the field that the current word begins.
func (p *lineParser) field(s *Segment) {
	name := p.token
	if strings.HasPrefix(name, "<") {
		name = "<"
	}
	if p.seen(name) {
		p.fail("stands twice")
		return
	}
	p.fields = append(p.fields, name)
	switch name {
	case "ack":
		s.Ack = Seq(p.value(1<<32 - 1))
	case "win":
		s.Window = uint16(p.value(1<<16 - 1))
	case "urg":
		s.Urgent = uint16(p.value(1<<16 - 1))
	case "ttl":
		s.HopLimit = uint8(p.value(1<<8 - 1))
	case "tos":
		s.ToS = uint8(p.value(1<<8 - 1))
	case "id":
		s.ID = uint16(p.value(1<<16 - 1))
	case "label":
		s.FlowLabel = uint32(p.value(1<<20 - 1))
	case "nodf":
		s.DF = false
	case "cksum":
		p.next()
		s.Checksum = p.checksum()
	case "<":
		p.options(&s.Options)
	default:
		p.fail("no such field: want ack, win, urg, <options>, ttl, tos, id, label, nodf or cksum")
	}
}

func (p *lineParser) checksum() Checksum {
	for _, c := range []Checksum{ChecksumUnknown, ChecksumGood, ChecksumPartial, ChecksumBad} {
		if p.token == c.String() {
			return c
		}
	}
	p.fail("want cksum good, bad, partial or unknown")
	return ChecksumUnknown
}
