package prober

import (
	"fmt"
	"net/netip"
	"time"
)

// NotAllowedError refuses an address that no allow entry names. Entry is what would have to be added.
type NotAllowedError struct {
	Target string
	Addr   netip.Addr
	Why    string // "not on the allow list", "a link-local address", …
	Entry  string
}

func (e *NotAllowedError) Error() string {
	return fmt.Sprintf("target %s: %s is %s; to permit it add %q under allow:", e.Target, e.Addr, e.Why, e.Entry)
}

// ResolveError says that a target's name gave no address.
type ResolveError struct {
	Host string
	Err  error
}

func (e *ResolveError) Error() string { return fmt.Sprintf("resolve %s: %v", e.Host, e.Err) }

func (e *ResolveError) Unwrap() error { return e.Err }

// TargetError says what in a target's spelling cannot be read.
type TargetError struct {
	Target string
	Why    string
}

func (e *TargetError) Error() string {
	return fmt.Sprintf("target %q: %s; want HOST:PORT, 192.0.2.1:443 or [2001:db8::1]:443", e.Target, e.Why)
}

// BudgetError refuses a burst that would pass a limit. Limit is its key under limits:.
type BudgetError struct {
	Target string
	Limit  string
	Detail string
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("target %s: limits.%s: %s", e.Target, e.Limit, e.Detail)
}

// EnvironmentError says what this machine denies: a capability, a route, an interface, a source address.
type EnvironmentError struct {
	Target string
	Err    error
}

func (e *EnvironmentError) Error() string {
	if e.Target == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("target %s: %v", e.Target, e.Err)
}

func (e *EnvironmentError) Unwrap() error { return e.Err }

// PausedError refuses a probe of a pair of addresses that keeps still after a prime: a server with per-host PAWS may refuse older clocks from
// Source until then, on our own account.
type PausedError struct {
	Target       string
	Source, Addr netip.Addr
	Until        time.Time
}

func (e *PausedError) Error() string {
	return fmt.Sprintf("target %s: probes from %s to %s are paused until %s: a diagnosis primed the server with a timestamp, and what it refuses now may be refused on that account",
		e.Target, e.Source, e.Addr, e.Until.Format("15:04:05"))
}
