package retrans

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
