package observe_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vipprobe/vipprobe/prober/observe"
)

func TestExchanges(t *testing.T) {
	const us, them, other = "10.0.0.2", "10.0.0.9", "10.0.0.1"
	t0 := time.Unix(1000, 0)
	ev := func(ms int, out bool, kind observe.NeighborKind, sender, target, mac string) observe.NeighborEvent {
		e := observe.NeighborEvent{At: t0.Add(time.Duration(ms) * time.Millisecond), Outgoing: out, Kind: kind, SenderMAC: mac, FrameMAC: mac}
		if sender != "" {
			e.Sender = netip.MustParseAddr(sender)
		}
		if target != "" {
			e.Target = netip.MustParseAddr(target)
		}
		return e
	}
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	claim := func(ms int, mac string) observe.Claim { return observe.Claim{At: at(ms), MAC: mac, FrameMAC: mac} }
	req, rep, grat := observe.NeighborRequest, observe.NeighborReply, observe.NeighborGratuitous
	a, b := netip.MustParseAddr(us), netip.MustParseAddr(them)
	for _, c := range []struct {
		name   string
		events []observe.NeighborEvent
		want   []observe.Exchange
	}{
		{"nothing", nil, nil},
		{"asked twice, answered", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(50, true, req, us, them, "a"), ev(52, false, rep, them, us, "b")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(50), Requests: 2, Claims: []observe.Claim{claim(52, "b")}}}},
		{"two hosts answer one question", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(1, false, rep, them, us, "b"), ev(2, false, rep, them, us, "c")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(1, "b"), claim(2, "c")}}}},
		{"near miss: an answer seconds later is another matter", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(1, false, rep, them, us, "b"), ev(1002, false, rep, them, us, "c")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(1, "b")}}}},
		{"asked again after the answer", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(1, false, rep, them, us, "b"), ev(9, true, req, us, them, "a")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(1, "b")}},
				{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(9), Last: at(9), Requests: 1}}},
		{"they ask while we do, which answers us", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(1, false, req, them, us, "b"), ev(2, true, rep, us, them, "a"), ev(3, false, rep, them, us, "b")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(1, "b"), claim(3, "b")}},
				{Asker: b, Asked: a, AskerMAC: "b", First: at(1), Last: at(1), Requests: 1, Claims: []observe.Claim{claim(2, "a")}}}},
		{"an answer to somebody else, one that nobody asked for, an announcement", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(1, false, rep, them, other, "b"),
			ev(2, false, rep, other, us, "b"), ev(3, false, grat, other, other, "b")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1}}},
		{"an announcement answers as well", []observe.NeighborEvent{ev(0, true, req, us, them, "a"), ev(3, false, grat, them, them, "b")},
			[]observe.Exchange{{Asker: a, Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(3, "b")}}}},
		{"asked for us, they learn us from our question for another", []observe.NeighborEvent{ev(0, false, req, them, us, "b"), ev(3, true, req, us, other, "a")},
			[]observe.Exchange{{Asker: b, Asked: a, AskerMAC: "b", First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(3, "a")}},
				{Asker: a, Asked: netip.MustParseAddr(other), AskerMAC: "a", Outgoing: true, First: at(3), Last: at(3), Requests: 1}}},
		{"verified by unicast, in vain, then by broadcast", []observe.NeighborEvent{byUnicast(ev(0, false, req, them, us, "b")), ev(9, false, req, them, us, "b")},
			[]observe.Exchange{{Asker: b, Asked: a, AskerMAC: "b", First: at(0), Last: at(9), Requests: 2}}},
		{"verified by unicast", []observe.NeighborEvent{byUnicast(ev(0, false, req, them, us, "b")), byUnicast(ev(9, false, req, them, us, "b")), ev(10, true, rep, us, them, "a")},
			[]observe.Exchange{{Asker: b, Asked: a, AskerMAC: "b", First: at(0), Last: at(9), Requests: 2, Unicast: true, Claims: []observe.Claim{claim(10, "a")}}}},
		{"a probe that says not who asks", []observe.NeighborEvent{ev(0, true, req, "", them, "a"), ev(1, false, rep, them, "0.0.0.0", "b")},
			[]observe.Exchange{{Asked: b, AskerMAC: "a", Outgoing: true, First: at(0), Last: at(0), Requests: 1, Claims: []observe.Claim{claim(1, "b")}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, observe.Exchanges(c.events), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func byUnicast(e observe.NeighborEvent) observe.NeighborEvent {
	e.Unicast = true
	return e
}
