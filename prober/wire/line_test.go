package wire_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func ExampleSegment_String() {
	s := syn4()
	s.Checksum = wire.ChecksumGood
	fmt.Println(&s)
	s = syn6()
	s.Checksum = wire.ChecksumGood
	s.Flags, s.Ack, s.HopLimit = wire.SYN|wire.ACK, 42, 57
	fmt.Println(&s)
	// Output:
	// 192.0.2.1:40000 > 192.0.2.2:80: S 100:100(0) win 64240 <mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7> id 7
	// [2001:db8::1]:40000 > [2001:db8::2]:80: S. 100:100(0) ack 42 win 64240 <mss 1440,sackOK,TS val 1000 ecr 0,nop,wscale 7> ttl 57 label 0x12345
}

func ExampleParseLine() {
	s, err := wire.ParseLine("192.0.2.1:40000 > 192.0.2.2:80: S 100:100(0) win 64240 <mss 1460,sackOK>")
	fmt.Println(s.Flags, s.Seq, s.Window, s.Options.Len(), err)
	_, err = wire.ParseLine("192.0.2.1:40000 > 192.0.2.2:80: S 100:101(0) win 64240")
	fmt.Println(err)
	// Output:
	// S 100 64240 6 <nil>
	// segment line, column 35: "100:101(0)": 100 + 0 octets end at 100, not 101
}

// Every field but the payload's content survives the line form, sound options or not.
func TestLineRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := segment(t)
		want.DF = rapid.Bool().Draw(t, "df")
		want.Checksum = wire.Checksum(rapid.IntRange(0, 3).Draw(t, "checksum"))
		want.Length = rapid.IntRange(0, 0xffff).Draw(t, "length")
		want.Payload = nil
		if rapid.Bool().Draw(t, "hostile options") {
			want.Options, _ = wire.ParseOptions(rapid.SliceOfN(
				rapid.OneOf(rapid.Byte(), rapid.ByteRange(0, 10)), 0, 40).Draw(t, "octets"))
		}
		got, err := wire.ParseLine(want.String())
		if err != nil {
			t.Fatalf("%s: %v", &want, err)
		}
		if diff := cmp.Diff(want, got, byValue()...); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", &want, diff)
		}
	})
}

// A segment that was built, with Payload and without Length, shows the payload's length.
func TestLineOfABuiltSegment(t *testing.T) {
	s := syn4()
	s.Payload, s.Checksum = make([]byte, 5), wire.ChecksumGood
	got, err := wire.ParseLine(s.String())
	if err != nil || got.Length != 5 {
		t.Errorf("%s: length %d, %v", &s, got.Length, err)
	}
}

func TestOptionForms(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"what a Linux SYN has", []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 100, 0, 0, 0, 0, 1, 3, 3, 7},
			"mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7"},
		{"two SACK blocks", []byte{1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9, 255, 255, 255, 255}, "nop,nop,sack 1:2 9:4294967295"},
		{"an experiment", []byte{253, 4, 0x0a, 0x0b}, "opt-253 0a0b"},
		{"Fast Open asks for a cookie", []byte{34, 2}, "opt-34"},
		{"MSS of another length", []byte{2, 3, 5}, "opt-2 05"},
		{"padding", []byte{3, 3, 7, 0}, "wscale 7,eol"},
		{"more padding", []byte{4, 2, 0, 0}, "sackOK,eol,eol"},
		{"something hidden behind the end", []byte{0, 0, 7}, "eol,raw 0007"},
		{"a length that does not fit", []byte{1, 8, 10, 0}, "nop,raw 080a00"},
		{"a length of 0", []byte{8, 0}, "raw 0800"},
		{"no length", []byte{8}, "raw 08"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := wire.ParseOptions(c.raw)
			if diff := cmp.Diff(c.want, o.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			s, err := wire.ParseLine("192.0.2.1:1 > 192.0.2.2:2: none 0:0(0) win 0 <" + c.want + ">")
			if err != nil || s.Options != o {
				t.Errorf("read back as %x, %v", s.Options.Bytes(), err)
			}
		})
	}
}

