package wire_test

import (
	"net/netip"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// byValue lets cmp compare the values of this package that are compared with ==.
func byValue() []cmp.Option {
	return []cmp.Option{
		cmp.Comparer(func(a, b wire.Options) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
}

func addr4(t *rapid.T, label string) netip.Addr {
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)))
}

func addr6(t *rapid.T, label string) netip.Addr {
	return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label)))
}

// flow draws two endpoints of one family.
func flow(t *rapid.T, v6 bool) wire.Flow {
	draw := addr4
	if v6 {
		draw = addr6
	}
	return wire.Flow{
		Src: netip.AddrPortFrom(draw(t, "src"), rapid.Uint16().Draw(t, "sport")),
		Dst: netip.AddrPortFrom(draw(t, "dst"), rapid.Uint16().Draw(t, "dport")),
	}
}

// options draws a sound option list, at any alignment, unknown kinds included.
func options(t *rapid.T) wire.Options {
	var o wire.Options
	for range rapid.IntRange(0, 12).Draw(t, "options") {
		kind := rapid.SampledFrom([]wire.OptionKind{1, 1, 2, 3, 4, 5, 8, 19, 34, 253, 254}).Draw(t, "kind")
		size := map[wire.OptionKind]int{2: 2, 3: 1, 5: 8, 8: 8, 19: 16}[kind]
		if kind >= 34 {
			size = rapid.IntRange(0, 16).Draw(t, "size")
		}
		if o.Len()+2+size > 40 {
			break
		}
		o.Append(kind, rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "data")...)
	}
	return o
}

// segment draws a segment as one is built: everything set, Length that of the payload.
func segment(t *rapid.T) wire.Segment {
	v6 := rapid.Bool().Draw(t, "v6")
	f := flow(t, v6)
	s := wire.Segment{
		Src: f.Src, Dst: f.Dst,
		Seq:      wire.Seq(rapid.Uint32().Draw(t, "seq")),
		Ack:      wire.Seq(rapid.Uint32().Draw(t, "ack")),
		Window:   rapid.Uint16().Draw(t, "window"),
		Urgent:   rapid.Uint16().Draw(t, "urgent"),
		Flags:    wire.Flags(rapid.Uint16Range(0, 1<<9-1).Draw(t, "flags")),
		HopLimit: rapid.Byte().Draw(t, "hop limit"),
		ToS:      rapid.Byte().Draw(t, "tos"),
		DF:       v6 || rapid.Bool().Draw(t, "df"),
		Options:  options(t),
		Payload:  rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "payload"),
		Checksum: wire.ChecksumGood,
	}
	s.Length = len(s.Payload)
	if v6 {
		s.FlowLabel = rapid.Uint32Range(0, 1<<20-1).Draw(t, "label")
	} else {
		s.ID = rapid.Uint16().Draw(t, "id")
	}
	return s
}

// addrPort is a with another port.
func addrPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

// padded is o with the End octets that fill the last word of the TCP header, as it is read back from the wire.
func padded(o wire.Options) wire.Options {
	for o.Len()%4 != 0 {
		o.Append(wire.OptEnd)
	}
	return o
}

// encode is s on the wire.
func encode(t rapid.TB, s *wire.Segment) []byte {
	b := make([]byte, s.Size())
	if _, err := s.Encode(b); err != nil {
		t.Fatal(err)
	}
	return b
}
