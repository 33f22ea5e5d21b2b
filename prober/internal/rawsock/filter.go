package rawsock

import (
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
)

// Ports is a range of reserved source ports, both ends included.
type Ports struct{ Lo, Hi uint16 }

// Contains reports whether p lies in the range.
func (r Ports) Contains(p uint16) bool { return r.Lo <= p && p <= r.Hi }

// maxRanges bounds the filter: every range costs four instructions of the one tail that all packets of ours run through.
const maxRanges = 4

// netOffset is SKF_NET_OFF (include/uapi/linux/filter.h, 6.18): absolute and indexed loads from it on count from the network
// header, wherever the link type puts that.
const netOffset = 0xfff00000 // −0x100000

// Protocol numbers of the filter: EtherTypes of IEEE 802, protocols of IANA.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protoICMP   = 1
	protoTCP    = 6
	protoICMPv6 = 58
)

// filter describes what a tap accepts. Everything else is refused in the kernel, before it costs a ring slot.
type filter struct {
	ports    []Ports
	neighbor bool   // also ARP and neighbour solicitations and advertisements
	snapLen  uint32 // octets kept of an accepted frame, counted from its link header
}

// assemble returns the filter for the kernel.
func (f filter) assemble() ([]bpf.RawInstruction, error) {
	ins, err := f.instructions(netOffset, bpf.LoadExtension{Num: bpf.ExtProto})
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(ins)
}

// instructions writes the filter for network headers at offset net and the EtherType read by proto; the kernel's own values are
// netOffset and SKF_AD_PROTOCOL. Accepted are
//
//   - TCP over IPv4 (no fragment but the first; header length respected) or directly over IPv6, a port of ours at either end;
//   - ICMP errors (RFC 792, RFC 4443 §3) that quote such a segment;
//   - ICMP echo (RFC 792, RFC 4443 §4) whose identifier or sequence number, read as a port, is ours: the engine takes its identifiers
//     from the range, and what others send is mostly passed over;
//   - with neighbor: ARP, and ICMPv6 135 and 136 (RFC 4861 §4.3, §4.4).
//
// IPv6 extension headers are not walked: our own packets carry none and RFC 8200 hosts add none to TCP. A tagged frame whose tag
// the kernel has not taken off (software VLAN on the underlying device, outgoing) counts as its tag protocol and is refused;
// it was seen on the VLAN device already.
func (f filter) instructions(net uint32, proto bpf.Instruction) ([]bpf.Instruction, error) {
	if len(f.ports) == 0 || len(f.ports) > maxRanges {
		return nil, fmt.Errorf("capture filter: %d port ranges, want 1 to %d", len(f.ports), maxRanges)
	}
	for _, r := range f.ports {
		if r.Lo == 0 || r.Lo > r.Hi {
			return nil, fmt.Errorf("capture filter: port range %d-%d is empty or holds port 0", r.Lo, r.Hi)
		}
	}
	var p program
	p.do(proto)
	p.when(bpf.JumpEqual, etherIPv4, "ip4")
	p.when(bpf.JumpEqual, etherIPv6, "ip6")
	if f.neighbor {
		p.when(bpf.JumpEqual, etherARP, "accept")
	}
	p.always("refuse")
	ip4(&p, net)
	ip6(&p, net, f.neighbor)

	p.label("ports") // X: octets from the network header to the TCP header
	for _, off := range []uint32{0, 2} {
		p.do(bpf.LoadIndirect{Off: net + off, Size: 2})
		for _, r := range f.ports {
			p.unless(bpf.JumpGreaterOrEqual, uint32(r.Lo), "")
			p.when(bpf.JumpLessOrEqual, uint32(r.Hi), "accept")
		}
	}
	p.label("refuse")
	p.do(bpf.RetConstant{Val: 0})
	p.label("accept")
	p.do(bpf.RetConstant{Val: f.snapLen})
	return p.resolve()
}

func ip4(p *program, net uint32) {
	p.label("ip4")
	p.do(bpf.LoadAbsolute{Off: net + 6, Size: 2}) // RFC 791 §3.1: flags and fragment offset
	p.when(bpf.JumpBitsSet, 0x1fff, "refuse")
	headerLength(p, bpf.LoadAbsolute{Off: net, Size: 1})
	p.do(bpf.TAX{})
	p.do(bpf.LoadAbsolute{Off: net + 9, Size: 1})
	p.when(bpf.JumpEqual, protoTCP, "ports")
	p.when(bpf.JumpNotEqual, protoICMP, "refuse")

	p.do(bpf.LoadIndirect{Off: net, Size: 1})
	for _, typ := range []uint32{3, 4, 5, 11, 12} { // RFC 792: the types that quote a datagram
		p.when(bpf.JumpEqual, typ, "quoted4")
	}
	p.when(bpf.JumpEqual, 0, "echo4")
	p.when(bpf.JumpNotEqual, 8, "refuse")
	p.label("echo4") // identifier and sequence number stand 4 octets into the message, as ports stand at a TCP header's start
	p.do(bpf.TXA{})
	p.do(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 4})
	p.do(bpf.TAX{})
	p.always("ports")
	p.label("quoted4") // the quoted header begins 8 octets into the ICMP message
	p.do(bpf.LoadIndirect{Off: net + 8 + 6, Size: 2})
	p.when(bpf.JumpBitsSet, 0x1fff, "refuse")
	p.do(bpf.LoadIndirect{Off: net + 8 + 9, Size: 1})
	p.when(bpf.JumpNotEqual, protoTCP, "refuse")
	headerLength(p, bpf.LoadIndirect{Off: net + 8, Size: 1})
	p.do(bpf.ALUOpX{Op: bpf.ALUOpAdd})
	p.do(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 8})
	p.do(bpf.TAX{})
	p.always("ports")
}

