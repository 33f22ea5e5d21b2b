package lab

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

// proven is the label of a server whose memory was flipped.
func proven(says string) Label {
	return Label{Verdicts: []diagnose.Verdict{diagnose.TWRecyclePAWSDrop}, Level: diagnose.Proven, Says: says}
}

func recycleDirect() Scenario {
	return Scenario{
		Name: "recycle-direct",
		Story: "One server with tcp_tw_recycle=1, met directly. It remembers the newest timestamp of each address whose connection it " +
			"closed, and is silent for a minute to SYNs that are two ticks older.",
		Params: []Param{recycleParam(), closerParam(), {"cookies", "1", "net.ipv4.tcp_syncookies of the server: 2 answers every SYN by cookie", among("0", "1").or("2")}},
		Label:  proven("as 2.6.32"),
		Expect: recycledDirectly,
		NearMisses: []NearMiss{noRecycle(), clientCloses(),
			{"CentOS 7", map[string]string{"recycle": "3.10"}, proven("as CentOS 7's 3.10.0-1160")},
			{"SYN cookies in force", map[string]string{"cookies": "2"}, Healthy().OrAlso(diagnose.SYNCookiesActive)}},
		Grants: []Grant{GrantPrime},
		Build: func(st *Stage) {
			stages := st.recycle()
			for _, s := range stages {
				if r, ok := s.(*wires.Recycle); ok {
					r.Cookies = st.String("cookies") == "2"
				}
			}
			d := st.direct(stages...)
			d.server.Sysctl("net.ipv4.tcp_syncookies", st.String("cookies"))
			oneClock(st.Client)
			_, service := st.closer()
			service.Port = port
			d.server.Serve(service)
		},
	}
}

// recycleHeal gives the same server time to forget.
func recycleHeal() Scenario {
	return Scenario{
		Name: "recycle-heal",
		Story: "A server with tcp_tw_recycle=1, met directly. Given a minute without other traffic it also shows that it forgets: what was refused is " +
			"answered again.",
		Params: []Param{recycleParam(), {"renewed", "0s", "after which somebody at the client's address connects again, and every so often; 0s: never", lasting(0, 0, 0, time.Minute)}},
		Label:  proven("it healed as per-host PAWS does"),
		NearMisses: []NearMiss{
			{"somebody renews it", map[string]string{"renewed": "42s"}, proven("so healing could not be seen")},
			noRecycle(),
		},
		Slow: true, Budget: 120 * time.Second, Grants: []Grant{GrantPrime, GrantHeal},
		Build: func(st *Stage) {
			d := st.direct(st.recycle()...)
			oneClock(st.Client)
			d.server.Serve(topo.Service{Port: port, Then: topo.CloseFirst})
			if every := st.Duration("renewed"); every > 0 {
				st.goesOnVisiting(st.Client, st.Target, every, request)
			}
		},
	}
}

// recycleControl is the same server met from two addresses.
func recycleControl() Scenario {
	return Scenario{
		Name: "recycle-control",
		Story: "A server with tcp_tw_recycle=1, met from two addresses of one client. The one whose connection it closed is refused; the other, with the same " +
			"timestamps, is not.",
		Params:     []Param{recycleParam()},
		Label:      proven("it is this address that the server refuses"),
		NearMisses: []NearMiss{noRecycle()},
		Grants:     []Grant{GrantPrime, GrantControl},
		Build: func(st *Stage) {
			d := st.direct(st.recycle()...)
			oneClock(st.Client)
			d.clientLink.Addr(controlIP + "/24")
			d.server.Serve(topo.Service{Port: port, Then: topo.CloseFirst})
		},
	}
}

// recycleIdle closes only connections that say nothing.
func recycleIdle() Scenario {
	return Scenario{
		Name: "recycle-idle",
		Story: "A server with tcp_tw_recycle=1 whose service never closes a connection on which somebody speaks, and loses patience with one that says nothing. " +
			"Its memory shows only to who keeps silent.",
		Params:     []Param{recycleParam(), {"patience", "4s", "of the service with a connection that says nothing; 0s: for ever", lasting(0, time.Second, 6*time.Second, time.Hour)}},
		Label:      proven(""),
		NearMisses: []NearMiss{noRecycle(), {"endless patience", map[string]string{"patience": "0s"}, Healthy()}},
		Grants:     []Grant{GrantPrime},
		Budget:     50 * time.Second,
		Build: func(st *Stage) {
			d := st.direct(st.recycle()...)
			oneClock(st.Client)
			d.server.Serve(topo.Service{Port: port, Then: topo.CloseIdle, Patience: st.Duration("patience")})
		},
	}
}
