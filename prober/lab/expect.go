package lab

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// What the scenarios expect by their parameters. Where a fault is on the verge of what a diagnosis can see, both sides of the verge are right; where it is
// well beyond, only one is.

// doubtful is the label of a fault so slight that a diagnosis may miss it.
func doubtful(l Label) Label { return l.OrAlso(diagnose.Healthy) }

// graded is healthy below a least value, doubtful up to a plain one, the fault from there on.
func graded(x, least, plain float64, fault Label) Label {
	switch {
	case x < least:
		return Healthy()
	case x < plain:
		return doubtful(fault)
	}
	return fault
}

// unless is a fault that a near miss of parameters takes away.
func unless(gone bool, fault Label) Label {
	if gone {
		return Healthy()
	}
	return fault
}

// A burst of diagnose is of 10 connections. For a short queue of its own host it is as much larger as it takes, up to 32.
const (
	usualBurst = 10
	sizedBurst = 32
)

// overflows is a queue of qlen packets met by bursts of burst.
func overflows(qlen, burst int, fault Label) Label {
	switch {
	case qlen <= burst-2:
		return fault
	case qlen >= 2*sizedBurst:
		return Healthy()
	}
	return doubtful(fault)
}

func localQueue(v *Values) Label {
	return overflows(v.Int("qlen"), sizedBurst-4, Is(diagnose.LocalARPQueueOverflow))
}

func remoteQueue(v *Values) Label {
	return overflows(v.Int("qlen"), usualBurst, Is(diagnose.RemoteARPQueueOverflow))
}

// twoQueues: the far one sees no more than the near one lets through.
func twoQueues(v *Values) Label {
	const local, remote = diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow
	near, far := v.Int("qlen"), v.Int("server_qlen")
	switch {
	case near >= 2*sizedBurst:
		return overflows(far, usualBurst, Is(remote))
	case near > usualBurst-2:
		return doubtful(Is(local)).OrAlso(local, remote).OrAlso(remote)
	case far < near:
		return Is(local, remote).OrAlso(local)
	}
	return Is(local).OrAlso(local, remote)
}

// lateAnswer is an ARP answer that comes when SYNs have been repeated.
func lateAnswer(v *Values) Label {
	return graded(v.Duration("delay").Seconds(), 0.5, 1.1, Is(diagnose.RemoteARPUnresolved))
}

// sleepingQueue is a short queue that a measurement from outside may find.
func sleepingQueue(v *Values) Label {
	if v.Int("qlen_bytes") >= 64*synTruesize {
		return Healthy()
	}
	return doubtful(Is(diagnose.RemoteARPQueueOverflow))
}

// newHosts: the second of them is unknown to us, to the fourth we are unknown.
func newHosts(v *Values) Label {
	fault := Is(diagnose.LocalARPQueueOverflow, diagnose.RemoteARPQueueOverflow)
	if v.Int("hosts") < 4 {
		fault = Is(diagnose.LocalARPQueueOverflow)
	}
	return overflows(v.Int("qlen"), usualBurst, fault)
}

func fullFromTheStart(v *Values) Label {
	switch backlog := v.Int("backlog"); {
	case backlog <= 7: // eight others at most hold one more than it
		return Open(silentStack)
	case backlog < 1000:
		return Healthy().OrAlso(diagnose.AcceptQueueOverflow).OrAlso()
	}
	return Healthy()
}

// fills is an accept queue that others have partly filled, and that a burst fills up.
func fills(v *Values, fault Label) Label {
	switch room := v.Int("backlog") + 1 - v.Int("held"); {
	case room <= 0:
		return Open(silentStack)
	case room >= 500:
		return Healthy()
	case room >= usualBurst, v.Duration("rtt") < 2*time.Millisecond:
		return doubtful(fault).OrAlso()
	}
	return fault
}

