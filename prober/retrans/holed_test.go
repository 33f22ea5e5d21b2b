package retrans

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestHoled(t *testing.T) {
	for _, tt := range []struct {
		story, trace string
		want         Holed
	}{
		{"each arrives and is reported", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			11ms < 0 10:30
			20ms > 30:40
			21ms < 0 10:40`, Holed{Sent: 3, Arrived: 3, Asked: 3, SACK: true}},
		{"one is lost on the way there", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40
			21ms < 0 30:40 10:20`, Holed{Sent: 3, Arrived: 2, Lost: 1, Asked: 2, SACK: true}},
		{"one acknowledgment is lost on the way back", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40
			21ms < 0 10:40`, Holed{Sent: 3, Arrived: 3, Asked: 3, Missing: 1, Moments: 1, SACK: true}},
		{"what was held up and came at once is one moment", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40
			30ms > 40:50
			31ms < 0 10:50`, Holed{Sent: 4, Arrived: 4, Asked: 4, Missing: 2, Moments: 1, SACK: true}},
		{"what nothing came of in the end is neither", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40`, Holed{Sent: 3, Arrived: 1, Asked: 1, SACK: true}},
		{"two that left at once may draw one acknowledgment", `
			0ms > 10:20
			1ms > 20:30
			2ms < 0 10:30
			20ms > 30:40
			21ms < 0 10:40`, Holed{Sent: 3, Arrived: 3, Asked: 2, SACK: true}},
		{"an acknowledgment that was overtaken is late, not lost", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40
			21ms < 0 10:40
			22ms < 0 10:30`, Holed{Sent: 3, Arrived: 3, Asked: 3, Late: 1, SACK: true}},
		{"the same acknowledgment twice", `
			0ms > 10:20
			1ms < 0 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40
			21ms < 0 10:40
			21ms < 0 10:40`, Holed{Sent: 3, Arrived: 3, Asked: 3, Missing: 1, Moments: 1, SACK: true}},
		{"a segment that was overtaken", `
			0ms > 10:20
			1ms < 0 10:20
			10ms > 20:30
			20ms > 30:40
			21ms < 0 30:40 10:20
			30ms < 0 10:40
			40ms > 40:50
			41ms < 0 10:50`, Holed{Sent: 4, Arrived: 4, Asked: 4, Late: 1, SACK: true}},
		{"a device acknowledges what never left", `
			0ms > 10:20
			1ms < 20`, Holed{Sent: 1, Filled: true, SACK: true}},
		{"nothing was sent", ``, Holed{SACK: true}},
	} {
		t.Run(tt.story, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ReadHoled(script(t, tt.trace), 10*time.Millisecond)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestHoledNumbers: what the peer's own count of its segments says of the way back.
func TestHoledNumbers(t *testing.T) {
	for _, tt := range []struct {
		story           string
		ids             []int
		n, gone, gaps   int
		counted, merged bool
	}{
		{"none is missing", []int{65533, 65534, 65535, 0, 1, 2, 3, 4, 5}, 9, 0, 0, true, false},
		{"two, and one", []int{1, 2, 3, 4, 7, 8, 9, 10, 11, 13}, 13, 3, 2, true, false},
		{"out of order, and twice", []int{1, 2, 4, 3, 5, 6, 6, 7, 8, 9}, 9, 0, 0, true, false},
		{"no numbers", []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, false, false},
		{"a count for all connections", []int{10, 26, 41, 58, 74, 90, 106, 122, 138, 154}, 0, 0, 0, false, false},
		{"chance", []int{4711, 60001, 232, 9, 31000, 12, 44444, 7, 9999, 5}, 0, 0, 0, false, false},
		{"too few", []int{1, 2, 4, 5}, 0, 0, 0, false, false},
		{"a frame of three segments, merged by the device", []int{1, 2, 3, 4, 7, 8, 9, 10, 11, 12}, 12, 0, 0, true, true},
	} {
		t.Run(tt.story, func(t *testing.T) {
			list := script(t, "")
			for i, id := range tt.ids {
				g := Segment{At: list[1].At.Add(time.Duration(i+1) * time.Millisecond), Flags: wire.ACK, ID: uint16(id)}
				if tt.merged && id == 4 {
					g.Length = 2*mss + 1
				}
				list = append(list, g)
			}
			got := ReadHoled(list, 10*time.Millisecond)
			if got.Numbered != tt.n || got.Gone != tt.gone || got.Gaps != tt.gaps || got.Numbering == 1 != tt.counted {
				t.Errorf("got %+v, want %d, %d gone in %d gaps, counted %v", got, tt.n, tt.gone, tt.gaps, tt.counted)
			}
		})
	}
}