func TestParseLineNamesThePlace(t *testing.T) {
	const head = "192.0.2.1:1 > 192.0.2.2:2: " // 27 columns
	for _, c := range []struct {
		name   string
		line   string
		column int
		token  string
	}{
		{"empty", "", 1, ""},
		{"no port", "192.0.2.1 > 192.0.2.2:2: S 0:0(0) win 1", 1, "192.0.2.1"},
		{"IPv6 without brackets", "2001:db8::1:80 > [::2]:2: S 0:0(0) win 1", 1, "2001:db8::1:80"},
		{"no arrow", "192.0.2.1:1 - 192.0.2.2:2: S 0:0(0) win 1", 13, "-"},
		{"no colon", "192.0.2.1:1 > 192.0.2.2:2 S 0:0(0) win 1", 15, "192.0.2.2:2"},
		{"two families", "192.0.2.1:1 > [::2]:2: S 0:0(0) win 1", 15, "[::2]:2:"},
		{"no flags", head, 28, ""},
		{"unknown flag", head + "SX 0:0(0) win 1", 28, "SX"},
		{"flag twice", head + "SS 0:0(0) win 1", 28, "SS"},
		{"no length", head + "S 0:0 win 1", 30, "0:0"},
		{"something after the length", head + "S 0:0(0)x win 1", 30, "0:0(0)x"},
		{"33 bits", head + "S 4294967296:0(0) win 1", 30, "4294967296:0(0)"},
		{"end that does not fit", head + "S 0:5(4) win 1", 30, "0:5(4)"},
		{"length over 65,535", head + "S 0:65536(65536) win 1", 30, "0:65536(65536)"},
		{"signed", head + "S +1:1(0) win 1", 30, "+1:1(0)"},
		{"no window", head + "S 0:0(0)", 36, ""},
		{"window without a number", head + "S 0:0(0) win", 40, ""},
		{"window too big", head + "S 0:0(0) win 65536", 41, "65536"},
		{"dot without ack", head + ". 0:0(0) win 1", 42, ""},
		{"field twice", head + "S 0:0(0) win 1 win 1", 43, "win"},
		{"unknown field", head + "S 0:0(0) wni 1", 37, "wni"},
		{"label of 21 bits", head + "S 0:0(0) win 1 label 0x100000", 49, "0x100000"},
		{"unknown checksum", head + "S 0:0(0) win 1 cksum odd", 49, "odd"},
		{"open option list", head + "S 0:0(0) win 1 <nop", 43, "<nop"},
		{"empty option list", head + "S 0:0(0) win 1 <>", 44, ","},
		{"unknown option", head + "S 0:0(0) win 1 <nop, mms 5>", 49, "mms 5"},
		{"MSS without a number", head + "S 0:0(0) win 1 <mss>", 44, "mss"},
		{"NOP in the long form", head + "S 0:0(0) win 1 <opt-1>", 44, "opt-1"},
		{"odd digits", head + "S 0:0(0) win 1 <opt-9 0>", 44, "opt-9 0"},
		{"half a SACK block", head + "S 0:0(0) win 1 <sack 5>", 44, "sack 5"},
		{"41 octets", head + "S 0:0(0) win 1 <TS val 1 ecr 1,TS val 1 ecr 1,TS val 1 ecr 1,TS val 1 ecr 1,nop>", 104, "nop"},
		{"one option of 41 octets", head + "S 0:0(0) win 1 <opt-9 " + fmt.Sprintf("%078d", 0) + ">", 44,
			"opt-9 " + fmt.Sprintf("%078d", 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := wire.ParseLine(c.line)
			var e *wire.LineError
			if !errors.As(err, &e) {
				t.Fatalf("%v", err)
			}
			if e.Column != c.column || e.Token != c.token {
				t.Errorf("%v; want column %d, %q", err, c.column, c.token)
			}
		})
	}
}

func TestParseLineTakesFieldsInAnyOrder(t *testing.T) {
	a, err := wire.ParseLine("192.0.2.1:1 > 192.0.2.2:2: S. 0:0(0) ack 5 win 1 <nop,nop> ttl 9 tos 0x2e id 16 nodf cksum bad")
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.ParseLine("192.0.2.1:1   > 192.0.2.2:2: .S 0x0:0(0) cksum bad nodf id 0x10 tos 46 ttl 9 < nop , nop > win 1 ack 5 ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b, byValue()...); diff != "" {
		t.Error(diff)
	}
}
