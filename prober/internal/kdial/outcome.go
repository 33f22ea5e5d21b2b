package kdial

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// end is all that is known when a connect ends.
type end struct {
	at          time.Time // when epoll reported it; zero if it never did
	err         error     // a system call's or SO_ERROR's; nil when accepted
	sync        bool      // err came from making the socket or from connect(2) itself
	deadline    bool      // our own deadline passed
	interrupted string    // the context ended: why
	icmp        origin
	icmpLocal   bool // icmp was sent by this host itself, and the destination is another
	state       uint8
	hasState    bool
}

// errNotBegun is a connect that was never begun because the burst ended first.
type errNotBegun struct{ why string }

func (e errNotBegun) Error() string { return "not begun: " + e.why }

// errno is the symbolic name of the kernel's answer, "" where there was none.
func (e *end) errno() string {
	if n, ok := errors.AsType[unix.Errno](e.err); ok {
		return unix.ErrnoName(n)
	}
	return ""
}

// mayHaveICMP reports whether the error queue can hold something worth a system call.
func (e *end) mayHaveICMP() bool {
	return e.deadline || !e.sync && e.err != nil && !errors.Is(e.err, unix.ECONNRESET)
}

// judge names the outcome. The kernel gives the same errno for different things, so:
//
//   - An error from socket, setsockopt, bind or connect(2) itself is NotSent, whatever its number: no route (ENETUNREACH,
//     EHOSTUNREACH, EACCES of a prohibit route, EINVAL of a blackhole route), no address or port (EADDRNOTAVAIL, EADDRINUSE),
//     no descriptor (EMFILE, ENFILE), a cgroup or LSM refusal (EPERM, EACCES). The exceptions are the three answers of a peer.
//   - ECONNREFUSED is Refused (an RST to the SYN: net/ipv4/tcp_input.c tcp_reset) unless the error queue shows an ICMP error:
//     ICMP port or protocol unreachable has the same errno (net/ipv4/icmp.c icmp_err_convert, 6.18) and is Unreachable.
//   - Any error with an ICMP error of this host's own is LocalDrop: the next hop did not answer ARP or ND (net/ipv4/arp.c
//     arp_error_report → ipv4_link_failure), or a local filter rejected the SYN. It never left, though an earlier repeat may
//     have: the capture knows.
//   - A packet filter that drops in OUTPUT makes no error at all: tcp_connect ignores EPERM and the SYN is repeated as if lost
//     (net/ipv4/tcp_output.c tcp_connect, 6.18; seen). Such a connect is TimedOut; only the capture shows that nothing left.
//     A filter that rejects in OUTPUT with an RST is Refused for the same reason.
//   - ETIMEDOUT is the kernel's own end of its ladder; the deadline of Run is TimedOut as well, with no errno.
//   - ECONNRESET is an RST after the SYN-ACK, before we looked; EPIPE the same after the peer's FIN (tcp_reset).
func (e *end) judge(c *Conn) (observe.Outcome, string) {
	switch {
	case e.interrupted != "":
		return observe.OutcomeUnknown, "interrupted before an answer: " + e.interrupted
	case e.deadline:
		return observe.TimedOut, e.with("no answer within the deadline")
	case e.err == nil && e.hasState && e.state == stateClose:
		return observe.Reset, "closed by the peer before it was looked at"
	case e.err == nil:
		return observe.Accepted, ""
	}
	switch {
	case errors.Is(e.err, unix.ECONNREFUSED) && !e.icmp.from.IsValid():
		return observe.Refused, "ECONNREFUSED: RST"
	case errors.Is(e.err, unix.ECONNRESET), errors.Is(e.err, unix.EPIPE):
		return observe.Reset, e.errno()
	case errors.Is(e.err, unix.ETIMEDOUT):
		return observe.TimedOut, e.with("ETIMEDOUT: the kernel gave up")
	case e.sync:
		return observe.NotSent, e.whyNotSent(c)
	case e.icmpLocal:
		return observe.LocalDrop, e.with(e.errno() + ": this host itself gave up the SYN (next hop without ARP/ND answer, or a local filter)")
	}
	if name := e.errno(); name != "" {
		return observe.Unreachable, e.with(name)
	}
	return observe.NotSent, e.err.Error()
}

// with adds the ICMP error, where one is known.
func (e *end) with(s string) string {
	if e.icmp.from.IsValid() {
		return s + ", " + e.icmp.String()
	}
	return s
}

// whyNotSent says what was tried, and what to look at for the errors that have a usual cause.
func (e *end) whyNotSent(c *Conn) string {
	name := e.errno()
	if name == "" {
		return e.err.Error()
	}
	setup, before := errors.AsType[errSetup](e.err)
	tried := "connect to " + c.Dst.String()
	if before {
		tried = setup.tried
	}
	if hint := e.hint(c, before); hint != "" {
		return fmt.Sprintf("%s: %s: %s", tried, name, hint)
	}
	return fmt.Sprintf("%s: %s", tried, name)
}

// hint is the usual cause of an errno; before says that it came from a system call before connect(2).
func (e *end) hint(c *Conn, before bool) string {
	src := c.Src.Addr()
	given := src.IsValid() && !src.IsUnspecified()
	for _, h := range []struct {
		errno unix.Errno
		when  bool
		hint  string
	}{
		{unix.EMFILE, true, "this process's limit of open files (RLIMIT_NOFILE, ulimit -n) is reached"},
		{unix.ENFILE, true, "the system's limit of open files (fs.file-max) is reached"},
		{unix.EADDRNOTAVAIL, given && before, "not an address of this host"},
		{unix.EADDRNOTAVAIL, true, "no free source port for this destination, or no source address (net.ipv4.ip_local_port_range)"},
		{unix.EADDRINUSE, c.Src.Port() != 0, "the source port is taken"},
		{unix.EADDRINUSE, true, "no free source port (net.ipv4.ip_local_port_range)"},
		{unix.ENETUNREACH, true, "no route"},
		{unix.EHOSTUNREACH, true, "no route"},
		{unix.EACCES, true, "refused on this host (prohibit route, cgroup or security policy)"},
		{unix.EPERM, true, "refused on this host (cgroup or security policy, or a capability is missing)"},
		{unix.EINVAL, !before, "blackhole route, or an address that cannot be connected to"},
		{unix.ENODEV, true, "no such interface"},
	} {
		if h.when && errors.Is(e.err, h.errno) {
			return h.hint
		}
	}
	return ""
}
