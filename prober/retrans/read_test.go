package retrans

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/wire"
)

const mss = 1000

// script reads a trace: a line a segment, "TIME > FROM:TO", "TIME < ACK [FROM:TO …]" where the brackets hold SACK blocks, "TIME < FROM:TO" for
// data of the peer's; words behind: id=N, ts=N, ecr=N. Data begins at 0. The connection begins with a handshake of 10 ms.
func script(t *testing.T, text string) []Segment {
	t.Helper()
	begin := time.Unix(1_000_000, 0)
	out := []Segment{
		{At: begin.Add(-20 * time.Millisecond), Outgoing: true, Flags: wire.SYN, Seq: wire.Seq(0).Add(-1), MSS: mss, SACKPermitted: true},
		{At: begin.Add(-10 * time.Millisecond), Flags: wire.SYN | wire.ACK, Seq: wire.Seq(0).Add(-1), MSS: mss, SACKPermitted: true},
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		d, err := time.ParseDuration(f[0])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		g := Segment{At: begin.Add(d), Outgoing: f[1] == ">", Flags: wire.ACK}
		for i, w := range f[2:] {
			r, isRange := span(w)
			switch {
			case strings.HasPrefix(w, "id="):
				g.ID = uint16(number(w[3:]))
			case strings.HasPrefix(w, "ts="):
				g.TSval, g.HasTS = wire.TSval(number(w[3:])), true
			case strings.HasPrefix(w, "ecr="):
				g.TSecr, g.HasTS = wire.TSval(number(w[4:])), true
			case !isRange:
				g.Ack = wire.Seq(number(w))
			case i == 0:
				g.Seq, g.Length = r.From, int(r.To.Sub(r.From))
			default:
				g.SACK = append(g.SACK, r)
			}
		}
		out = append(out, g)
	}
	return out
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func span(w string) (Range, bool) {
	a, b, ok := strings.Cut(w, ":")
	return Range{wire.Seq(uint32(number(a))), wire.Seq(uint32(number(b)))}, ok
}

func count(c Class, n int) Counts {
	var k Counts
	k[c] = n
	return k
}

func TestSent(t *testing.T) {
	for _, tt := range []struct {
		story, trace string
		want         Sent
		lost         int
	}{
		{
			"nothing is lost", `
			0ms > 0:1000
			1ms > 1000:3000
			10ms < 1000
			11ms < 3000`,
			Sent{Segments: 3, Octets: 3000, Acknowledged: 3000}, 0,
		},
		{
			"the copy of a timeout is lost as well, and SACKs tell so: a recovery, no more the slow start after it", `
			0ms > 0:4000
			10ms < 0 1000:2000
			10ms > 0:1000
			260ms > 0:1000
			270ms < 2000
			270ms > 2000:3000
			271ms > 3000:4000
			281ms < 2000 3000:4000
			282ms > 2000:3000
			292ms < 4000`,
			Sent{Segments: 4, Octets: 4000, Copies: Counts{RTO: 1, AfterRTO: 2, Fast: 2}, Frames: 5, Lossy: 3, Acknowledged: 4000}, 5,
		},
		{
			"the timer fires although SACKs come on", `
			0ms > 0:2000
			10ms < 0 1000:2000
			10ms > 0:1000
			190ms > 2000:3000
			200ms < 0 1000:3000
			211ms > 0:1000
			221ms < 3000`,
			Sent{Segments: 3, Octets: 3000, Copies: Counts{RTO: 1, Fast: 1}, Frames: 2, Lossy: 2, Acknowledged: 3000}, 2,
		},
		{
			"a hole among SACKs leaves again", `
			0ms > 0:1000
			0ms > 1000:2000
			0ms > 2000:5000
			10ms < 1000
			10ms < 1000 2000:3000
			10ms < 1000 2000:4000
			10ms < 1000 2000:5000
			10ms > 1000:2000
			20ms < 5000`,
			Sent{Segments: 5, Octets: 5000, Copies: count(Fast, 1), Frames: 1, Lossy: 1, Acknowledged: 5000}, 1,
		},
		{
			"a copy that a duplicate SACK proves needless", `
			0ms > 0:1000
			0ms > 1000:4000
			10ms < 0 1000:4000
			10ms > 0:1000
			11ms < 4000
			20ms < 4000 0:1000`,
			Sent{Segments: 4, Octets: 4000, Copies: count(Fast, 1), Frames: 1, Spurious: count(Fast, 1), DSACKs: 1, Acknowledged: 4000}, 0,
		},
		{
			"the same proven by the echo, and the duplicate SACK says nothing new", `
			0ms > 0:1000 ts=1
			0ms > 1000:4000 ts=1
			10ms < 0 1000:4000 ecr=1
			12ms > 0:1000 ts=13
			13ms < 4000 ecr=1
			22ms < 4000 0:1000 ecr=13`,
			Sent{Segments: 4, Octets: 4000, Copies: count(Fast, 1), Frames: 1, Spurious: count(Fast, 1), DSACKs: 1, Reordered: 1, Echoed: 1, Extent: 4, Acknowledged: 4000}, 0,
		},
		{
			"near miss: the echo is the copy's", `
			0ms > 0:1000 ts=1
			0ms > 1000:4000 ts=1
			10ms < 0 1000:4000 ecr=1
			12ms > 0:1000 ts=13
			22ms < 4000 ecr=13`,
			Sent{Segments: 4, Octets: 4000, Copies: count(Fast, 1), Frames: 1, Lossy: 1, Acknowledged: 4000}, 1,
		},
		{
			"late data fills its hole without having left again", `
			0ms > 0:1000
			0ms > 1000:4000
			10ms < 0 1000:2000
			10ms < 0 1000:3000
			10ms < 3000
			11ms < 4000`,
			Sent{Segments: 4, Octets: 4000, Reordered: 1, Extent: 3, Acknowledged: 4000}, 0,
		},
		{
			"late data is SACKed below the highest", `
			0ms > 0:4000
			10ms < 0 3000:4000
			11ms < 0 2000:4000
			12ms < 0 1000:4000
			13ms < 4000`,
			Sent{Segments: 4, Octets: 4000, Reordered: 3, Extent: 4, Acknowledged: 4000}, 0,
		},
		{
			"the last segment is probed", `
			0ms > 0:1000
			0ms > 1000:2000
			10ms < 1000
			30ms > 1000:2000
			40ms < 2000`,
			Sent{Segments: 2, Octets: 2000, Copies: count(TLP, 1), Frames: 1, Acknowledged: 2000}, 0,
		},
		{
			"a needless probe", `
			0ms > 0:1000
			230ms > 0:1000
			235ms < 1000
			245ms < 1000 0:1000`,
			Sent{Segments: 1, Octets: 1000, Copies: count(TLP, 1), Frames: 1, Spurious: count(TLP, 1), DSACKs: 1, Acknowledged: 1000}, 0,
		},
		{
			"all is lost: a probe, the timer, and the rest as acknowledgments come", `
			0ms > 0:3000
			30ms > 2000:3000
			240ms > 0:1000
			250ms < 1000
			250ms > 1000:3000
			260ms < 3000`,
			Sent{Segments: 3, Octets: 3000, Copies: Counts{RTO: 1, AfterRTO: 2, TLP: 1}, Frames: 3, Lossy: 1, Acknowledged: 3000}, 3,
		},
		{
			"the timer's doubling", `
			0ms > 0:1000
			210ms > 0:1000
			630ms > 0:1000
			1470ms > 0:1000`,
			Sent{Segments: 1, Octets: 1000, Copies: Counts{RTO: 2, TLP: 1}, Frames: 3, Lossy: 2, Stuck: Stuck{1000, 3, 1470 * time.Millisecond}}, 2,
		},
		{
			"data below the acknowledgment that never left again came twice by the network", `
			0ms > 0:1000
			10ms < 1000
			10ms < 1000 0:1000`,
			Sent{Segments: 1, Octets: 1000, DSACKs: 1, Unprompted: 1, Acknowledged: 1000}, 0,
		},
		{
			"a keep-alive is no copy", `
			0ms > 0:1000
			10ms < 1000
			5s > 999:1000
			5010ms < 1000`,
			Sent{Segments: 1, Octets: 1000, Acknowledged: 1000}, 0,
		},
		{
			"acknowledgments of what was never sent are passed over", `
			0ms > 0:1000
			10ms < 9000 4000:5000
			10ms < 1000`,
			Sent{Segments: 1, Octets: 1000, Acknowledged: 1000}, 0,
		},
		{
			"one frame that the device cuts holds several segments", `
			0ms > 0:9000
			10ms < 0 4000:9000
			10ms > 0:4000
			20ms < 9000`,
			Sent{Segments: 9, Octets: 9000, Copies: count(Fast, 4), Frames: 1, Lossy: 1, Acknowledged: 9000}, 4,
		},
	} {
		t.Run(tt.story, func(t *testing.T) {
			got := Read(script(t, tt.trace), Known{}).Sent
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if n := got.Lost(); n != tt.lost {
				t.Errorf("%d lost, want %d", n, tt.lost)
			}
		})
	}
}

func TestReceived(t *testing.T) {
	ids := `
		0ms < 0:1000 id=1
		0ms < 1000:2000 id=2
		0ms < 2000:3000 id=3
		0ms < 3000:4000 id=4
		0ms < 4000:5000 id=5
		0ms < 5000:6000 id=6
		0ms < 6000:7000 id=7
		0ms < 7000:8000 id=8
		0ms < 8000:9000 id=9
		0ms < 9000:10000 id=10`
	for _, tt := range []struct {
		story, trace string
		want         Received
		lost         int
	}{
		{
			"a hole is filled by what left later", ids + `
			1ms < 11000:12000 id=12
			1ms < 12000:13000 id=13
			12ms < 10000:11000 id=14`,
			Received{Segments: 13, Octets: 13000, Copies: count(Fast, 1), Lossy: 1, By: ByID}, 1,
		},
		{
			"a hole is filled by what left before", ids + `
			1ms < 11000:12000 id=12
			1ms < 12000:13000 id=13
			12ms < 10000:11000 id=11`,
			Received{Segments: 13, Octets: 13000, Reordered: 1, Swaps: 1, Extent: 2, Late: 11 * time.Millisecond, By: ByID}, 0,
		},
		{
			"what lay in one queue comes late as one", ids + `
			1ms < 13000:14000 id=14
			12ms < 10000:11000 id=11
			12ms < 11000:12000 id=12
			12ms < 12000:13000 id=13
			13ms < 16000:17000 id=17
			14ms < 15000:16000 id=16
			14ms < 14000:15000 id=15`,
			Received{Segments: 17, Octets: 17000, Reordered: 5, Swaps: 3, Extent: 1, Late: 11 * time.Millisecond, By: ByID}, 0,
		},
		{
			"the copy overtakes the late original", ids + `
			1ms < 11000:12000 id=12
			12ms < 10000:11000 id=13
			14ms < 10000:11000 id=11`,
			Received{Segments: 12, Octets: 12000, Copies: count(Fast, 1), Spurious: count(Fast, 1), Overtaken: 1, Reordered: 1, Swaps: 1, Late: 13 * time.Millisecond,
				By: ByID}, 0,
		},
		{
			"near miss: the copy of a late original comes second and is needless, another is lost", ids + `
			1ms < 11000:12000 id=12
			2ms < 10000:11000 id=11
			12ms < 10000:11000 id=13
			20ms < 13000:14000 id=15
			30ms < 12000:13000 id=16`,
			Received{Segments: 14, Octets: 14000, Copies: count(Fast, 1), Spurious: count(Fast, 1), Reordered: 1, Swaps: 1, Extent: 1, Late: time.Millisecond, Lossy: 1,
				By: ByID}, 1,
		},
		{
			"a probe of the tail, and the late original right behind it", ids + `
			50ms < 10000:11000 id=12
			51ms < 10000:11000 id=11`,
			Received{Segments: 11, Octets: 11000, Spurious: count(TLP, 1), By: ByID}, 0,
		},
		{
			"near miss: a path that doubles the tail", ids + `
			50ms < 10000:11000 id=11
			51ms < 10000:11000 id=11`,
			Received{Segments: 11, Octets: 11000, Spurious: count(Fast, 1), By: ByID}, 0,
		},
		{
			"timestamps tell the order", `
			0ms < 0:1000 ts=100
			1ms < 2000:3000 ts=101
			9ms < 1000:2000 ts=100
			20ms < 4000:5000 ts=120
			30ms < 3000:4000 ts=130`,
			Received{Segments: 5, Octets: 5000, Reordered: 1, Swaps: 1, Extent: 1, Late: 8 * time.Millisecond, Copies: count(Fast, 1), Lossy: 1, By: ByTimestamp}, 1,
		},
		{
			"within one tick a copy cannot come before a round trip", `
			0ms < 0:1000 ts=100
			1ms < 2000:3000 ts=100
			2ms < 1000:2000 ts=100`,
			Received{Segments: 3, Octets: 3000, Reordered: 1, Swaps: 1, Extent: 1, Late: time.Millisecond, By: ByTimestamp}, 0,
		},
		{
			"time alone", `
			0ms < 0:1000
			1ms < 2000:3000
			12ms < 1000:2000
			13ms < 4000:5000
			250ms < 3000:4000`,
			Received{Segments: 5, Octets: 5000, Copies: Counts{Fast: 1, RTO: 1}, Lossy: 2, By: ByTime}, 2,
		},
		{
			"a probe of the tail that was there", `
			0ms < 0:1000
			25ms < 0:1000`,
			Received{Segments: 1, Octets: 1000, Spurious: count(TLP, 1), By: ByTime}, 0,
		},
		{
			"a hole that never fills", `
			0ms < 1000:2000`,
			Received{Segments: 1, Octets: 1000, By: ByTime, Holes: 1}, 0,
		},
		{
			"frames that the device merged", `
			0ms < 0:5000
			0ms < 8000:9000
			20ms < 5000:8000`,
			Received{Segments: 9, Octets: 9000, Copies: count(Fast, 3), Lossy: 1, Merged: 2, By: ByTime}, 3,
		},
	} {
		t.Run(tt.story, func(t *testing.T) {
			got := Read(script(t, tt.trace), Known{}).Received
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if n := got.Lost(); n != tt.lost {
				t.Errorf("%d lost, want %d", n, tt.lost)
			}
		})
	}
}
