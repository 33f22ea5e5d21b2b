package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

func listenerScenarios() []Scenario {
	return []Scenario{acceptFull(), acceptFullThirdACK(), acceptFullOwn(), acceptBurst(), synQueueFull(), synCookies(), deferAccept(), abortOnOverflow(), backlog()}
}

func backlogParam() Param {
	return Param{"backlog", "1", "of listen(2): the accept queue holds one more", whole(1, 1, 6, 65535)}
}

// silentStack is what must be said of a listener that drops every SYN: what it can be.
const silentStack = "a full accept queue, a full SYN queue without cookies, or a filter for SYNs"

func acceptFull() Scenario {
	return Scenario{
		Name: "accept-full",
		Story: "The server process is stuck and accepts nothing; other clients have filled its accept queue before anybody looks. Every further SYN is dropped " +
			"in silence, on this port only, as by a full queue of requests or a filter: from one vantage these look the same (told-accept-full has the server tell).",
		Params:     []Param{backlogParam()},
		Label:      Open(silentStack),
		Expect:     fullFromTheStart,
		NearMisses: []NearMiss{roomLeft()},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Serve(topo.Service{Port: port, Then: topo.Stuck, Backlog: st.Int("backlog")})
			d.server.Serve(topo.Service{Port: port + 1, Then: topo.Echo})
			o := st.Host("other")
			o.Attach(d.lan, otherIP+"/24")
			st.holds(o, st.Target, min(st.Int("backlog")+2, 8))
		},
	}
}

// almostFull is a queue with room for one more: backlog 8 holds 9, and others have taken 8.
func almostFull() []Param {
	return []Param{{"backlog", "8", "of listen(2): the accept queue holds one more", whole(1, 4, 12, 65535)}, {"held", "8", "connections of others in that queue", whole(0, 4, 12, 1000)},
		{"rtt", "5ms", "between client and server", lasting(0, 2*time.Millisecond, 40*time.Millisecond, time.Second)}}
}

// stuckFarAway builds a stuck server whose queue has little room, some way off.
func (st *Stage) stuckFarAway() *direct {
	d := st.direct(wires.Delay(st.Duration("rtt")/2, 0, nil, wires.Any))
	d.clientLink.Addr(controlIP + "/24")
	d.server.Serve(topo.Service{Port: port, Then: topo.Stuck, Backlog: st.Int("backlog")})
	o := st.Host("other")
	o.Attach(d.lan, otherIP+"/24")
	st.holds(o, st.Target, st.Int("held"))
	return d
}

func acceptFullThirdACK() Scenario {
	return Scenario{
		Name: "accept-full-3rd-ack",
		Story: "A stuck server 5 ms away with room for one more, met by a burst: the SYNs pass before the queue is full, and then the handshakes' last " +
			"ACKs are thrown away. The client believes it is connected; nobody serves it.",
		Params:     almostFull(),
		Label:      Is(diagnose.AcceptQueueOverflow),
		Expect:     func(v *Values) Label { return fills(v, Is(diagnose.AcceptQueueOverflow)) },
		NearMisses: []NearMiss{roomLeft()},
		Grants:     []Grant{GrantBacklog},
		Build:      func(st *Stage) { st.stuckFarAway() },
	}
}

func roomLeft() NearMiss {
	return NearMiss{"room left", map[string]string{"backlog": "4000"}, Healthy()}
}

func synQueueFull() Scenario {
	return Scenario{
		Name: "synq-full",
		Story: "SYNs from addresses that never answer fill the queue of half-open connections, and SYN cookies are off: new SYNs are dropped " +
			"whoever sends them. From one vantage that looks like a full accept queue or a filter (told-synq-full has the server tell).",
		Params: []Param{{"cookies", "0", "net.ipv4.tcp_syncookies of the server", among("0").or("1", "2")}, {"rate", "200", "SYNs a second of the flood; 0 for none", whole(0, 100, 400, 2000)}},
		Label:  Open(silentStack),
		Expect: flooded,
		NearMisses: []NearMiss{
			{"no flood", map[string]string{"rate": "0"}, Healthy()},
			{"cookies on", map[string]string{"cookies": "1"}, Healthy().OrAlso(diagnose.SYNCookiesActive)},
		},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Sysctl("net.ipv4.tcp_max_syn_backlog", "64")
			d.server.Sysctl("net.ipv4.tcp_syncookies", st.String("cookies"))
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo, Backlog: 64})
			flooder := st.Host("flooder")
			l := flooder.Attach(d.lan, otherIP+"/24")
			// The SYN-ACKs go into the void: the flooder owns none of these addresses.
			d.server.Route("10.99.0.0/16", otherIP)
			st.flood(l, d.serverLink, addr("10.99.0.1"), at(realIP(0), port), st.Int("rate"))
		},
	}
}

