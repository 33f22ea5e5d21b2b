package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// atOncePassed is how many SYNs at once the filter before a server with a deep queue lets through.
const atOncePassed = 6

// repeatedOnce is what is said of connections that stall while nothing tells why.
const repeatedOnce = "after 1 repeat(s)"

func acceptBurst() Scenario {
	return Scenario{
		Name: "accept-burst",
		Story: "A server next door that works, with the short backlog that many programs ask for. Handshakes are over at once, so that a burst of connections fills the accept " +
			"queue before the application comes to it: the SYNs behind are dropped, and served when they are repeated, a second later. SYNs that never become connections fit, however many.",
		Params: []Param{{"backlog", "5", "of listen(2): the accept queue holds one more", whole(1, 2, 5, 65535)},
			{"pause", "2ms", "that the application takes over each connection", lasting(0, time.Millisecond, 4*time.Millisecond, time.Second)},
			{"limit", "0", "SYNs a second that a filter lets through, 6 at once; 0: there is none", among("0").or("500")}},
		Label: Is(diagnose.AcceptQueueOverflow),
		Expect: func(v *Values) Label {
			fault := Is(diagnose.AcceptQueueOverflow)
			switch room := v.Int("backlog") + 1; {
			case v.Int("limit") > 0:
				return Open(repeatedOnce)
			case room >= 500:
				return Healthy()
			case room > usualBurst-3, v.Duration("pause") < time.Millisecond, v.Duration(pathRTT) > 0:
				// Further off, all SYNs of a burst are there before its first connection is complete: the last ACKs are dropped then, which a connect does not notice.
				return doubtful(fault).OrAlso()
			}
			return fault
		},
		NearMisses: []NearMiss{roomLeft(),
			// It lets as many of a burst through, and SYNs a few milliseconds apart.
			{"a filter counts SYNs at once", map[string]string{"backlog": "4000", "limit": "500"}, Open(repeatedOnce)}},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo, Backlog: st.Int("backlog"), Pause: st.Duration("pause")})
			if rate := st.Int("limit"); rate > 0 {
				d.server.Rules(filter("guard", nft.Input, nft.Rule{nft.SYN(), nft.Beyond(uint64(rate), atOncePassed), nft.Drop()}))
			}
		},
	}
}
