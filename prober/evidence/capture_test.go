package evidence

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(d time.Duration) time.Time { return began.Add(d) }

var (
	flow4 = wire.Flow{Src: netip.MustParseAddrPort("192.0.2.1:61000"), Dst: netip.MustParseAddrPort("192.0.2.2:80")}
	flow6 = wire.Flow{Src: netip.MustParseAddrPort("[2001:db8::1]:61000"), Dst: netip.MustParseAddrPort("[2001:db8::2]:80")}
)

// segment encodes one of a flow, behind link.
func segment(t *testing.T, link string, f wire.Flow, flags wire.Flags, payload string) []byte {
	t.Helper()
	s := wire.Segment{Src: f.Src, Dst: f.Dst, Seq: 1000, Flags: flags, HopLimit: 64, Options: wire.LinuxSYN(1460, 7, 7), Payload: []byte(payload)}
	head, err := hex.DecodeString(link)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, s.Size())
	if _, err := s.Encode(b); err != nil {
		t.Fatal(err)
	}
	return append(head, b...)
}

// The link headers: plain, and with the tag of VLAN 7.
const (
	ether4  = "020000000002020000000001" + "0800"
	tagged4 = "020000000002020000000001" + "81000007" + "0800"
	arpAsk  = "ffffffffffff020000000001" + "0806" + "0001080006040001" + "020000000001c0000201" + "000000000000c0000202"
)

// example is two bursts that lie over each other in time: over Ethernet, a tag, and a device without a link header.
func example(t *testing.T) []Round {
	t.Helper()
	ask, err := hex.DecodeString(arpAsk)
	if err != nil {
		t.Fatal(err)
	}
	arp := observe.Frame{At: after(1), Outgoing: true, IfIndex: 2, Attempt: -1, Orig: 42, Data: ask}
	event := observe.NeighborEvent{At: arp.At, Outgoing: true, Kind: observe.NeighborRequest, IfIndex: 2, Sender: flow4.Src.Addr(), Target: flow4.Dst.Addr()}
	syn := segment(t, ether4, flow4, wire.SYN, "")
	first := observe.Observation{Label: "first contact", Kind: plan.KindConnect, CaptureDrops: 2, Neighbor: []observe.NeighborEvent{event},
		Attempts: []observe.Attempt{{Index: 0, Arm: "T0−2", Via: plan.Raw, Flow: flow4, Outcome: observe.TimedOut, Answered: -1, Retransmissions: 1,
			SYNs: []observe.SYN{{At: after(10)}, {At: after(time.Second)}}}},
		Recorded: &observe.Recording{Snap: 256, Over: 3, Devices: []observe.Device{{IfIndex: 2, Name: "eth0"}}, Frames: []observe.Frame{arp,
			{At: after(10), Outgoing: true, IfIndex: 2, Orig: len(syn), Data: syn},
			{At: after(time.Second), Outgoing: true, IfIndex: 2, Orig: len(syn), Data: syn}}}}
	answer := segment(t, "", flow6.Reverse(), wire.SYN|wire.ACK, "")
	second := observe.Observation{Label: "tunnel", Kind: plan.KindSYN, Neighbor: []observe.NeighborEvent{event},
		Attempts: []observe.Attempt{{Index: 0, Arm: "raw", Via: plan.Raw, Flow: flow6, Outcome: observe.Accepted, RTT: 20, Handshake: 20,
			SYNs:    []observe.SYN{{At: after(30)}},
			Answers: []observe.Answer{{At: after(50), Kind: observe.SYNACK, Flags: wire.SYN | wire.ACK}}}},
		Recorded: &observe.Recording{Snap: 300, Devices: []observe.Device{{IfIndex: 7, Name: "tun0"}}, Frames: []observe.Frame{arp,
			{At: after(30), Outgoing: true, IfIndex: 7, Bare: true, Orig: 80, Data: segment(t, "", flow6, wire.SYN, "")},
			{At: after(50), IfIndex: 7, Bare: true, Orig: 1280, Data: answer},
			{At: after(60), IfIndex: 2, Orig: 78 + 5, Data: segment(t, tagged4, flow6ToFlow4(), wire.ACK, "")}}}}
	return []Round{{Addr: flow4.Dst, Observations: []observe.Observation{first}}, {Addr: flow6.Dst, Observations: []observe.Observation{second}}}
}

func flow6ToFlow4() wire.Flow { return flow4.Reverse() }

// row is one frame of the file as a reader sees it.
type row struct {
	Device  string
	At      time.Duration
	Orig    int
	Comment string
}

func wantRows() []row {
	return []row{
		{"eth0", 1, 42, "192.0.2.2:80: burst 1 (first contact), 192.0.2.1 asks for 192.0.2.2"},
		{"eth0", 10, 74, "192.0.2.2:80: burst 1 (first contact), attempt 0, arm T0−2, first SYN, no answer"},
		{"tun0", 30, 80, "[2001:db8::2]:80: burst 1 (tunnel), attempt 0, arm raw, first SYN, answered after 20ns"},
		{"tun0", 50, 1280, "[2001:db8::2]:80: burst 1 (tunnel), attempt 0, arm raw, SYN-ACK to the first SYN"},
		{"eth0", 60, 83, "[2001:db8::2]:80: burst 1 (tunnel), attempt 0, arm raw, their ACK, not counted"},
		{"eth0", time.Second, 74, "192.0.2.2:80: burst 1 (first contact), attempt 0, arm T0−2, second SYN, no answer"},
	}
}

