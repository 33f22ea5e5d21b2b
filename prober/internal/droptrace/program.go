package droptrace

import (
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The key of a flow, 48 octets, as the programs build it on their stack; addresses of IPv4 take the first four of sixteen:
//
//	0 network namespace (u32)  4 reason or class (u32)  8 source[16]  24 destination[16]  40 source port (BE)  42 destination port (BE)
//	44 protocol  45 family (4, 6, 0: unknown)  46 TCP flags  47 nothing
const (
	keySize   = 48
	keyNetns  = 0
	keyReason = 4
	keySrc    = 8
	keyDst    = 24
	keySport  = 40
	keyDport  = 42
	keyProto  = 44
	keyFamily = 45
	keyFlags  = 46
	key       = -keySize // on the stack
	word      = key - 8  // room for one value, or a pointer
	small     = word - 8 // room for another
	header    = small - 48
)

// Where reasons of one table end; what is beyond counts as the last. The core had some 130 in 6.18; those of subsystems begin at 1<<16.
const reasonSlots = 256

// Behind them in the table of totals: one for each class of retransmission, one for neighbours.
const (
	classSlots    = reasonSlots
	neighborSlot  = classSlots + classes
	totalSlots    = neighborSlot + 1
	largestReason = reasonSlots - 1
)

// code is a program while it is assembled.
type code struct {
	asm.Instructions
	l *layout
}

func (c *code) add(in ...asm.Instruction) { c.Instructions = append(c.Instructions, in...) }

// read copies octets of kernel memory at a register plus an offset to the stack. What cannot be read is zero there (bpf_probe_read_kernel).
func (c *code) read(stack int16, size int32, from asm.Register, offset int32) {
	c.add(
		asm.Mov.Reg(asm.R3, from),
		asm.Add.Imm(asm.R3, offset),
		asm.Mov.Imm(asm.R2, size),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(stack)),
		asm.FnProbeReadKernel.Call(),
	)
}

// pointer loads a pointer that lies at a register plus an offset.
func (c *code) pointer(dst, from asm.Register, offset int32) {
	c.read(word, 8, from, offset)
	c.add(asm.LoadMem(dst, asm.RFP, word, asm.DWord))
}

// copyTo copies words of four octets from one place of the stack to another.
func (c *code) copyTo(to, from int16, octets int16) {
	for i := int16(0); i < octets; i += 4 {
		c.add(asm.LoadMem(asm.R1, asm.RFP, from+i, asm.Word), asm.StoreMem(asm.RFP, to+i, asm.R1, asm.Word))
	}
}

// clear empties the key.
func (c *code) clear() {
	c.add(asm.Mov.Imm(asm.R1, 0))
	for i := int16(0); i < keySize; i += 8 {
		c.add(asm.StoreMem(asm.RFP, key+i, asm.R1, asm.DWord))
	}
}

// only ends the program for other network namespaces than one; 0: for none.
func (c *code) only(netns uint32) {
	if netns == 0 {
		return
	}
	c.add(asm.LoadMem(asm.R1, asm.RFP, key+keyNetns, asm.Word),
		asm.Mov.Imm32(asm.R2, int32(netns)), // zero-extended: inode numbers of namespaces have the top bit set
		asm.JNE.Reg(asm.R1, asm.R2, "end"))
}

// count adds one to the key's count in a table.
func (c *code) count(table *ebpf.Map) {
	c.add(
		asm.LoadMapPtr(asm.R1, table.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "new"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Ja.Label("end"),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("new"),
		asm.StoreMem(asm.RFP, word, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, table.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, key),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, word),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	)
}

// total adds one to a total of this processor: that in R8, at most largest, behind the first slots. R8 stays. The program is not entered twice on one
// processor (bpf_prog_enter_recur in kernel/bpf/trampoline.c, 6.18), so that it need not be atomic; what that costs is counted as missed.
func (c *code) total(totals *ebpf.Map, largest, slots int32) {
	c.add(
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.JLT.Imm(asm.R1, largest, "slot"),
		asm.Mov.Imm(asm.R1, largest),
		asm.Add.Imm(asm.R1, slots).WithSymbol("slot"),
		asm.StoreMem(asm.RFP, small, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, totals.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, small),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "counted"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("counted"),
	)
}

