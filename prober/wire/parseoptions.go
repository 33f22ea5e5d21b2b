package wire

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// options reads the option list that is the current word, brackets included, into o as it stands: a line may describe a
// list that no sender should send.
func (p *lineParser) options(o *Options) {
	list, ok := strings.CutSuffix(strings.TrimPrefix(p.token, "<"), ">")
	if !ok {
		p.fail("option list without >")
		return
	}
	at := p.start + 1
	for item := range strings.SplitSeq(list, ",") {
		p.start, p.token = at+len(item)-len(strings.TrimLeft(item, " ")), strings.TrimSpace(item)
		at += len(item) + 1
		p.option(o)
	}
}

// option appends the option that is the current word.
func (p *lineParser) option(o *Options) {
	words := strings.Fields(p.token)
	if len(words) == 0 {
		p.token = ","
		p.fail("empty option")
		return
	}
	var octets [maxOptions]byte
	b, known := p.plain(octets[:0], words)
	if !known {
		b = p.listed(b, words)
	}
	if p.err == nil && int(o.n)+len(b) > maxOptions {
		p.fail("the option list passes 40 octets here")
	}
	if p.err == nil {
		o.n += uint8(copy(o.raw[o.n:], b))
	}
}

// plain reads the options of fixed form.
func (p *lineParser) plain(b []byte, words []string) ([]byte, bool) {
	switch name := words[0]; {
	case name == "eol" && len(words) == 1:
		b = append(b, byte(OptEnd))
	case name == "nop" && len(words) == 1:
		b = append(b, byte(OptNOP))
	case name == "sackOK" && len(words) == 1:
		b = append(b, byte(OptSACKPermitted), 2)
	case name == "mss" && len(words) == 2:
		b = append(b, byte(OptMSS), 4)
		b = binary.BigEndian.AppendUint16(b, uint16(p.number("mss", words[1], 1<<16-1)))
	case name == "wscale" && len(words) == 2:
		b = append(b, byte(OptWindowScale), 3, byte(p.number("wscale", words[1], 1<<8-1)))
	case name == "TS" && len(words) == 5 && words[1] == "val" && words[3] == "ecr":
		b = append(b, byte(OptTimestamps), 10)
		b = binary.BigEndian.AppendUint32(b, uint32(p.number("TS val", words[2], 1<<32-1)))
		b = binary.BigEndian.AppendUint32(b, uint32(p.number("TS ecr", words[4], 1<<32-1)))
	default:
		return b, false
	}
	return b, true
}

// listed reads the options whose length is their writer's.
func (p *lineParser) listed(b []byte, words []string) []byte {
	switch name := words[0]; {
	case name == "sack" && len(words) > 1:
		return p.sack(b, words[1:])
	case strings.HasPrefix(name, "opt-") && len(words) <= 2:
		return p.unnamed(b, words)
	case name == "raw" && len(words) == 2:
		return p.hex(b, words[1])
	}
	p.fail("no such option: want eol, nop, mss N, wscale N, sackOK, sack N:N …, TS val N ecr N, opt-KIND HEX or raw HEX")
	return b
}

func (p *lineParser) sack(b []byte, blocks []string) []byte {
	b = append(b, byte(OptSACK), byte(2+8*len(blocks)))
	for _, block := range blocks {
		left, right, ok := strings.Cut(block, ":")
		if !ok {
			p.fail("sack block %q: want left:right", block)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(p.number("sack", left, 1<<32-1)))
		b = binary.BigEndian.AppendUint32(b, uint32(p.number("sack", right, 1<<32-1)))
	}
	return b
}

func (p *lineParser) unnamed(b []byte, words []string) []byte {
	kind := p.number("option kind", strings.TrimPrefix(words[0], "opt-"), 1<<8-1)
	if kind <= uint64(OptNOP) {
		p.fail("eol and nop have no length octet: want opt-2 … opt-255")
	}
	b = append(b, byte(kind), 2)
	if len(words) > 1 {
		b = p.hex(b, words[1])
		b[1] = byte(min(len(b), 255))
	}
	return b
}

func (p *lineParser) hex(b []byte, digits string) []byte {
	out, err := hex.AppendDecode(b, []byte(digits))
	if err != nil || digits == "" {
		p.fail("want pairs of hexadecimal digits")
		return b
	}
	return out
}
