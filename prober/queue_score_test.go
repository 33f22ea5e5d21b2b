package prober

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/semaphore"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// queueSeeds is how many measurements of each case are made: go test ./prober -run TestNeighborQueueScore -queue.seeds 50 -v gives the table.
var queueSeeds = flag.Int("queue.seeds", 1, "measurements of each case of the neighbour queue's score")

// queueCase is one real far side whose queue is known.
type queueCase struct {
	name string
	v6   bool
	// lengths that are drawn from.
	lengths []int
	// before is what lies on the wire, ill what is done to the two hosts.
	before func(r *rand.Rand) []wires.Stage
	ill    func(t *testing.T, r *rig, dice *rand.Rand)
	// exact: every measurement must be; else none may be wrong.
	exact  bool
	states []experiment.QueueState
}

func realLengths() []int { return []int{1, 3, 4, 5, 17, 78, 256} }

// serverRules installs a filter on the server.
func serverRules(r *rig, hook nft.Hook, rules ...nft.Rule) {
	r.server.Rules(nft.Table{Family: nft.IPv4, Name: "ill", Chains: []nft.Chain{{Hook: hook, Rules: rules}}})
}

func tcpReset() nft.Part { return nft.FlagsSet(wire.RST, wire.RST) }

func lossy(r *rand.Rand) []wires.Stage {
	p := 0.01 + 0.04*r.Float64()
	return []wires.Stage{wires.Lose(p, wires.Random(r.Uint64()), wires.TCP)}
}

func queueCases() []queueCase {
	all := []experiment.QueueState{experiment.QueueMeasured, experiment.QueueRange, experiment.QueueInconclusive, experiment.QueueNotApplicable}
	return []queueCase{
		{name: "IPv4", lengths: realLengths(), exact: true},
		{name: "IPv6", v6: true, lengths: realLengths(), exact: true},
		{name: "no port refuses, accept queue full", lengths: realLengths(), exact: true, ill: func(_ *testing.T, r *rig, _ *rand.Rand) {
			r.server.Serve(topo.Service{Port: 80, Then: topo.Stuck, Backlog: 1})
			serverRules(r, nft.Input, nft.Rule{nft.DstPort(9), nft.Drop()}, nft.Rule{nft.DstPort(1), nft.Drop()}, nft.Rule{nft.DstPort(19), nft.Drop()},
				nft.Rule{nft.DstPort(65519), nft.Drop()})
		}},
		{name: "a filter refuses", lengths: realLengths(), exact: true, ill: func(_ *testing.T, r *rig, _ *rand.Rand) {
			serverRules(r, nft.Input, nft.Rule{nft.TCP(), nft.Reset()})
		}},
		{name: "open port alone", lengths: []int{1, 3, 4, 5, 12}, exact: true, ill: func(_ *testing.T, r *rig, _ *rand.Rand) {
			r.server.Serve(topo.Service{Port: 80, Then: topo.Echo})
			serverRules(r, nft.Output, nft.Rule{nft.TCP(), tcpReset(), nft.Drop()})
		}},
		{name: "loss of 1 to 5 %, short", lengths: []int{1, 3, 4, 5}, before: lossy, states: all[:2]},
		{name: "loss of 1 to 5 %, long", lengths: []int{17, 78, 256}, before: lossy, states: all[:2]},
		{name: "reordering", lengths: realLengths(), states: all[:2], before: func(r *rand.Rand) []wires.Stage {
			return []wires.Stage{wires.Hold(time.Duration(1+r.IntN(3))*ms, wires.Chance(0.2, wires.Random(r.Uint64()), wires.TCP))}
		}},
		{name: "limit of SYNs", lengths: realLengths(), states: all, ill: func(_ *testing.T, r *rig, dice *rand.Rand) {
			serverRules(r, nft.Input, nft.Rule{nft.TCP(), nft.SYN(), nft.Beyond(uint64(5+dice.IntN(50)), uint32(5+dice.IntN(150))), nft.Drop()})
		}},
		{name: "limit of RSTs", lengths: realLengths(), states: all, ill: func(_ *testing.T, r *rig, dice *rand.Rand) {
			serverRules(r, nft.Output, nft.Rule{nft.TCP(), tcpReset(), nft.Beyond(uint64(100+dice.IntN(200)), uint32(20+dice.IntN(200))), nft.Drop()})
		}},
		{name: "own qdisc drops", lengths: realLengths(), states: append(all, experiment.QueueAtLeast), ill: func(_ *testing.T, r *rig, dice *rand.Rand) {
			r.Step("a narrow qdisc", func() error {
				return r.client.Do(func() error {
					return netlink.QdiscReplace(&netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: r.near.Index, Parent: netlink.HANDLE_ROOT},
						Rate: uint64(200_000 + dice.IntN(800_000)), Buffer: 4000, Limit: uint32(2000 + dice.IntN(8000))})
				})
			})
		}},
		{name: "strangers are dropped", lengths: realLengths(), states: all[3:], ill: func(_ *testing.T, r *rig, _ *rand.Rand) {
			serverRules(r, nft.Raw, nft.Rule{nft.Src(addr(clientV4)), nft.Accept()}, nft.Rule{nft.TCP(), nft.Drop()})
		}},
	}
}

