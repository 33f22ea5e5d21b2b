package wire_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func seedPackets(f *testing.F, prefixes ...string) {
	for _, name := range packets(f, prefixes...) {
		f.Add(packet(f, name))
	}
}

// mended is b with the IPv4 header and ICMP checksums finished, where there is room for them: else nearly every mutation ends
// at a checksum and the fuzzer sees nothing behind it.
func mended(b []byte) []byte {
	b = append([]byte(nil), b...)
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[0]&15 >= 5 && len(b) >= int(b[0]&15)*4:
		rechecked(b)
		head, end := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if b[9] == 1 && end >= head+4 && end <= len(b) {
			b[head+2], b[head+3] = 0, 0
			binary.BigEndian.PutUint16(b[head+2:], ^onesSum(b[head:end]))
		}
	case len(b) >= 44 && b[0]>>4 == 6 && b[6] == 58:
		if end := 40 + int(binary.BigEndian.Uint16(b[4:])); end >= 44 && end <= len(b) {
			resummed(b[:end])
		}
	}
	return b
}

// Parse never panics; what it takes can be shown, read back, and encoded to a packet that it takes for the same.
func FuzzParse(f *testing.F) {
	seedPackets(f, "syn", "rst", "data", "fin", "icmp")
	six := syn6()
	f.Add(ext6(encode(f, &six), 0, make([]byte, 8)...))
	f.Add(ext6(encode(f, &six), 44, 0, 0, 0, 8, 0, 0, 0, 0))
	f.Add(ext6(encode(f, &six), 43, 0, 0, 2, 1, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s wire.Segment
		wire.Parse(b, &s)
		r := wire.Parse(mended(b), &s)
		if r != wire.ReasonNone && r != wire.ReasonOptions {
			return
		}
		if s.Length < len(s.Payload) || s.Options.Len()%4 != 0 {
			t.Fatalf("%s: %d octets of payload, %d of options", &s, len(s.Payload), s.Options.Len())
		}
		back, err := wire.ParseLine(s.String())
		if err != nil {
			t.Fatalf("%s: %v", &s, err)
		}
		back.Payload = s.Payload
		if diff := cmp.Diff(s, back, byValue()...); diff != "" {
			t.Fatal(diff)
		}
		if s.Size() > 0xffff { // an IPv6 packet of 65,536 … 65,575 octets
			return
		}
		var again wire.Segment
		if r2 := wire.Parse(encode(t, &s), &again); r2 != r {
			t.Fatalf("%s: encoded and parsed again: %s", &s, r2)
		}
		s.Length, s.Checksum = len(s.Payload), wire.ChecksumGood
		if len(s.Payload) == 0 {
			s.Payload, again.Payload = nil, nil
		}
		if diff := cmp.Diff(s, again, byValue()...); diff != "" {
			t.Fatalf("(-parsed +encoded and parsed again):\n%s", diff)
		}
	})
}

// ParseICMP never panics; what it takes has a name, and its quote's family is the message's.
func FuzzParseICMP(f *testing.F) {
	seedPackets(f, "icmp", "nd", "syn-ipv4-veth")
	four, six := syn4(), syn6()
	f.Add(icmp4(3, 4, 1400, encode(f, &four)[:28]))
	f.Add(icmp4(5, 1, 0, encode(f, &four)[:24]))
	f.Add(icmp6(4, 0, 6, ext6(encode(f, &six), 60, make([]byte, 8)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e wire.ICMPError
		wire.ParseICMP(b, &e)
		if wire.ParseICMP(mended(b), &e) != wire.ReasonNone {
			return
		}
		if e.Name() == "" || e.V6 != e.Quoted.Src.Addr().Is6() || e.V6 != e.From.Is6() || !e.HasSeq && e.QuotedSeq != 0 {
			t.Fatalf("%+v", e)
		}
		if e.Checksum != wire.ChecksumGood && e.Checksum != wire.ChecksumUnknown {
			t.Fatalf("%+v", e)
		}
	})
}

// ParseLine never panics; what it takes, it writes in a form that reads back to the same.
func FuzzParseLine(f *testing.F) {
	for _, line := range segmentLines {
		f.Add(line)
	}
	f.Add("192.0.2.1:1 > 192.0.2.2:2: none 0:0(0) win 0 <opt-253 0a0b,sack 1:2 3:4,eol,raw 0007> nodf cksum bad urg 3")
	f.Add("[fe80::1%eth0]:1 > [::ffff:192.0.2.1]:2: FSRP.UEWe 4294967295:4(5) ack 0 win 0x10")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := wire.ParseLine(line)
		if err != nil {
			return
		}
		back, err := wire.ParseLine(s.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", line, s.String(), err)
		}
		if diff := cmp.Diff(s, back, byValue()...); diff != "" {
			t.Fatal(diff)
		}
	})
}