func synCookies() Scenario {
	return Scenario{
		Name: "syncookies",
		Story: "The server answers every SYN with a cookie (tcp_syncookies=2). Clients connect; only the SYN-ACK is never repeated, and the old " +
			"per-host PAWS check would not be made.",
		Label:      Healthy().Noting(diagnose.SYNCookiesActive),
		Params:     []Param{{"cookies", "2", "net.ipv4.tcp_syncookies of the server", among("2").or("0", "1")}, familyParam()},
		NearMisses: []NearMiss{{"cookies when full", map[string]string{"cookies": "1"}, Healthy()}},
		Build: func(st *Stage) {
			d := st.pair()
			d.server.Sysctl("net.ipv4.tcp_syncookies", st.String("cookies"))
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo})
		},
	}
}

func deferAccept() Scenario {
	return Scenario{
		Name: "defer-accept",
		Story: "The listener sleeps until the first data (TCP_DEFER_ACCEPT). Who connects and stays silent sees the SYN-ACK again seconds later; " +
			"nothing is wrong.",
		Params: []Param{{"seconds", "5", "of TCP_DEFER_ACCEPT", whole(1, 3, 9, 60)}, familyParam()},
		Label:  Healthy().Noting(diagnose.DeferAcceptBenign),
		Expect: deferred,
		Grants: []Grant{GrantHalfOpen},
		Build: func(st *Stage) {
			d := st.pair()
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo, DeferAccept: time.Duration(st.Int("seconds")) * time.Second})
		},
	}
}

func abortOnOverflow() Scenario {
	return Scenario{
		Name: "abort-on-overflow",
		Story: "The same with tcp_abort_on_overflow set: handshakes that were begun end with an RST in place of silence, and the client reads it as " +
			"a crash of the service.",
		Params: almostFull(),
		Label:  Is(diagnose.AbortOnOverflow).OrAlso(diagnose.AbortOnOverflow, diagnose.AcceptQueueOverflow),
		Expect: func(v *Values) Label {
			return fills(v, Is(diagnose.AbortOnOverflow).OrAlso(diagnose.AbortOnOverflow, diagnose.AcceptQueueOverflow))
		},
		NearMisses: []NearMiss{roomLeft()},
		Grants:     []Grant{GrantBacklog},
		Build:      func(st *Stage) { st.stuckFarAway().server.Sysctl("net.ipv4.tcp_abort_on_overflow", "1") },
	}
}

// backlog is a measurement: what a healthy listener keeps.
func backlog() Scenario {
	return Scenario{
		Name: "backlog",
		Story: "A healthy server whose listen backlog was never raised. Nothing is wrong yet; how many connections its queues hold is a number that can be " +
			"measured before a rush finds it.",
		Params: []Param{{"backlog", "64", "of listen(2)", whole(1, 8, 150, 65535)}, {"cookies", "1", "net.ipv4.tcp_syncookies of the server", among("1").or("0", "2")}, {"somaxconn", "4096", "net.core.somaxconn of the server", whole(1, 16, 4096, 65535)}},
		Label:  Healthy().Saying("listener_backlog 64 to 65"),
		Expect: measuredBacklog,
		NearMisses: []NearMiss{
			{"deeper than is asked", map[string]string{"backlog": "1000"}, Healthy().Saying("listener_backlog at least 159")},
			{"capped by somaxconn", map[string]string{"backlog": "1000", "somaxconn": "128"}, Healthy().Saying("listener_backlog 128 to 129")},
			{"cookies off", map[string]string{"cookies": "0"}, Healthy().Saying("listener_backlog at least 64")},
			{"cookies always", map[string]string{"cookies": "2"}, Healthy().Saying("listener_backlog not measured")},
		},
		Grants: []Grant{GrantHalfOpen},
		Build: func(st *Stage) {
			d := st.direct()
			d.server.Sysctl("net.ipv4.tcp_syncookies", st.String("cookies"))
			d.server.Sysctl("net.core.somaxconn", st.String("somaxconn"))
			d.server.Serve(topo.Service{Port: port, Then: topo.Echo, Backlog: st.Int("backlog")})
		},
	}
}
