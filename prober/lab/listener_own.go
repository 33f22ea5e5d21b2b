package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

// fullOrGuarded is what must be said where a full accept queue and a guard that counts SYNs look the same.
const fullOrGuarded = "counts the SYNs of this address"

// Whether a guard in front of a server that works makes the silence, and how strict it is.
const (
	noGuard     = "none"
	guard       = "counts"
	strictGuard = "strict"
)

func acceptFullOwn() Scenario {
	return Scenario{
		Name: "accept-full-own",
		Story: "A stuck server some way off, its short queue empty: our own first connections fill it, and every SYN since is dropped. The vantage has one address, so that a guard " +
			"which counts the SYNs of each source looks the same, until SYN cookies that the server sent are brought back to it.",
		Params: []Param{{"backlog", "3", "of listen(2): the accept queue holds one more", whole(1, 1, 5, 65535)},
			{"rtt", "5ms", "between client and server", lasting(0, 2*time.Millisecond, 40*time.Millisecond, time.Second)},
			{"cookies", "1", "net.ipv4.tcp_syncookies of the server", among("1").or("0", "2")},
			{"guard", noGuard, "none; one that counts SYNs before a server that works; one that drops what belongs to no connection besides", among(noGuard).or(guard, strictGuard)}},
		Label:  Is(diagnose.AcceptQueueOverflow),
		Expect: fillsItself,
		NearMisses: []NearMiss{roomLeft(),
			{"no cookies", map[string]string{"cookies": "0"}, Open(fullOrGuarded)},
			{"a guard counts", map[string]string{"guard": guard}, Open(fullOrGuarded)},
			{"a strict guard counts", map[string]string{"guard": strictGuard}, Open(fullOrGuarded)},
			{"a guard counts, cookies always", map[string]string{"guard": guard, "cookies": "2"}, Open(fullOrGuarded)}},
		Build: func(st *Stage) { st.fillsItself() },
	}
}

// fillsItself is a short queue that a burst fills, or a guard that lets as many through.
func fillsItself(v *Values) Label {
	fault, room := Is(diagnose.AcceptQueueOverflow), v.Int("backlog")+1
	switch {
	case room >= 500:
		return Healthy()
	case room > 2*usualBurst:
		return doubtful(fault).OrAlso()
	case v.String("guard") != noGuard, v.String("cookies") == "0":
		return Open(fullOrGuarded)
	case room > usualBurst-3, v.Duration("rtt") < 2*time.Millisecond:
		return fault.OrAlso()
	}
	return fault
}

func (st *Stage) fillsItself() {
	d := st.direct(wires.Delay(st.Duration("rtt")/2, 0, nil, wires.Any))
	d.server.Sysctl("net.ipv4.tcp_syncookies", st.String("cookies"))
	let := uint32(st.Int("backlog") + 1)
	count := nft.Rule{nft.DstPort(port), nft.SYN(), nft.BeyondAnHour(6, let), nft.Drop()}
	switch g := st.String("guard"); g {
	case noGuard:
		d.server.Serve(topo.Service{Port: port, Then: topo.Stuck, Backlog: st.Int("backlog")})
		return
	case guard:
		d.server.Rules(filter("guard", nft.Input, count))
	case strictGuard:
		d.server.Rules(filter("guard", nft.Input, count, nft.Rule{nft.DstPort(port), nft.Invalid(), nft.Drop()}))
	default:
		st.keep("guard", errNotOneOf(noGuard, guard, strictGuard))
	}
	d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
}