// No option list panics an accessor, sound or not, and every list survives its text.
func FuzzOptions(f *testing.F) {
	linux := wire.LinuxSYN(1460, 1, 7)
	f.Add(linux.Bytes())
	f.Add([]byte{5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0})
	f.Add([]byte{1, 8, 10, 0})
	f.Add([]byte{0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := wire.ParseOptions(b)
		if !bytes.Equal(o.Bytes(), b[:min(len(b), 40)]) {
			t.Fatalf("%x became %x", b, o.Bytes())
		}
		o.MSS()
		o.WindowScale()
		o.SACKPermitted()
		val, ecr, ok := o.Timestamps()
		written := o
		if written.SetTimestamps(val, ecr) != ok || written != o {
			t.Fatalf("%x became %x by writing its own timestamps", o.Bytes(), written.Bytes())
		}
		n := 0
		for opt := range o.All() {
			n += 1 + len(opt.Data)
		}
		if n > o.Len() {
			t.Fatalf("%x: %d octets of options", b, n)
		}
		s, lineErr := wire.ParseLine("192.0.2.1:1 > 192.0.2.2:2: none 0:0(0) win 0 <" + o.String() + ">")
		if o.Len() > 0 && (lineErr != nil || s.Options != o) {
			t.Fatalf("%x as <%s> became %x, %v", o.Bytes(), &o, s.Options.Bytes(), lineErr)
		}
		if again, err2 := wire.ParseOptions(o.Bytes()); again != o || len(b) <= 40 && (err2 == nil) != (err == nil) {
			t.Fatalf("%x: %v, then %v", b, err, err2)
		}
	})
}

// ParseND never panics; what it takes encodes to a message that it takes for the same.
func FuzzND(f *testing.F) {
	seedPackets(f, "nd", "icmpv6-port")
	f.Fuzz(func(t *testing.T, b []byte) {
		var n, again wire.ND
		wire.ParseND(b, &n)
		if wire.ParseND(mended(b), &n) != wire.ReasonNone {
			return
		}
		if r := wire.ParseND(encodeND(t, &n), &again); r != wire.ReasonNone || again != n {
			t.Fatalf("%+v became %+v: %s", n, again, r)
		}
	})
}

// ParseEthernet never panics; what it takes, PutEthernet writes back octet for octet.
func FuzzEthernet(f *testing.F) {
	seedPackets(f, "frame")
	f.Add([]byte("\x01\x80\xc2\x00\x00\x00\x02\x00\x00\x00\x0a\x01\x00\x26\x42\x42\x03"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x0a\x01\x88\xa8\x00\x64\x81\x00\x60\x2a\x08\x06x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, r := wire.ParseEthernet(b)
		if r != wire.ReasonNone {
			return
		}
		out := make([]byte, e.Size())
		if n := wire.PutEthernet(out, &e); n != len(out) || !bytes.Equal(append(out, rest...), b) {
			t.Fatalf("%x became %x", b, append(out, rest...))
		}
	})
}