// row is the score of a case.
type queueRow struct {
	n, exact, atLeast, ranges, unsure, never, wrong int
}

func (y *queueRow) add(r *experiment.QueueResult, length int) string {
	y.n++
	wrong := ""
	switch r.State {
	case experiment.QueueMeasured:
		y.exact++
		if r.Packets != length {
			wrong = "number"
		}
	case experiment.QueueAtLeast:
		y.atLeast++
		if r.Packets > length {
			wrong = "bound"
		}
	case experiment.QueueRange:
		y.ranges++
		if r.Low > length || r.High > 0 && r.High < length {
			wrong = "range"
		}
	case experiment.QueueInconclusive:
		y.unsure++
	case experiment.QueueNotApplicable:
		y.never++
	}
	if wrong != "" {
		y.wrong++
	}
	return wrong
}

func (c *queueCase) run(t *testing.T, seed uint64, length int) experiment.QueueResult {
	dice := rand.New(rand.NewPCG(seed, 7))
	r := network(t)
	host, family := serverV4, "ipv4"
	if c.v6 {
		host, family = serverV6, "ipv6"
	}
	if c.before != nil {
		r.client, r.server = r.Host("before the wire"), r.Host("behind the wire")
		r.near, r.far = wires.Cable(r.Net, r.client, r.server, c.before(dice))
		r.near.Addr(clientV4+"/24").Knows(serverV4, r.far)
		r.far.Addr(serverV4+"/24").Knows(clientV4, r.near)
	}
	if c.ill != nil {
		c.ill(t, r, dice)
	}
	r.far.Neighbor(family, "unres_qlen_bytes", strconv.Itoa(length*queuedRST))
	r.start(t, EngineOptions{})
	delay := time.Duration(1+dice.IntN(900)) * ms
	q := &experiment.Queue{Dst: on(host, 80), Addrs: free(c.v6, 100, experiment.QueueContacts), Size: experiment.QueueSize, Delay: delay}
	return r.measure(t, q)
}

// Real kernels, known queues, and what must not be taken for one.
func TestNeighborQueueScore(t *testing.T) {
	t.Parallel()
	private(t)
	cases := queueCases()
	rows := make([]queueRow, len(cases))
	var mu sync.Mutex
	t.Cleanup(func() {
		var b strings.Builder
		for i := range cases {
			y := &rows[i]
			fmt.Fprintf(&b, "%-36s %3d measured: %3d exact, %3d at least, %3d range, %3d inconclusive, %3d not applicable, %3d wrong\n", cases[i].name, y.n,
				y.exact, y.atLeast, y.ranges, y.unsure, y.never, y.wrong)
		}
		t.Logf("\n%s", b.String())
	})
	// All hosts are one kernel here, and what its CPUs may have waiting of RSTs is shared: see experiment.QueueSize.
	slots, waiting := make(chan struct{}, 6), semaphore.NewWeighted(400)
	for i := range cases {
		for k := range *queueSeeds {
			t.Run(fmt.Sprintf("%s/%d", cases[i].name, k), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				c := &cases[i]
				seed := uint64(k)*7919 + uint64(i) + 17
				length := c.lengths[rand.New(rand.NewPCG(seed, 8)).IntN(len(c.lengths))]
				must(t, waiting.Acquire(t.Context(), int64(length)))
				defer waiting.Release(int64(length))
				got := c.run(t, seed, length)
				mu.Lock()
				defer mu.Unlock()
				wrong := rows[i].add(&got, length)
				switch {
				case wrong != "":
					t.Errorf("queue of %d: wrong %s: %+v", length, wrong, got)
				case c.exact && !got.Confirmed:
					t.Errorf("queue of %d: %+v", length, got)
				case c.states != nil && !slices.Contains(c.states, got.State):
					t.Errorf("queue of %d: %s: %+v", length, got.State, got)
				}
			})
		}
	}
}
