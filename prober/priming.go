package prober

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

// PrimeOptions shape a proof by priming: connections with a TSval of ours that the server closes first.
type PrimeOptions struct {
	// With are the ways to make the server close first (experiment.ParseClosers); nil: those of common protocols.
	With []experiment.Closer
	// Anyway primes even where what was seen suggests that others share the source address or the server.
	Anyway bool
	// Control is another address of this host, of the target's family, that never primes: the same TSvals are asked from there. Invalid:
	// there is none.
	Control netip.Addr
	// Heal waits for the server to forget, a minute after the prime.
	Heal bool
}

// priming is what the rules need to know of what was permitted.
func (o *DiagnoseOptions) priming() diagnose.Priming {
	return diagnose.Priming{May: o.MayPrime, Anyway: o.Prime.Anyway, Heal: o.Prime.Heal}
}

// checkControl refuses a control source that cannot be one: of the other family, not this host's, or the address that primes.
func (p *Prober) checkControl(target string, dst netip.Addr, m Module, o *DiagnoseOptions) error {
	c := o.Prime.Control
	if !c.IsValid() {
		return nil
	}
	fail := func(format string, args ...any) error {
		return &EnvironmentError{Target: target, Err: fmt.Errorf("control source %s: %w", c, fmt.Errorf(format, args...))}
	}
	switch {
	case !o.MayPrime:
		return fail("nothing is primed, so there is nothing to control")
	case c.Is4() != dst.Is4():
		return fail("%s is of the other address family", dst)
	case c == p.sourceTowards(dst, m):
		return fail("it is the address that primes")
	}
	own := ownAddresses("", dst)
	if dst.IsLoopback() {
		return nil // any loopback address is ours
	}
	if !slices.Contains(own, c) {
		return fail("%w", errors.New("it is no address of this host"))
	}
	return nil
}