func flooded(v *Values) Label {
	switch {
	case v.Int("rate") == 0:
		return Healthy()
	case v.String("cookies") != "0":
		return Healthy().OrAlso(diagnose.SYNCookiesActive)
	}
	return Open(silentStack)
}

// measuredBacklog is what a listener is said to hold, where some 160 half-open connections are allowed.
func measuredBacklog(v *Values) Label {
	const most = 159
	l, n := Healthy(), min(v.Int("backlog"), v.Int("somaxconn"))
	switch cookies := v.String("cookies"); {
	case cookies == "2":
		return l.Saying("listener_backlog not measured")
	case cookies == "0" && n == 64:
		return l.Saying("listener_backlog at least 64")
	case cookies == "0":
		return l
	case n < most-5:
		return l.Saying(fmt.Sprintf("listener_backlog %d to %d", n, n+1))
	case n > most+5:
		return l.Saying(fmt.Sprintf("listener_backlog at least %d", most))
	}
	return l
}

// deferred: the SYN-ACK is repeated when the time is over, which is rounded up to 1, 3, 7, 15 s (secs_to_retrans in net/ipv4/tcp.c, 6.18); the last is
// later than a diagnosis listens.
func deferred(v *Values) Label {
	if v.Int("seconds") <= 7 {
		return Healthy().Noting(diagnose.DeferAcceptBenign)
	}
	return Healthy()
}

// overLimit is a fault by so many SYNs a second and at once: healthy where the limit is generous.
func overLimit(v *Values, fault Label) Label {
	switch rate, at := v.Int("rate"), v.Int("burst"); {
	case rate >= 1000:
		return Healthy()
	case rate > 20, at > 20:
		return doubtful(fault)
	}
	return fault
}

func limited(v *Values) Label {
	says := map[string]string{"all": "both draw on one bucket", "each": "each has a bucket of its own", "one": "only the first is limited"}
	fault := Is(diagnose.SYNRateLimited).Saying(says[v.String("counts")])
	if where, refuses := map[string]string{"reset": "the RSTs come from as far away as the SYN-ACKs", "icmp": "there the filter stands"}[v.String("over")]; refuses {
		fault = fault.Saying(where)
	}
	return overLimit(v, fault)
}

// choosy is a port whose filter, or whose listener, drops what is not as it wants it; a filter may be for another port, and a TTL that every host sends is no trouble.
func choosy(v *Values) Label {
	fault := Is(diagnose.ACLDrop)
	switch v.String("by") {
	case "ttl":
		return unless(v.Int("least") <= 64, fault.Saying("is dropped by a listener without a word"))
	case "timestamps":
		fault = fault.Saying("their TSvals were drawn by lot")
	case "signature":
		return fault.Saying("takes only signed segments")
	}
	return unless(v.Int("port") != port, fault)
}

func filtered(v *Values) Label {
	switch segments := v.Int("segments"); {
	case segments >= 10_000:
		return Healthy()
	case segments > 0:
		return Is(diagnose.SYNRateLimited).OrAlso(diagnose.Healthy).OrAlso()
	case v.Int("echoes") == 0:
		return Open("so is ICMP echo")
	}
	return Open("something is up at this address")
}

// A diagnosis with GrantHold holds 64 connections.
func tracked(v *Values) Label {
	return held(v.Int("limit")-v.Int("held"), Is(diagnose.ConntrackTableFull))
}

func translated(v *Values) Label {
	return held(2*v.Int("ports")-v.Int("held"), Label{Verdicts: []diagnose.Verdict{diagnose.SNATPortExhaustion}, Level: diagnose.Suspected})
}

// held is a limit with room for so many connections more.
func held(room int, fault Label) Label {
	switch {
	case room >= 1000:
		return Healthy()
	case room < usualBurst, room > 56:
		return doubtful(fault).OrAlso()
	}
	return fault
}

