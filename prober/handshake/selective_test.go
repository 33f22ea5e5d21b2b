package handshake

import (
	"testing"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// permitting is a SYN-ACK that permits SACK.
func permitting() *wire.Segment {
	s := synAck()
	s.Options.Append(wire.OptSACKPermitted)
	return s
}

func TestAnAnswerIsAcknowledgedWithAHoleInFront(t *testing.T) {
	t.Parallel()
	script := plan.Script{Options: wire.LinuxSYNWithoutTimestamps(4, 7), OnSYNACK: plan.Acknowledge, Then: plan.Exchange{Data: []byte("go"), Withhold: true, AckDelay: 100 * ms,
		CloseDelay: 900 * ms, Selective: &plan.Selective{Segments: 2, Size: 4, Delay: 100 * ms, Wait: 80 * ms}}}
	begun := []step{{0, nil, []string{"S 0"}, SynSent}, {10 * ms, permitting(), nil, Established}, {20 * ms, permitting(), nil, Established},
		{109 * ms, nil, nil, Established}, {110 * ms, nil, []string{". 1 ack 1", `P. 1 ack 1 "go"`}, Established}}
	refused := []step{{0, nil, []string{"S 0"}, SynSent}, {10 * ms, synAck(), nil, Established}, {110 * ms, nil, []string{". 1 ack 1", `P. 1 ack 1 "go"`}, Established}}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"one segment more each time, then the end", append(begun[:5:5],
			step{120 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaabbbb"), nil, Established}, step{130 * ms, from(wire.ACK|wire.PSH, 9, 3, "cccc"), nil, Established},
			step{220 * ms, nil, []string{". 3 ack 1 sack 5-9", ". 3 ack 1 sack 5-13"}, Established}, step{222 * ms, from(wire.ACK, 1, 3, "aaaa"), nil, Established},
			step{300 * ms, nil, []string{"R. 3 ack 1"}, Reset})},
		{"no more than has come", append(begun[:5:5], step{120 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaabbbb"), nil, Established},
			step{220 * ms, nil, []string{". 3 ack 1 sack 5-9"}, Established})},
		{"short segments count as such", append(begun[:5:5], step{120 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaabb"), nil, Established},
			step{121 * ms, from(wire.ACK|wire.PSH, 7, 3, "ccccdddd"), nil, Established}, step{220 * ms, nil, []string{". 3 ack 1 sack 5-7", ". 3 ack 1 sack 5-11"}, Established})},
		{"a repeat that overlaps", append(begun[:5:5], step{120 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaa"), nil, Established},
			step{121 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaabbbb"), nil, Established}, step{220 * ms, nil, []string{". 3 ack 1 sack 5-9"}, Established})},
		{"nothing behind a gap", append(begun[:5:5], step{120 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaa"), nil, Established},
			step{121 * ms, from(wire.ACK|wire.PSH, 9, 3, "cccc"), nil, Established}, step{220 * ms, nil, nil, Established}, step{300 * ms, nil, []string{"R. 3 ack 1"}, Reset})},
		{"an answer before our data are acknowledged", append(begun[:5:5], step{120 * ms, from(wire.ACK|wire.PSH, 1, 1, "aaaabbbb"), nil, Established},
			step{121 * ms, from(wire.ACK, 9, 3, ""), nil, Established}, step{220 * ms, nil, []string{". 3 ack 1 sack 5-9"}, Established})},
		{"no answer", append(begun[:5:5], step{120 * ms, from(wire.ACK, 1, 3, ""), nil, Established}, step{1020 * ms, nil, []string{"R. 3 ack 1"}, Reset})},
		{"SACK is not permitted", append(refused[:3:3], step{120 * ms, from(wire.ACK|wire.PSH, 1, 3, "aaaabbbb"), nil, Established}, step{220 * ms, nil, []string{"R. 3 ack 1"}, Reset})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			converse(t, script, tc.steps)
		})
	}
}

func TestALateACKAsksWhetherTheConnectionStands(t *testing.T) {
	t.Parallel()
	script := plan.Script{OnSYNACK: plan.Acknowledge, Then: plan.Exchange{AckDelay: 5000 * ms, DataDelay: 100 * ms, Alive: true, Withhold: true, CloseDelay: 700 * ms}}
	begun := []step{{0, nil, []string{"S 0"}, SynSent}, {10 * ms, synAck(), nil, Established}, {1010 * ms, synAck(), nil, Established}, {5010 * ms, nil, []string{". 1 ack 1"}, Established}}
	converse(t, script, append(begun[:4:4], step{5110 * ms, nil, []string{". 0 ack 1"}, Established}, step{5120 * ms, from(wire.ACK, 1, 1, ""), nil, Established},
		step{5810 * ms, nil, []string{"R. 1 ack 1"}, Reset}))
	converse(t, script, append(begun[:4:4], step{5020 * ms, from(wire.RST, 1, 0, ""), nil, Aborted}, step{5110 * ms, nil, nil, Aborted}))
}