// dropProgram counts kfree_skb(skb, location, reason, …) (include/trace/events/skb.h, 6.18) by flow and reason.
func dropProgram(l *layout, flows, totals *ebpf.Map, netns uint32) asm.Instructions {
	c := &code{l: l}
	c.add(asm.LoadMem(asm.R7, asm.R1, 0, asm.DWord)) // skb
	if l.reasonArg {
		c.add(asm.LoadMem(asm.R8, asm.R1, 16, asm.DWord), asm.Mov.Reg32(asm.R8, asm.R8))
	} else {
		c.add(asm.Mov.Imm(asm.R8, 0))
	}
	c.clear()
	c.skbNetns()
	c.only(netns)
	c.add(asm.StoreMem(asm.RFP, key+keyReason, asm.R8, asm.Word))
	c.total(totals, largestReason, 0)
	c.headers()
	c.count(flows)
	return c.Instructions
}

// skbNetns finds the network namespace of the packet in R7: its device's, or its socket's.
func (c *code) skbNetns() {
	l := c.l
	c.pointer(asm.R9, asm.R7, l.skbDev)
	c.add(asm.JEq.Imm(asm.R9, 0, "nodev"))
	c.pointer(asm.R9, asm.R9, l.devNet)
	c.add(asm.Ja.Label("net"))
	first := len(c.Instructions)
	c.pointer(asm.R9, asm.R7, l.skbSock)
	c.Instructions[first] = c.Instructions[first].WithSymbol("nodev")
	c.add(asm.JEq.Imm(asm.R9, 0, "nonet"))
	c.pointer(asm.R9, asm.R9, l.sockNet)
	c.add(asm.JEq.Imm(asm.R9, 0, "nonet").WithSymbol("net"))
	c.read(key+keyNetns, 4, asm.R9, l.netInum)
	c.add(asm.Mov.Imm(asm.R0, 0).WithSymbol("nonet"))
}

// headers reads addresses and ports of the packet in R7 into the key, where it is one of IP with a network header.
func (c *code) headers() {
	l := c.l
	c.read(small, 2, asm.R7, l.skbNetwork)
	c.add(asm.LoadMem(asm.R6, asm.RFP, small, asm.Half))
	c.read(small, 2, asm.R7, l.skbProtocol)
	c.pointer(asm.R9, asm.R7, l.skbHead)
	c.add(asm.Add.Reg(asm.R9, asm.R6))
	c.read(header, 40, asm.R9, 0)
	c.add(
		asm.LoadMem(asm.R6, asm.RFP, small, asm.Half),
		asm.HostTo(asm.BE, asm.R6, asm.Half),
		asm.JEq.Imm(asm.R6, etherIPv6, "ipv6"),
		asm.JNE.Imm(asm.R6, etherIPv4, "flow"),
		// IPv4: version and length in the first octet, protocol at 9, addresses at 12 and 16 (RFC 791 §3.1)
		asm.LoadMem(asm.R1, asm.RFP, header, asm.Byte),
		asm.Mov.Reg(asm.R2, asm.R1), asm.RSh.Imm(asm.R2, 4),
		asm.JNE.Imm(asm.R2, 4, "flow"),
		asm.And.Imm(asm.R1, 15), asm.LSh.Imm(asm.R1, 2),
		asm.Add.Reg(asm.R9, asm.R1),
		asm.StoreImm(asm.RFP, key+keyFamily, 4, asm.Byte),
	)
	c.copyTo(key+keySrc, header+12, 4)
	c.copyTo(key+keyDst, header+16, 4)
	c.add(
		asm.LoadMem(asm.R6, asm.RFP, header+9, asm.Byte),
		asm.Ja.Label("transport"),
		// IPv6: next header at 6, addresses at 8 and 24 (RFC 8200 §3); extension headers are left alone
		asm.LoadMem(asm.R1, asm.RFP, header, asm.Byte).WithSymbol("ipv6"),
		asm.RSh.Imm(asm.R1, 4),
		asm.JNE.Imm(asm.R1, 6, "flow"),
		asm.Add.Imm(asm.R9, 40),
		asm.StoreImm(asm.RFP, key+keyFamily, 6, asm.Byte),
	)
	c.copyTo(key+keySrc, header+8, 16)
	c.copyTo(key+keyDst, header+24, 16)
	c.add(
		asm.LoadMem(asm.R6, asm.RFP, header+6, asm.Byte),
		asm.StoreMem(asm.RFP, key+keyProto, asm.R6, asm.Byte).WithSymbol("transport"),
		asm.JEq.Imm(asm.R6, protoUDP, "ports"),
		asm.JNE.Imm(asm.R6, protoTCP, "flow"),
	)
	c.ports()
}

