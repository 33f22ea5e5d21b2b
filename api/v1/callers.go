package v1

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"
)

// caller is who asks, as far as it is known.
type caller struct {
	client netip.Prefix
	user   string // as the caller says; nothing rests on it
	// authenticated reports whether the caller has proved who it is; nil: it has not.
	authenticated func() bool
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// clientOf is the address that a request comes from, an IPv6 one with its neighbours in the /64 that a host commonly has.
func clientOf(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{} // a socket that has no addresses: all are one client
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// admit keeps off clients that ask too often and pages of other origins, and notes who asks.
func (a *API) admit(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := caller{client: clientOf(r), authenticated: func() bool { return a.opts.Authenticated(r) }}
		c.user, _, _ = r.BasicAuth()
		if wait := a.requests.take(c.client, time.Now()); wait > 0 {
			again(w.Header(), wait)
			Refuse(w, http.StatusTooManyRequests, "this client asks too often")
			return
		}
		if err := origins.Check(r); err != nil {
			Refuse(w, http.StatusForbidden, "a page of another origin may not do this")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// again says when to try again.
func again(h http.Header, wait time.Duration) {
	h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
}

// Refuse writes a problem (RFC 9457) outside of any operation.
func Refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// an error means that the client is gone: nobody to tell
	_ = json.NewEncoder(w).Encode(&huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}

// clients count what each client does. Those that were quiet for long are forgotten.
type clients struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	known map[netip.Prefix]*client
	swept time.Time
}

type client struct {
	limiter *rate.Limiter
	seen    time.Time
}

// maxClients bounds how many are told apart; whoever comes beyond them shares one allowance.
const maxClients = 4096

func newClients(perSecond float64) *clients {
	const share = 4
	return &clients{rate: rate.Limit(perSecond), burst: max(8, int(perSecond*share)), known: map[netip.Prefix]*client{}}
}

// take counts one, or says how long to wait for it.
func (c *clients) take(who netip.Prefix, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(now)
	if c.known[who] == nil && len(c.known) >= maxClients {
		who = netip.Prefix{}
	}
	x := c.known[who]
	if x == nil {
		x = &client{limiter: rate.NewLimiter(c.rate, c.burst)}
		c.known[who] = x
	}
	x.seen = now
	if x.limiter.AllowN(now, 1) {
		return 0
	}
	return time.Duration(float64(time.Second) / float64(c.rate))
}

func (c *clients) sweep(now time.Time) {
	const quiet = 10 * time.Minute
	if now.Sub(c.swept) < quiet/10 {
		return
	}
	c.swept = now
	for who, x := range c.known {
		if now.Sub(x.seen) > quiet {
			delete(c.known, who)
		}
	}
}

// seats bound how many follow something at once, and how many of them one client.
type seats struct {
	all, each int

	mu    sync.Mutex
	taken map[netip.Prefix]int
	sum   int
}

func newSeats(all int) *seats {
	const share = 16
	return &seats{all: all, each: max(1, all/share), taken: map[netip.Prefix]int{}}
}

// take gives a seat and what gives it back; nil: none is free.
func (s *seats) take(who netip.Prefix) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sum >= s.all || s.taken[who] >= s.each {
		return nil
	}
	s.sum++
	s.taken[who]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sum--
		if s.taken[who]--; s.taken[who] == 0 {
			delete(s.taken, who)
		}
	})
}