// Another program's reader finds everything in its place: the frames in order of time, each on its device, with its comment.
func TestCaptureIsReadByPcapgo(t *testing.T) {
	t.Parallel()
	rounds := example(t)
	if n := Number(rounds); n != 6 {
		t.Errorf("%d frames, want 6: the neighbour frame of two bursts is one", n)
	}
	var b bytes.Buffer
	if err := WriteCapture(&b, Origin{Program: "vipprobe 1", Hardware: "amd64", OS: "Linux 6.18.5"}, rounds); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&b, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	about := "Only frames of the flows that this program opened, ICMP errors that quote them, and ARP or ND frames of their next hop. 3 frames over the " +
		"bound of the recording are not here. The capture ring lost 2 frames: what is not here may have been on the wire."
	if diff := cmp.Diff(pcapgo.NgSectionInfo{Hardware: "amd64", OS: "Linux 6.18.5", Application: "vipprobe 1", Comment: about}, r.SectionInfo()); diff != "" {
		t.Error(diff)
	}
	var got []row
	for {
		_, ci, opts, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		dev, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		want := layers.LinkTypeEthernet
		if dev.Name == "tun0" {
			want = layers.LinkTypeRaw
		}
		if dev.LinkType != want || dev.SnapLength != 300 {
			t.Errorf("%s: %s, snap length %d", dev.Name, dev.LinkType, dev.SnapLength)
		}
		got = append(got, row{dev.Name, ci.Timestamp.Sub(began), ci.Length, strings.Join(opts.Comments, "|")})
	}
	if diff := cmp.Diff(wantRows(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Wireshark's own programs read the file without a complaint and agree on every frame.
func TestCaptureIsReadByTshark(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tshark is not installed")
		}
		t.Skip("SKIPPED: tshark is not installed")
	}
	rounds := example(t)
	Number(rounds)
	name := filepath.Join(t.TempDir(), "capture.pcapng")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(WriteCapture(f, Origin{Program: "vipprobe 1"}, rounds), f.Close()); err != nil {
		t.Fatal(err)
	}
	out := tshark(t, name, "-T", "fields", "-E", "separator=|", "-e", "frame.interface_name", "-e", "frame.time_relative", "-e", "frame.len", "-e", "frame.comment",
		"-e", "frame.packet_flags_direction", "-e", "tcp.flags.str", "-e", "vlan.id", "-e", "arp.opcode")
	want := []string{
		"eth0|0.000000000|42|" + wantRows()[0].Comment + "|0x00000002|||1",
		"eth0|0.000000009|74|" + wantRows()[1].Comment + "|0x00000002|··········S·||",
		"tun0|0.000000029|80|" + wantRows()[2].Comment + "|0x00000002|··········S·||",
		"tun0|0.000000049|1280|" + wantRows()[3].Comment + "|0x00000001|·······A··S·||",
		"eth0|0.000000059|83|" + wantRows()[4].Comment + "|0x00000001|·······A····|7|",
		"eth0|0.999999999|74|" + wantRows()[5].Comment + "|0x00000002|··········S·||",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if bad := tshark(t, name, "-Y", "_ws.malformed or _ws.expert.severity == error"); bad != "" {
		t.Errorf("malformed:\n%s", bad)
	}
}

func tshark(t *testing.T, file string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command("tshark", append([]string{"-n", "-r", file}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, append(os.Environ(), "LC_ALL=C.UTF-8")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	if s := errs.String(); s != "" && !strings.HasPrefix(s, "Running as user") {
		t.Errorf("tshark complains: %s", s)
	}
	return out.String()
}

// A comment that no option can hold is cut between two characters.
func TestALongCommentIsCut(t *testing.T) {
	t.Parallel()
	var b block
	b.begin(blockPacket)
	b.text(optComment, strings.Repeat("−", 1<<16))
	if n := len(b.b) - 8; n != 4+21844*3 && n%4 != 0 {
		t.Errorf("%d octets", n)
	}
	if !strings.HasSuffix(strings.TrimRight(string(b.b), "\x00"), "−") {
		t.Error("cut inside a character")
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   []int
		want [][2]int
	}{
		{nil, nil},
		{[]int{5}, [][2]int{{5, 5}}},
		{[]int{18, 15, 16, 12, 17, 16}, [][2]int{{12, 12}, {15, 18}}},
	} {
		if diff := cmp.Diff(tc.want, Ranges(tc.in)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.in, diff)
		}
	}
}

// The numbers lead from every segment of an attempt to its frame in the file.
func TestNumbersLeadToTheFrames(t *testing.T) {
	t.Parallel()
	rounds := example(t)
	Number(rounds)
	first, second := &rounds[0].Observations[0], &rounds[1].Observations[0]
	n, m := observe.NumbersOf(first), observe.NumbersOf(second)
	got := []int{n.Segment(0, after(10), true), n.Segment(0, after(time.Second), true), n.Neighbor(&first.Neighbor[0]), n.Segment(0, after(10), false),
		n.Segment(0, time.Time{}, true), m.Segment(0, after(30), true), m.Segment(0, after(50), false), m.Neighbor(&second.Neighbor[0])}
	if diff := cmp.Diff([]int{2, 6, 1, 0, 0, 3, 4, 1}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{2, 6}, n.Attempt(0)); diff != "" {
		t.Error(diff)
	}
}