// ports copies the ports at R9, where the transport header begins, and of TCP (R6) the flags. It ends at "flow".
func (c *code) ports() {
	first := len(c.Instructions)
	c.read(header, 16, asm.R9, 0)
	c.Instructions[first] = c.Instructions[first].WithSymbol("ports")
	c.copyTo(key+keySport, header, 4)
	c.add(
		asm.JNE.Imm(asm.R6, protoTCP, "flow"),
		asm.LoadMem(asm.R1, asm.RFP, header+13, asm.Byte),
		asm.And.Imm(asm.R1, flagsKept),
		asm.StoreMem(asm.RFP, key+keyFlags, asm.R1, asm.Byte),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("flow"),
	)
}

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	protoTCP  = 6
	protoUDP  = 17
	flagsKept = 0x17 // FIN SYN RST ACK (RFC 9293 §3.1); PSH and URG would only make more flows of one
)

// sock reads namespace, addresses and ports of the socket, or request, in R7 into the key: ours as source.
func (c *code) sock(netns uint32) {
	l := c.l
	c.clear()
	c.pointer(asm.R9, asm.R7, l.sockNet)
	c.read(key+keyNetns, 4, asm.R9, l.netInum)
	c.only(netns)
	c.read(small, 2, asm.R7, l.sockPort)
	c.add(asm.LoadMem(asm.R1, asm.RFP, small, asm.Half), asm.HostTo(asm.BE, asm.R1, asm.Half), asm.StoreMem(asm.RFP, key+keySport, asm.R1, asm.Half))
	c.read(key+keyDport, 2, asm.R7, l.sockPeerPort)
	c.add(asm.StoreImm(asm.RFP, key+keyProto, protoTCP, asm.Byte))
	c.read(small, 2, asm.R7, l.sockFamily)
	c.add(asm.LoadMem(asm.R6, asm.RFP, small, asm.Half), asm.JEq.Imm(asm.R6, familyINET6, "six"), asm.StoreImm(asm.RFP, key+keyFamily, 4, asm.Byte))
	c.read(key+keySrc, 4, asm.R7, l.sockAddr)
	c.read(key+keyDst, 4, asm.R7, l.sockPeer)
	c.add(asm.Ja.Label("named"), asm.StoreImm(asm.RFP, key+keyFamily, 6, asm.Byte).WithSymbol("six"))
	c.read(key+keySrc, 16, asm.R7, l.sockAddr6)
	c.read(key+keyDst, 16, asm.R7, l.sockPeer6)
	c.add(asm.Mov.Imm(asm.R0, 0).WithSymbol("named"))
}

const (
	familyINET  = 2
	familyINET6 = 10
	synSent     = 2 // TCP_SYN_SENT, and 3 TCP_SYN_RECV (include/net/tcp_states.h)
	caRecovery  = 3 // TCP_CA_Recovery, and 4 TCP_CA_Loss (include/uapi/linux/tcp.h)
	caLoss      = 4
)

