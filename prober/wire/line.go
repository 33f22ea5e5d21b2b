package wire

import (
	"encoding/hex"
	"strconv"
)

// The one-line form, for scripts, dumps and errors alike, after tcpdump and packetdrill:
//
//	192.0.2.1:40000 > 192.0.2.2:80: S 100:100(0) win 64240 <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>
//	[2001:db8::1]:40000 > [2001:db8::2]:80: P. 1:19(18) ack 501 win 63 <nop,nop,TS val 7 ecr 9> ttl 63 label 0x6dd41
//
// The grammar; words are separated by spaces, fields after the sequence numbers stand in any order, each at most once:
//
//	line    = addrport " > " addrport ": " flags " " seq ":" end "(" length ")" { " " field }
//	flags   = "none" | letters of F S R P . U E W e        "." is ACK, E ECE, W CWR, e AE
//	end     = seq + length modulo 2³²; SYN and FIN are not counted, as in tcpdump
//	field   = "ack" n                  always where "." is set, else where it is not 0
//	        | "win" n                  always; unscaled
//	        | "urg" n                  urgent pointer, where it is not 0
//	        | "<" option { "," option } ">"    in wire order; nothing where there are none
//	        | "ttl" n                  TTL or hop limit, where it is not 64
//	        | "tos" 0xn                ToS or traffic class, where it is not 0
//	        | "id" n                   IPv4 identification, where it is not 0
//	        | "label" 0xn              IPv6 flow label, where it is not 0
//	        | "nodf"                   don't-fragment is not set
//	        | "cksum" ("bad" | "partial" | "unknown")   where the TCP checksum is not good
//	option  = "eol" | "nop" | "mss" n | "wscale" n | "sackOK" | "sack" { " " n ":" n } | "TS val" n "ecr" n
//	        | "opt-" kind [" " hex]    any other option, or one of these with another length
//	        | "raw " hex               octets that are no option: after eol, or a list that cannot be read on
//
// Numbers are decimal, or hexadecimal after 0x. What the text leaves out is payload content alone: a parsed Segment has
// Length without Payload.

// String is the one-line form that ParseLine reads.
func (s *Segment) String() string {
	b, _ := s.AppendText(make([]byte, 0, 192))
	return string(b)
}

// AppendText appends the one-line form to b. The error is always nil (the method is an encoding.TextAppender).
func (s *Segment) AppendText(b []byte) ([]byte, error) {
	b = s.Src.AppendTo(b)
	b = append(b, " > "...)
	b = s.Dst.AppendTo(b)
	b = append(b, ": "...)
	b = s.Flags.append(b)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(s.Seq), 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(s.Seq.Add(s.length())), 10)
	b = append(b, '(')
	b = strconv.AppendUint(b, uint64(s.length()), 10)
	b = append(b, ')')
	if s.Flags.Has(ACK) || s.Ack != 0 {
		b = appendField(b, " ack ", uint64(s.Ack), 10)
	}
	b = appendField(b, " win ", uint64(s.Window), 10)
	if s.Urgent != 0 {
		b = appendField(b, " urg ", uint64(s.Urgent), 10)
	}
	if s.Options.n > 0 {
		b = append(b, " <"...)
		b = s.Options.append(b)
		b = append(b, '>')
	}
	return s.appendIP(b), nil
}

// lineTTL is the hop limit that the line form leaves out: Linux's default (include/uapi/linux/ip.h IPDEFTTL, 6.18).
const lineTTL = 64

func (s *Segment) appendIP(b []byte) []byte {
	if s.HopLimit != lineTTL {
		b = appendField(b, " ttl ", uint64(s.HopLimit), 10)
	}
	if s.ToS != 0 {
		b = appendField(b, " tos 0x", uint64(s.ToS), 16)
	}
	if s.ID != 0 {
		b = appendField(b, " id ", uint64(s.ID), 10)
	}
	if s.FlowLabel != 0 {
		b = appendField(b, " label 0x", uint64(s.FlowLabel), 16)
	}
	if !s.DF {
		b = append(b, " nodf"...)
	}
	if s.Checksum != ChecksumGood {
		b = append(b, " cksum "...)
		b = append(b, s.Checksum.String()...)
	}
	return b
}

func appendField(b []byte, name string, n uint64, base int) []byte {
	return strconv.AppendUint(append(b, name...), n, base)
}

func (g Flags) append(b []byte) []byte {
	n := len(b)
	for _, l := range flagLetters {
		if g&l.bit != 0 {
			b = append(b, l.letter)
		}
	}
	if len(b) == n {
		b = append(b, "none"...)
	}
	return b
}

// String is the list as it stands between the angle brackets of the one-line form: "mss 1460,sackOK,nop,wscale 7".
func (o *Options) String() string { return string(o.append(nil)) }

func (o *Options) append(b []byte) []byte {
	for i := 0; i < int(o.n); {
		if i > 0 {
			b = append(b, ',')
		}
		kind, size := o.at(i)
		if size == 0 {
			return appendRaw(b, o.raw[i:o.n])
		}
		b = appendOption(b, kind, o.raw[i:i+size])
		i += size
		if kind == OptEnd {
			return appendTail(b, o.raw[i:o.n])
		}
	}
	return b
}

func appendRaw(b, octets []byte) []byte {
	return hex.AppendEncode(append(b, "raw "...), octets)
}

// appendTail writes what follows an End option: one more eol for each octet of the usual padding, else the octets.
func appendTail(b, tail []byte) []byte {
	for _, o := range tail {
		if o != 0 {
			return appendRaw(append(b, ','), tail)
		}
	}
	for range tail {
		b = append(b, ",eol"...)
	}
	return b
}

// appendOption writes one option, given with its kind and length octets.
func appendOption(b []byte, kind OptionKind, opt []byte) []byte {
	if !sized(kind, len(opt)) {
		return appendUnnamed(b, kind, opt)
	}
	switch kind {
	case OptEnd:
		return append(b, "eol"...)
	case OptNOP:
		return append(b, "nop"...)
	case OptMSS:
		return appendField(b, "mss ", be(opt[2:4]), 10)
	case OptWindowScale:
		return appendField(b, "wscale ", be(opt[2:3]), 10)
	case OptSACKPermitted:
		return append(b, "sackOK"...)
	case OptSACK:
		b = append(b, "sack"...)
		for i := 2; i < len(opt); i += 8 {
			b = appendField(b, " ", be(opt[i:i+4]), 10)
			b = appendField(b, ":", be(opt[i+4:i+8]), 10)
		}
		return b
	case OptTimestamps:
		b = appendField(b, "TS val ", be(opt[2:6]), 10)
		return appendField(b, " ecr ", be(opt[6:10]), 10)
	default:
		return appendUnnamed(b, kind, opt)
	}
}

func appendUnnamed(b []byte, kind OptionKind, opt []byte) []byte {
	b = appendField(b, "opt-", uint64(kind), 10)
	if len(opt) > 2 {
		b = hex.AppendEncode(append(b, ' '), opt[2:])
	}
	return b
}

// be is the big-endian number in b.
func be(b []byte) (n uint64) {
	for _, o := range b {
		n = n<<8 | uint64(o)
	}
	return n
}