// emptied: to evict a member takes a check that fails as often as it is repeated, within the time that the member is sick.
func emptied(v *Values) Label {
	fault := Is(diagnose.VIPPoolEmpty).OrAlso(diagnose.VIPPoolEmpty, diagnose.ACLDrop)
	sick, again := v.Duration("sick"), float64(v.Int("retry"))
	try, pause := v.Duration("timeout").Seconds(), v.Duration("before_retry").Seconds()
	switch {
	case sick == 0:
		return Healthy()
	case sick.Seconds() < v.Duration("every").Seconds()+try+again*(pause+try)+0.2:
		return doubtful(fault).OrAlso()
	}
	return fault
}

// some is a number of broken members of a pool.
func some(v *Values, fault, all Label) Label {
	switch broken := v.Int("broken"); {
	case broken == 0:
		return Healthy()
	case broken >= v.Int("members"):
		return all
	}
	return fault
}

// slow is an answer that comes after the SYN was repeated.
func slow(v *Values) Label {
	total := v.Duration("delay") + v.Duration(pathRTT)
	return graded(total.Seconds(), 0.95, 1.05, Is(diagnose.SlowPathNotStall))
}

// lostData says which way loses, where nothing else does, and where IPv4's IDs tell.
func lostData(v *Values) Label {
	back, there := v.Fraction("loss"), v.Fraction("there")
	fault := Is(diagnose.PathLoss)
	switch {
	case back == 0 && there == 0:
		return Healthy()
	case max(back, there) < 0.004:
		return doubtful(fault)
	case v.Fraction(pathLoss) > 0, v.String("family") == "6", back == 0:
		return fault
	case there == 0:
		return fault.Saying(lossBack)
	}
	return fault.Saying(lossBoth)
}

func lostDataUp(v *Values) Label {
	loss := v.Fraction("loss")
	if loss >= 0.004 && v.Fraction(pathLoss) == 0 && v.String("family") == "4" {
		return Is(diagnose.PathLoss).Saying(lossThere)
	}
	return graded(loss, 1e-9, 0.004, Is(diagnose.PathLoss))
}

// disordered are segments that come late by hold.
func disordered(v *Values, fault Label) Label {
	switch share := v.Fraction("share"); {
	case share == 0, v.Duration("hold") == 0:
		return Healthy()
	case share < 0.004, v.Duration("hold") < time.Millisecond:
		return doubtful(fault)
	}
	return fault
}

// probed is a last segment that is late. Alone in flight it is probed after 2·SRTT and 200 ms, and no later than an RTO (tcp_schedule_loss_probe in
// net/ipv4/tcp_output.c, 6.18); the wire of the scenario has 4 ms.
func probed(v *Values) Label {
	srtt := v.Duration(pathRTT) + 4*time.Millisecond
	if v.Duration("late") > 2*srtt+260*time.Millisecond && v.Fraction(pathLoss) == 0 {
		return Healthy().Noting(diagnose.SpuriousRetransTLP)
	}
	return Healthy()
}

// stuck is a tunnel that is too narrow; up: for what the client sends.
func stuck(v *Values, up bool) Label {
	fits := v.Int("mtu") >= 1500 || v.Bool("clamp") || v.String("way") == "both" && v.String("errors") == "pass"
	return unless(fits || up && v.String("way") == "back", Is(diagnose.MTUBlackhole))
}

// shaped: so many SYNs a second leave the prober's own device, or come through at the server.
func shaped(v *Values) Label {
	fault := Label{Verdicts: []diagnose.Verdict{diagnose.ProberLocalDrop}, Level: diagnose.Suspected}
	if v.String("where") == "server" {
		fault = Is(diagnose.SYNRateLimited)
	}
	return overLimit(v, fault)
}

// dropsAtHome: one SYN in so many is dropped on the prober's own host; 0 is none.
func dropsAtHome(v *Values) Label {
	fault := Is(diagnose.ProberLocalDrop)
	switch n := v.Int("one_in"); {
	case n == 0:
		return Healthy()
	case n > 8:
		return doubtful(fault)
	}
	return fault
}
