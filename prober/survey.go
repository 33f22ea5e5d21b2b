package prober

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// maxForeign bounds what a survey keeps.
const maxForeign = 256

// survey listens for d to SYNs that leave this host towards dst from the route's own source address and are none of ours: a balancer
// that is both monitor and SNAT sends the business of others from its own address.
func (e *engine) survey(ctx context.Context, q request, dst netip.AddrPort, d time.Duration) (observe.Observation, error) {
	began := time.Now()
	obs := observe.Observation{Label: q.burst.Label, Kind: plan.KindSurvey, Started: began.Round(0), Captured: true}
	if err := q.check(dst.Addr()); err != nil {
		return obs, err
	}
	p, err := e.paths.route(dst.Addr(), q.source, q.iface, e.opts.AllowForeignSource)
	if err != nil {
		return obs, &EnvironmentError{Target: q.target, Err: err}
	}
	tap, err := rawsock.OpenTap(rawsock.TapConfig{Ports: []rawsock.Ports{{Lo: 1, Hi: 65535}}, RingBytes: 4 << 20, IfIndex: p.route.IfIndex, SnapLen: 256})
	if err != nil {
		obs.Captured = false
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("survey of this host's own traffic: %v", err))
		return obs, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var seg wire.Segment
	err = tap.Run(ctx, func(f *rawsock.Frame) {
		if f == nil || !f.Outgoing || wire.Parse(f.Net, &seg) != wire.ReasonNone || len(obs.Foreign) >= maxForeign {
			return
		}
		if seg.Dst != dst || seg.Src.Addr() != p.route.Src || seg.Flags&(wire.SYN|wire.ACK) != wire.SYN || e.ourPort(seg.Src.Port()) {
			return
		}
		val, _, has := seg.Options.Timestamps()
		obs.Foreign = append(obs.Foreign, observe.Foreign{At: time.Unix(0, f.At), Flow: seg.Flow(), TSval: val, HasTS: has})
	})
	if st, statErr := tap.Stats(); statErr == nil {
		obs.CaptureDrops = uint32(st.Drops)
	}
	if closeErr := tap.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		obs.Unmeasured = append(obs.Unmeasured, fmt.Sprintf("survey of this host's own traffic: %v", err))
	}
	obs.Started, obs.Finished = observe.WallSpan(began, time.Now())
	return obs, nil
}

func (e *engine) ourPort(port uint16) bool { return e.host.SourcePorts.Contains(port) }
