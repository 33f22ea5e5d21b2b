package lab

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

// The parameters that every scenario has: of the way between the client and everybody else, and of the client's own kernel.
const (
	pathRTT       = "path.rtt"
	pathLoss      = "path.loss"
	clientRetries = "client.syn_retries"
	clientLinear  = "client.syn_linear_timeouts"
)

// Common lists them.
func Common() []Param {
	return []Param{
		{pathRTT, "0s", "there and back, between the client and everybody else, beside what the scenario has itself", lasting(0, 100*time.Microsecond, 60*time.Millisecond, 2*time.Second)},
		{pathLoss, "0", "share of TCP segments that are lost at random, each way, just before the client", portion(0, 0.03).orNone(1. / 3)},
		{clientRetries, "6", "net.ipv4.tcp_syn_retries of the client", whole(1, 2, 7, 127)},
		{clientLinear, "4", "net.ipv4.tcp_syn_linear_timeouts of the client (6.5 and later)", whole(0, 0, 5, 127)},
	}
}

// all are the scenario's own parameters and the common ones.
func (s *Scenario) all() []Param { return append(slices.Clip(s.Params), Common()...) }

// surround brings the common parameters into force, when the scenario stands: what came before came without.
func (st *Stage) surround(loss float64) {
	if st.Client == nil {
		return
	}
	if rtt := st.Duration(pathRTT); rtt > 0 {
		for _, l := range st.Client.Links() {
			if near, beyond, ok := l.Interpose(); ok {
				wires.Between(st.Net, near, beyond, []wires.Stage{wires.Delay(rtt/2, 0, nil, wires.Any)})
			}
		}
	}
	st.lose(max(loss, st.Fraction(pathLoss)))
	for name, sysctl := range map[string]string{clientRetries: "net.ipv4.tcp_syn_retries", clientLinear: "net.ipv4.tcp_syn_linear_timeouts"} {
		if v := st.String(name); v != defaults(Common())[name] {
			st.Client.Sysctl(sysctl, v)
		}
	}
}

// defaults are parameters as they are when nobody sets them.
func defaults(params []Param) map[string]string {
	all := map[string]string{}
	for _, p := range params {
		all[p.Name] = p.Default
	}
	return all
}

// Draw draws the parameters of the scenario, or of a near miss of it, whose own settings stand: the same for a scenario, near miss and seed whatever
// else is drawn. Each is drawn by itself, so that one more changes none of the others.
func (s *Scenario) Draw(nearMiss string, seed int) map[string]string {
	set := map[string]string{}
	for _, p := range s.all() {
		h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s", s.Name, nearMiss, seed, p.Name))
		set[p.Name] = p.Range.draw(rand.New(rand.NewPCG(binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:]))))
	}
	for _, m := range s.NearMisses {
		if m.Name == nearMiss {
			maps.Copy(set, m.Set)
		}
	}
	return set
}

// labelFor is the label of a set of parameters, all of them given, and the near miss that they are, if any: what the scenario expects of them, else that
// of the near miss, else the fault's.
func (s *Scenario) labelFor(params map[string]string) (Label, string) {
	l, miss := s.Label, ""
	if i := slices.IndexFunc(s.NearMisses, func(m NearMiss) bool { return m.is(params) }); i >= 0 {
		l, miss = s.NearMisses[i].Label, s.NearMisses[i].Name
	}
	v := &Values{set: params}
	if s.Expect != nil {
		l = s.Expect(v)
	}
	l.Lossy = s.Loss > 0 || v.Fraction(pathLoss) > 0
	return l, miss
}

// is reports whether parameters are those of the near miss.
func (m NearMiss) is(params map[string]string) bool {
	for k, v := range m.Set {
		if params[k] != v {
			return false
		}
	}
	return len(m.Set) > 0
}

// LabelOf is what a diagnosis should come to with these parameters, the others as they are by default.
func (s Scenario) LabelOf(set map[string]string) Label {
	params := defaults(s.all())
	maps.Copy(params, set)
	l, _ := s.labelFor(params)
	return l
}