// headerLength leaves in A the IPv4 header length in octets, refusing less than the 20 that RFC 791 §3.1 demands.
func headerLength(p *program, first bpf.Instruction) {
	p.do(first)
	p.do(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0f})
	p.do(bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2})
	p.when(bpf.JumpLessThan, 20, "refuse")
}

func ip6(p *program, net uint32, neighbor bool) {
	p.label("ip6")
	p.do(bpf.LoadConstant{Dst: bpf.RegX, Val: 40})
	p.do(bpf.LoadAbsolute{Off: net + 6, Size: 1}) // RFC 8200 §3: next header
	p.when(bpf.JumpEqual, protoTCP, "ports")
	p.when(bpf.JumpNotEqual, protoICMPv6, "refuse")

	p.do(bpf.LoadAbsolute{Off: net + 40, Size: 1})
	if neighbor {
		p.when(bpf.JumpEqual, 135, "accept")
		p.when(bpf.JumpEqual, 136, "accept")
	}
	p.do(bpf.LoadConstant{Dst: bpf.RegX, Val: 44})
	p.when(bpf.JumpEqual, 128, "ports")
	p.when(bpf.JumpEqual, 129, "ports")
	p.unless(bpf.JumpGreaterOrEqual, 1, "refuse") // RFC 4443 §3.1–3.4: types 1 to 4
	p.when(bpf.JumpGreaterThan, 4, "refuse")
	p.do(bpf.LoadAbsolute{Off: net + 48 + 6, Size: 1})
	p.when(bpf.JumpNotEqual, protoTCP, "refuse")
	p.do(bpf.LoadConstant{Dst: bpf.RegX, Val: 48 + 40})
	p.always("ports")
}

// program is a BPF program with names for its jump targets.
type program struct {
	lines  []line
	labels map[string]int
}

// line is an instruction, or a conditional jump to a label (then for true, or else for false), or an unconditional one.
type line struct {
	ins  bpf.Instruction
	test bpf.JumpTest
	val  uint32
	jump jump
	to   string
}

type jump uint8

const (
	noJump jump = iota
	jumpAlways
	jumpWhen
	jumpUnless
)

func (p *program) do(ins bpf.Instruction) { p.lines = append(p.lines, line{ins: ins}) }
func (p *program) always(to string)       { p.lines = append(p.lines, line{jump: jumpAlways, to: to}) }

func (p *program) when(test bpf.JumpTest, val uint32, to string) {
	p.lines = append(p.lines, line{jump: jumpWhen, test: test, val: val, to: to})
}

// unless jumps when the test fails; an empty label means over the next line.
func (p *program) unless(test bpf.JumpTest, val uint32, to string) {
	p.lines = append(p.lines, line{jump: jumpUnless, test: test, val: val, to: to})
}

func (p *program) label(name string) {
	if p.labels == nil {
		p.labels = map[string]int{}
	}
	p.labels[name] = len(p.lines)
}

var errJump = errors.New("capture filter: jump out of reach")

// resolve turns labels into skip counts; a conditional jump reaches 255 lines forward (struct sock_filter: 8 bits).
func (p *program) resolve() ([]bpf.Instruction, error) {
	out := make([]bpf.Instruction, len(p.lines))
	for i, l := range p.lines {
		if l.jump == noJump {
			out[i] = l.ins
			continue
		}
		skip := 1
		if l.to != "" {
			at, ok := p.labels[l.to]
			skip = at - i - 1
			if !ok || skip < 0 || skip > 255 {
				return nil, fmt.Errorf("%w: line %d to %q", errJump, i, l.to)
			}
		}
		switch l.jump {
		case jumpWhen:
			out[i] = bpf.JumpIf{Cond: l.test, Val: l.val, SkipTrue: uint8(skip)}
		case jumpUnless:
			out[i] = bpf.JumpIf{Cond: l.test, Val: l.val, SkipFalse: uint8(skip)}
		default:
			out[i] = bpf.Jump{Skip: uint32(skip)}
		}
	}
	return out, nil
}
