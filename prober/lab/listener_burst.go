package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func acceptBurst() Scenario {
	return Scenario{
		Name: "accept-burst",
		Story: "A server next door that works, with the short backlog that many programs ask for. Handshakes are over at once, so that a burst of connections fills the accept " +
			"queue before the application comes to it: the SYNs behind are dropped, and served when they are repeated, a second later. SYNs that never become connections fit, however many.",
		Params: []Param{{"backlog", "5", "of listen(2): the accept queue holds one more", whole(1, 2, 5, 65535)},
			{"pause", "2ms", "that the application takes over each connection", lasting(0, time.Millisecond, 4*time.Millisecond, time.Second)}},
		Label: Is(diagnose.AcceptQueueOverflow),
		Expect: func(v *Values) Label {
			fault := Is(diagnose.AcceptQueueOverflow)
			switch room := v.Int("backlog") + 1; {
			case room >= 500:
				return Healthy()
			case room > usualBurst-3, v.Duration("pause") < time.Millisecond:
				return doubtful(fault).OrAlso()
			}
			return fault
		},
		NearMisses: []NearMiss{roomLeft()},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo, Backlog: st.Int("backlog"), Pause: st.Duration("pause")})
		},
	}
}