// retransmitProgram counts tcp_retransmit_skb(sk, skb, …) (include/trace/events/tcp.h, 6.18) by connection and class.
func retransmitProgram(l *layout, table, totals *ebpf.Map, netns uint32) asm.Instructions {
	c := &code{l: l}
	c.add(asm.LoadMem(asm.R7, asm.R1, 0, asm.DWord))
	c.sock(netns)
	c.read(small, 1, asm.R7, l.sockState)
	c.add(
		asm.LoadMem(asm.R1, asm.RFP, small, asm.Byte),
		asm.Mov.Imm(asm.R8, int32(ClassSYN)),
		asm.JEq.Imm(asm.R1, synSent, "classed"),
		asm.JEq.Imm(asm.R1, synSent+1, "classed"),
	)
	c.read(small, 1, asm.R7, l.icskState)
	c.add(
		asm.LoadMem(asm.R1, asm.RFP, small, asm.Byte),
		asm.And.Imm(asm.R1, 31), // icsk_ca_state is a field of five bits
		asm.Mov.Imm(asm.R8, int32(ClassRTO)),
		asm.JEq.Imm(asm.R1, caLoss, "classed"),
		asm.Mov.Imm(asm.R8, int32(ClassFast)),
		asm.JEq.Imm(asm.R1, caRecovery, "classed"),
		asm.Mov.Imm(asm.R8, int32(ClassProbe)),
		asm.StoreMem(asm.RFP, key+keyReason, asm.R8, asm.Word).WithSymbol("classed"),
	)
	c.total(totals, classes-1, classSlots)
	c.count(table)
	return c.Instructions
}

// synackProgram counts tcp_retransmit_synack(sk, req): SYN-ACKs that a listener sends again.
func synackProgram(l *layout, table, totals *ebpf.Map, netns uint32) asm.Instructions {
	c := &code{l: l}
	c.add(asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord)) // a request begins with its struct sock_common (include/net/request_sock.h)
	c.sock(netns)
	c.add(asm.Mov.Imm(asm.R8, int32(ClassSYNACK)), asm.StoreMem(asm.RFP, key+keyReason, asm.R8, asm.Word))
	c.total(totals, classes-1, classSlots)
	c.count(table)
	return c.Instructions
}

// neighborProgram counts what becomes of neighbours, by state: the state that an update sets (argument 2), or the entry's own.
// In the key, source is the neighbour's address, destination's first word the device's index.
func neighborProgram(l *layout, table, totals *ebpf.Map, netns uint32, fromArgument bool) asm.Instructions {
	c := &code{l: l}
	c.add(asm.LoadMem(asm.R7, asm.R1, 0, asm.DWord))
	if fromArgument {
		c.add(asm.LoadMem(asm.R8, asm.R1, 16, asm.DWord), asm.And.Imm(asm.R8, math.MaxUint8))
	}
	c.clear()
	c.pointer(asm.R6, asm.R7, l.neighDev)
	c.pointer(asm.R9, asm.R6, l.devNet)
	c.read(key+keyNetns, 4, asm.R9, l.netInum)
	c.only(netns)
	c.read(key+keyDst, 4, asm.R6, l.devIndex)
	if !fromArgument {
		c.read(small, 1, asm.R7, l.neighState)
		c.add(asm.LoadMem(asm.R8, asm.RFP, small, asm.Byte))
	}
	c.add(asm.StoreMem(asm.RFP, key+keyReason, asm.R8, asm.Word))
	c.pointer(asm.R9, asm.R7, l.neighTable)
	c.read(small, 4, asm.R9, l.tableFamily)
	c.add(asm.LoadMem(asm.R6, asm.RFP, small, asm.Word), asm.JEq.Imm(asm.R6, familyINET6, "six"), asm.JNE.Imm(asm.R6, familyINET, "end"),
		asm.StoreImm(asm.RFP, key+keyFamily, 4, asm.Byte))
	c.read(key+keySrc, 4, asm.R7, l.neighKey)
	c.add(asm.Ja.Label("named"), asm.StoreImm(asm.RFP, key+keyFamily, 6, asm.Byte).WithSymbol("six"))
	c.read(key+keySrc, 16, asm.R7, l.neighKey)
	c.add(asm.Mov.Imm(asm.R8, 0).WithSymbol("named"))
	c.total(totals, 0, neighborSlot)
	c.count(table)
	return c.Instructions
}
