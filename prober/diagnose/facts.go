package diagnose

import "github.com/vipprobe/vipprobe/prober/plan"

// answer is what is known of a fact.
type answer uint8

const (
	unknown answer = iota
	no
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// fact is one yes-or-no question about a network on which causes differ: which experiments decide it, how it reads either way, and how
// likely a yes is under a cause that has nothing to do with it.
type fact struct {
	name    string
	decides []plan.Kind
	yes, no string
	usual   chance
	read    func(*Input) answer
}

// facts lists them in the order in which an investigation mostly learns them.
func facts() []fact {
	connect, sticky, served := []plan.Kind{plan.KindConnect}, []plan.Kind{plan.KindSticky, plan.KindEven, plan.KindDirection}, []plan.Kind{plan.KindServed}
	sweep := []plan.Kind{plan.KindConnect, plan.KindQuadrants, plan.KindSticky, plan.KindPaced}
	return []fact{
		{"trouble", sweep, "some attempts were not served at once", "every attempt was served at once", mostly, readTrouble},
		{"stepped", connect, "this host's clock was set meanwhile", "this host's clock ran evenly", never, readStepped},
		{"unseen", connect, "SYNs never left this host", "every SYN left this host", never, readUnseen},
		{"crowded", connect, "this host itself dropped packets meanwhile", "this host itself dropped too little to matter", never, readCrowded},
		{"asking", connect, "this host was asking for the next hop meanwhile", "this host knew the next hop", seldom, readAsking},
		{"unfound", connect, "nobody answered for the next hop", "somebody answered for the next hop", never, readUnfound},
		{"asked", connect, "the far side was asking for this host meanwhile", "the far side knew this host", seldom, readAsked},
		{"healed", connect, "the same burst again, warm, lost nothing", "the same burst again suffered too", seldom, readHealed},
		{"owners", []plan.Kind{plan.KindConnect, plan.KindResolve}, "more than one MAC answered for the next hop", "one MAC answered for the next hop", never, readOwners},
		{"answered", sweep, "some flows were answered", "no flow had any answer", mostly, readAnswered},
		{"refused", sweep, "SYNs were refused with RST", "no SYN was refused with RST", never, readRefused},
		{"errors", sweep, "ICMP errors answered SYNs", "no ICMP error came", never, readErrors},
		{"turns", []plan.Kind{plan.KindPaced, plan.KindConnect}, "all were served and all refused in turn", "served and refused do not take turns", never, readTurns},
		{"tsval", []plan.Kind{plan.KindQuadrants}, "silence depends on the TSval", "silence does not depend on the TSval", never, readTSval},
		{"echo", sweep, "SYN-ACKs echo TSvals that were never sent", "echoes are our own TSvals", never, readEcho},
		{"stray ack", sweep, "SYNs drew bare ACKs of older connections", "no SYN drew an older connection's ACK", never, readOldACK},
		{"rejected", connect, "this host's kernel passed over proper SYN-ACKs", "this host's kernel took every SYN-ACK", never, readRejected},
		{"late", sticky, "single SYNs are answered, but late", "answers to single SYNs are prompt", never, readLate},
		{"dead flows", sticky, "some flows are dead and the rest whole", "flows are not dead or whole", never, readDead},
		{"forward", sticky, "echoes skip over SYNs: these had no effect", "no echo skips over a SYN", seldom, readForward},
		{"back", sticky, "echoes name SYNs whose answers were lost", "no answer was lost", seldom, readBack},
		{"uneven", []plan.Kind{plan.KindEven}, "some flows lose a part, others nothing", "all flows lose alike", never, readUnevenness},
		{"head", sweep, "the first SYNs of a burst pass, later ones do not", "the order of SYNs does not matter", never, readHead},
		{"together", []plan.Kind{plan.KindConnect, plan.KindQuadrants}, "connects of one instant lose SYNs, SYNs apart do not", "SYNs apart are lost too", seldom, readTogether},
		{"paced", []plan.Kind{plan.KindPaced}, "SYNs far apart are lost too", "SYNs far apart all pass", seldom, readPaced},
		{"other port", []plan.Kind{plan.KindOther}, "another port suffers alike", "another port answers every SYN", seldom, readOther},
		{"stack", []plan.Kind{plan.KindStray}, "a stack answers bare ACKs at this port", "nothing answers bare ACKs at this port", even, readStack},
		{"pinged", []plan.Kind{plan.KindPing}, "ICMP echo is answered at this address", "ICMP echo is not answered at this address", even, readPinged},
		{"other source", []plan.Kind{plan.KindSource}, "another address of this host is served", "another address of this host fares alike", never, readOtherSource},
		{"ignored", served, "our ACKs were ignored: the SYN-ACK was repeated", "no SYN-ACK was repeated after our ACK", never, readIgnored},
		{"aborted", served, "our ACKs were answered with RST", "no ACK of ours was reset", never, readAborted},
		{"hollow", served, "nobody acknowledges data", "data is acknowledged", never, readHollow},
		{"large", []plan.Kind{plan.KindSizes}, "full-sized segments are swallowed, small ones pass", "full-sized segments pass", never, readLarge},
		{"reuse", []plan.Kind{plan.KindReuse}, "exactly the second use of a flow is lost", "a flow works again at once", never, readReuse},
		{"keeps state", []plan.Kind{plan.KindStateful}, "the listener repeats its SYN-ACK", "the listener never repeats its SYN-ACK", mostly, readKeeps},
	}
}
