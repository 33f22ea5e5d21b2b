package wire_test

import (
	"testing"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// The packet path: what runs once a packet must not allocate, on hostile input neither.
func TestNoAllocationInThePacketPath(t *testing.T) {
	for name, f := range packetPath(t) {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkPacketPath(b *testing.B) {
	for name, f := range packetPath(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// packetPath is every step of it under its name.
func packetPath(t testing.TB) map[string]func() {
	steps := map[string]func(){}
	var s wire.Segment
	var e wire.ICMPError
	var n wire.ND
	buf := make([]byte, 2048)
	for family, syn := range map[string]wire.Segment{"IPv4": syn4(), "IPv6": syn6()} {
		f := syn.Flow()
		tmpl, err := wire.NewTemplate(&syn)
		if err != nil {
			t.Fatal(err)
		}
		raw := encode(t, &syn)
		broken := append([]byte(nil), raw...)
		broken[len(raw)-39] = 99
		data := syn
		data.Payload = make([]byte, 1400)
		rawData := encode(t, &data)
		steps["Parse/"+family] = func() { wire.Parse(raw, &s) }
		steps["Parse1400/"+family] = func() { wire.Parse(rawData, &s) }
		steps["ParseBadOptions/"+family] = func() { wire.Parse(broken, &s) }
		steps["Encode/"+family] = func() { _, _ = syn.Encode(buf) }
		steps["TemplatePut/"+family] = func() { tmpl.Put(buf, f, 1, 1) }
		steps["TemplatePutPort/"+family] = func() { tmpl.PutPort(buf, 1, 1, 1) }
		steps["TemplateSetID/"+family] = func() { tmpl.SetID(buf, 1) }
		steps["AppendText/"+family] = func() { _, _ = syn.AppendText(buf[:0]) }
	}
	four, six := packet(t, "icmp-port-unreachable"), packet(t, "icmpv6-port-unreachable")
	steps["ParseICMP/IPv4"] = func() { wire.ParseICMP(four, &e) }
	steps["ParseICMP/IPv6"] = func() { wire.ParseICMP(six, &e) }
	solicitation, frame := packet(t, "nd-solicitation-multicast"), packet(t, "frame-ethernet-ipv4")
	steps["ParseND"] = func() { wire.ParseND(solicitation, &n) }
	wire.ParseND(solicitation, &n)
	steps["EncodeND"] = func() { _, _ = n.Encode(buf) }
	steps["ParseEthernet"] = func() { _, _, _ = wire.ParseEthernet(frame) }
	header, _, _ := wire.ParseEthernet(frame)
	steps["PutEthernet"] = func() { wire.PutEthernet(buf, &header) }
	return steps
}

func BenchmarkParseLine(b *testing.B) {
	line := segmentLines["synack-ipv4-through-a-router"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
