package wire_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// packet reads testdata/packets/NAME.hex: IP packets captured from Linux 6.18 in network namespaces, link header removed.
func packet(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "packets", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// packets lists the names in testdata/packets that begin with one of the prefixes.
func packets(t testing.TB, prefixes ...string) []string {
	t.Helper()
	var names []string
	for _, p := range prefixes {
		files, err := filepath.Glob(filepath.Join("testdata", "packets", p+"*.hex"))
		if err != nil || len(files) == 0 {
			t.Fatalf("packets %s*: %d files, %v", p, len(files), err)
		}
		for _, f := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".hex"))
		}
	}
	return names
}

var segmentLines = map[string]string{
	"syn-ipv4-loopback-checksum-left-to-device": "127.0.0.1:40000 > 127.0.0.1:80: S 220596931:220596931(0) win 65495 " +
		"<mss 65495,sackOK,TS val 2048122768 ecr 0,nop,wscale 10> id 34584 cksum partial",
	"synack-ipv4-loopback-id-0": "127.0.0.1:80 > 127.0.0.1:40000: S. 3785886888:3785886888(0) ack 220596932 win 65483 " +
		"<mss 65495,sackOK,TS val 1075858959 ecr 2048122768,nop,wscale 10> cksum partial",
	"rst-ipv4-loopback-closed-port": "127.0.0.1:9 > 127.0.0.1:40001: R. 0:0(0) ack 1600570953 win 0",
	"syn-ipv6-loopback-checksum-left-to-device": "[::1]:41000 > [::1]:80: S 2715107313:2715107313(0) win 65476 " +
		"<mss 65476,sackOK,TS val 2970065141 ecr 0,nop,wscale 10> label 0x66b5d cksum partial",
	"rst-ipv6-loopback-checksum-left-to-device": "[::1]:9 > [::1]:41001: R. 0:0(0) ack 1484492003 win 0 label 0xd9b9a " +
		"cksum partial",
	"syn-ipv4-without-timestamps": "127.0.0.1:40001 > 127.0.0.1:9: S 2119705731:2119705731(0) win 65495 " +
		"<mss 65495,nop,nop,sackOK,nop,wscale 10> id 5697 cksum partial",
	"syn-ipv4-asking-for-ecn": "127.0.0.1:40002 > 127.0.0.1:9: SEW 1210185328:1210185328(0) win 65495 " +
		"<mss 65495,sackOK,TS val 3348077402 ecr 0,nop,wscale 10> id 30056 cksum partial",
	"syn-ipv4-veth": "192.0.2.1:40010 > 198.51.100.2:80: S 4230386462:4230386462(0) win 64240 " +
		"<mss 1460,sackOK,TS val 3379226613 ecr 0,nop,wscale 10> id 11200",
	"synack-ipv4-through-a-router": "198.51.100.2:80 > 192.0.2.1:40010: S. 506310823:506310823(0) ack 4230386463 win 65160 " +
		"<mss 1460,sackOK,TS val 1978509287 ecr 3379226613,nop,wscale 10> ttl 63",
	"data-ipv4-get-request": "192.0.2.1:40010 > 198.51.100.2:80: P. 4230386463:4230386481(18) ack 506310824 win 63 " +
		"<nop,nop,TS val 3379226613 ecr 1978509287> id 11202",
	"fin-ipv4": "192.0.2.1:40010 > 198.51.100.2:80: F. 4230386481:4230386481(0) ack 506310824 win 63 " +
		"<nop,nop,TS val 3379226613 ecr 1978509287> id 11203",
	"rst-ipv4-closed-port-through-a-router": "198.51.100.2:9 > 192.0.2.1:40011: R. 0:0(0) ack 934283271 win 0 ttl 63",
	"syn-ipv4-repeat-counts-the-id-up": "192.0.2.1:40030 > 198.51.100.77:80: S 2554135739:2554135739(0) win 64240 " +
		"<mss 1460,sackOK,TS val 222306888 ecr 0,nop,wscale 10> id 45049",
	"syn-ipv6-veth": "[2001:db8:1::1]:41010 > [2001:db8:2::2]:80: S 1932463154:1932463154(0) win 64800 " +
		"<mss 1440,sackOK,TS val 2233183750 ecr 0,nop,wscale 10> label 0xa943e",
	"synack-ipv6-through-a-router": "[2001:db8:2::2]:80 > [2001:db8:1::1]:41010: S. 1949087140:1949087140(0) " +
		"ack 1932463155 win 64260 <mss 1440,sackOK,TS val 4061139052 ecr 2233183750,nop,wscale 10> ttl 63 label 0xe125b",
	"syn-ipv6-first-try": "[2001:db8:1::1]:41030 > [2001:db8:2::77]:80: S 4130095260:4130095260(0) win 64800 " +
		"<mss 1440,sackOK,TS val 1520374874 ecr 0,nop,wscale 10> label 0x55052",
	"syn-ipv6-repeat-has-another-flow-label": "[2001:db8:1::1]:41030 > [2001:db8:2::77]:80: S 4130095260:4130095260(0) " +
		"win 64800 <mss 1440,sackOK,TS val 1520375898 ecr 0,nop,wscale 10> label 0xb109e",
}

