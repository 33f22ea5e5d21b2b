package prober

import (
	"context"
	"time"
)

// pacer spaces SYNs that are sent late. What is sent in one bunch arrives in one bunch, and so do the answers: the queues on the way, of a router, of
// a server's device or of this host's own CPUs (net.core.netdev_max_backlog is 1,000 frames as a rule; net/core/dev.c enqueue_to_backlog, 6.18), drop
// what is too much for them. A prober that was held up and sent at once all that has become due meanwhile would make the very losses that it then tells
// of, and be held up the more by judging them. It is the schedule's loop's own.
type pacer struct {
	nominal float64 // SYNs a second of all rounds as planned
	left    float64 // SYNs that may leave now; below 0 after a round larger than a bunch
	filled  time.Time
}

// Of what is due late, at most a bunch leaves at once, of about what such a queue holds, and no more than catchUp times what the plan has, or leastPace
// SYNs a second, where that is more.
const (
	bunch     = 1024
	catchUp   = 2
	leastPace = 50_000
)

func (p *pacer) rate() float64 { return max(leastPace, catchUp*p.nominal) }

// most is how much may leave at once: a bunch, and at rates where a timer is too coarse for that, what a millisecond has.
func (p *pacer) most() float64 { return max(bunch, p.rate()/1000) }

// ready reports whether a round may begin.
func (p *pacer) ready(now time.Time) bool {
	if since := now.Sub(p.filled); since > 0 {
		p.left = min(p.most(), p.left+since.Seconds()*p.rate())
		p.filled = now
	}
	return p.left > 0
}

// spend notes n SYNs that leave.
func (p *pacer) spend(n int) { p.left -= float64(n) }

// wait is how long what has to wait should do so: until a whole bunch may leave, of a millisecond at least, where that is what it waits for.
func (p *pacer) wait() time.Duration {
	if p.left > 0 {
		return batch
	}
	d := time.Duration((p.most() - p.left) / p.rate() * float64(time.Second))
	return min(max(d, time.Millisecond), batch)
}

// plan adds a target's rounds to what is planned, or takes them away: n is negative then.
func (p *pacer) plan(n int, interval time.Duration) { p.nominal += float64(n) / interval.Seconds() }

// resume begins the rounds that have waited for their turn, the oldest first, as far as that can be.
func (l *light) resume(ctx context.Context, now time.Time) {
	for len(l.backlog) > 0 {
		d := l.backlog[0]
		switch { // what has changed since it had to wait
		case d.gone.Load():
			d.running.Store(false)
		case d.light == nil:
			d.queued = false
			l.s.enqueue(ctx, d)
		case d.light.peer == nil:
			d.light.waits = true
			l.ask(d)
		default:
			if !l.try(d, now) {
				return
			}
		}
		if d.light != nil {
			d.queued = false
		}
		l.backlog[0] = nil
		l.backlog = l.backlog[1:]
	}
}

// overloaded reports whether an ill round is to be left out: frames of its time were lost on this host, so that it says nothing of its target, and half
// of what can wait to be judged does so already. To judge it would only lose more of those to come. unread frames had not been read when its time was
// over.
func (l *light) overloaded(b *lightBurst, unread uint64) bool {
	return l.ownLoss(b, unread) && len(l.judge) >= lightWaiting/2
}

// ownLoss reports whether frames of a round may have been lost between the kernel and its table.
func (l *light) ownLoss(b *lightBurst, unread uint64) bool { return unread > 0 || l.lost > b.drops }