// Every captured segment reads as its line says, the line reads back, and encoding gives the captured octets again (the
// checksum aside where it was left to the device).
func TestCapturedSegments(t *testing.T) {
	for _, name := range packets(t, "syn", "rst", "data", "fin") {
		t.Run(name, func(t *testing.T) {
			raw := packet(t, name)
			var s wire.Segment
			if r := wire.Parse(raw, &s); r != wire.ReasonNone {
				t.Fatal(r)
			}
			if diff := cmp.Diff(segmentLines[name], s.String()); diff != "" {
				t.Errorf("line (-want +got):\n%s", diff)
			}
			back, err := wire.ParseLine(s.String())
			if err != nil {
				t.Fatal(err)
			}
			back.Payload = s.Payload
			if diff := cmp.Diff(s, back, byValue()...); diff != "" {
				t.Errorf("line read back (-captured +line):\n%s", diff)
			}
			b := make([]byte, s.Size())
			if _, err := s.Encode(b); err != nil {
				t.Fatal(err)
			}
			if s.Checksum == wire.ChecksumPartial {
				at := len(raw) - s.Options.Len() - s.Length - 4
				copy(b[at:at+2], raw[at:at+2])
			}
			if !bytes.Equal(raw, b) {
				t.Errorf("encoded:\n%x, captured:\n%x", b, raw)
			}
		})
	}
}

// The option sets that the prober sends are those of the kernel's own connects.
func TestLinuxSYNIsWhatLinuxSends(t *testing.T) {
	for _, c := range []struct {
		packet string
		want   wire.Options
	}{
		{"syn-ipv4-veth", wire.LinuxSYN(1460, 3379226613, 10)},
		{"syn-ipv6-veth", wire.LinuxSYN(1440, 2233183750, 10)},
		{"syn-ipv4-loopback-checksum-left-to-device", wire.LinuxSYN(65495, 2048122768, 10)},
		{"syn-ipv4-without-timestamps", wire.LinuxSYNWithoutTimestamps(65495, 10)},
	} {
		var s wire.Segment
		if r := wire.Parse(packet(t, c.packet), &s); r != wire.ReasonNone {
			t.Fatal(r)
		}
		if s.Options != c.want {
			t.Errorf("%s: captured <%s>, ours <%s>", c.packet, &s.Options, &c.want)
		}
		if !s.DF || s.HopLimit != 64 || s.ToS != 0 || s.Src.Addr().Is4() && s.ID == 0 {
			t.Errorf("%s: %s: want DF, TTL 64, ToS 0 and, in IPv4, a random ID", c.packet, &s)
		}
	}
}

// A kernel connect repeats its SYN with the next ID (IPv4) or another flow label (IPv6), and always with a fresh TSval.
func TestLinuxRepeatsItsSYN(t *testing.T) {
	var first, again wire.Segment
	wire.Parse(packet(t, "syn-ipv6-first-try"), &first)
	wire.Parse(packet(t, "syn-ipv6-repeat-has-another-flow-label"), &again)
	v1, _, _ := first.Options.Timestamps()
	v2, _, _ := again.Options.Timestamps()
	if first.Seq != again.Seq || first.Flow() != again.Flow() || !v1.Before(v2) || first.FlowLabel == again.FlowLabel {
		t.Errorf("not a repeat with a fresh TSval and flow label:\n%s\n%s", &first, &again)
	}
}
