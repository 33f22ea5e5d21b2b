package kdial

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

func TestJudge(t *testing.T) {
	remote := origin{from: netip.MustParseAddr("192.0.2.9"), kind: 3, code: 3}
	bound := Conn{Src: netip.MustParseAddrPort("192.0.2.1:7"), Dst: netip.MustParseAddrPort("192.0.2.2:80")}
	free := Conn{Dst: netip.MustParseAddrPort("192.0.2.2:80")}
	for _, c := range []struct {
		name   string
		e      end
		conn   Conn
		want   observe.Outcome
		reason string
	}{
		{"established", end{hasState: true, state: stateEstablished}, free, observe.Accepted, ""},
		{"accepted where the kernel gives no TCP_INFO", end{}, free, observe.Accepted, ""},
		{"the peer's FIN came with it", end{hasState: true, state: 8}, free, observe.Accepted, ""},
		{"gone again", end{hasState: true, state: stateClose}, free, observe.Reset, "closed by the peer"},
		{"RST to the SYN", end{err: unix.ECONNREFUSED}, free, observe.Refused, "ECONNREFUSED: RST"},
		{"RST to the SYN before connect(2) returned", end{err: unix.ECONNREFUSED, sync: true}, free, observe.Refused, "RST"},
		{"ICMP with the errno of an RST", end{err: unix.ECONNREFUSED, icmp: remote}, free, observe.Unreachable, "ICMP port unreachable from 192.0.2.9"},
		{"own filter with the errno of an RST", end{err: unix.ECONNREFUSED, icmp: remote, icmpLocal: true}, free, observe.LocalDrop, "this host itself"},
		{"RST after the SYN-ACK", end{err: unix.ECONNRESET}, free, observe.Reset, "ECONNRESET"},
		{"RST after the FIN", end{err: unix.EPIPE}, free, observe.Reset, "EPIPE"},
		{"kernel's end", end{err: unix.ETIMEDOUT}, free, observe.TimedOut, "the kernel gave up"},
		{"our end", end{deadline: true}, free, observe.TimedOut, "within the deadline"},
		{"our end after a soft error", end{deadline: true, icmp: remote}, free, observe.TimedOut, "port unreachable"},
		{"unreachable on an old kernel: who said so is unknown", end{err: unix.EHOSTUNREACH}, free, observe.Unreachable, "EHOSTUNREACH"},
		{"no route", end{err: unix.ENETUNREACH, sync: true}, free, observe.NotSent, "connect to 192.0.2.2:80: ENETUNREACH: no route"},
		{"refused by policy", end{err: unix.EPERM, sync: true}, free, observe.NotSent, "refused on this host"},
		{"no port left", end{err: unix.EADDRNOTAVAIL, sync: true}, free, observe.NotSent, "no free source port"},
		{"no port left, address given", end{err: unix.EADDRNOTAVAIL, sync: true}, bound, observe.NotSent, "no free source port"},
		{"4-tuple in use", end{err: unix.EADDRINUSE, sync: true}, bound, observe.NotSent, "the source port is taken"},
		{"address not ours", end{err: errSetup{"bind to x", unix.EADDRNOTAVAIL}, sync: true}, bound, observe.NotSent, "bind to x: EADDRNOTAVAIL: not an address of this host"},
		{"too many files here", end{err: errSetup{"make a socket", unix.EMFILE}, sync: true}, free, observe.NotSent, "RLIMIT_NOFILE"},
		{"too many files in all", end{err: errSetup{"make a socket", unix.ENFILE}, sync: true}, free, observe.NotSent, "fs.file-max"},
		{"something else", end{err: unix.ENOBUFS, sync: true}, free, observe.NotSent, "connect to 192.0.2.2:80: ENOBUFS"},
		{"refused by us", end{err: errRefuse{"no destination port"}, sync: true}, free, observe.NotSent, "no destination port"},
		{"interrupted", end{interrupted: "enough"}, free, observe.OutcomeUnknown, "interrupted before an answer: enough"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, reason := c.e.judge(&c.conn)
			if got != c.want || !strings.Contains(reason, c.reason) || (reason == "") != (got == observe.Accepted) {
				t.Errorf("%s, %q; want %s, …%q…", got, reason, c.want, c.reason)
			}
		})
	}
}

func TestParseInfo(t *testing.T) {
	b := make([]byte, 300)
	b[infoState], b[infoRetransmits], b[infoOptions] = 1, 2, 7
	for at, n := range map[int]uint32{infoRTO: 204000, infoSndMSS: 1448, infoRTT: 350, infoRTTVar: 175, infoTotalRetrans: 3} {
		binary.NativeEndian.PutUint32(b[at:], n)
	}
	want := observe.TCPInfo{
		State: 1, Retransmits: 2, Options: 7, RTO: 204 * time.Millisecond, SndMSS: 1448,
		RTT: 350 * time.Microsecond, RTTVar: 175 * time.Microsecond, TotalRetrans: 3,
	}
	for _, n := range []int{infoLength, 192, 300} { // 2.6.32's own length, 4.9's, one to come
		if got, ok := parseInfo(b[:n]); !ok || got != want {
			t.Errorf("%d octets: %+v, %v; want %+v", n, got, ok, want)
		}
	}
	if got, ok := parseInfo(b[:infoLength-1]); ok {
		t.Errorf("too short: %+v", got)
	}
}

// errorMessage is a control message as IP_RECVERR or IPV6_RECVERR makes it.
func errorMessage(level, kind int32, origin, icmpType, icmpCode byte, sockaddr []byte) []byte {
	data := make([]byte, 16, 64)
	data[4], data[5], data[6] = origin, icmpType, icmpCode
	data = append(data, sockaddr...)
	b := make([]byte, unix.CmsgSpace(len(data)))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(kind))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func sockaddr4() []byte {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	copy(b[4:], []byte{192, 0, 2, 9})
	return b
}

func sockaddr6() []byte {
	b := make([]byte, 28)
	binary.NativeEndian.PutUint16(b, unix.AF_INET6)
	a := netip.MustParseAddr("2001:db8::9").As16()
	copy(b[8:], a[:])
	return b
}

func TestParseErrorQueue(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string // "" where it is none
	}{
		{"host unreachable", errorMessage(unix.IPPROTO_IP, unix.IP_RECVERR, unix.SO_EE_ORIGIN_ICMP, 3, 1, sockaddr4()), "ICMP host unreachable from 192.0.2.9"},
		{"a code without a name", errorMessage(unix.IPPROTO_IP, unix.IP_RECVERR, unix.SO_EE_ORIGIN_ICMP, 3, 99, sockaddr4()), "ICMP type 3 code 99 from 192.0.2.9"},
		{"IPv6", errorMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.SO_EE_ORIGIN_ICMP6, 1, 3, sockaddr6()), "ICMPv6 address unreachable from 2001:db8::9"},
		{"IPv6, sender cut off", errorMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.SO_EE_ORIGIN_ICMP6, 1, 3, sockaddr6()[:12]), ""},
		{"an error of the local stack", errorMessage(unix.IPPROTO_IP, unix.IP_RECVERR, unix.SO_EE_ORIGIN_LOCAL, 0, 0, sockaddr4()), ""},
		{"another control message", errorMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMP, unix.SO_EE_ORIGIN_ICMP, 3, 1, sockaddr4()), ""},
		{"no sender", errorMessage(unix.IPPROTO_IP, unix.IP_RECVERR, unix.SO_EE_ORIGIN_ICMP, 3, 1, nil), ""},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, ok := parseErrorQueue(c.in)
			if ok != (c.want != "") || ok && o.String() != c.want {
				t.Errorf("%s, %v; want %q", o, ok, c.want)
			}
		})
	}
}

func FuzzParseErrorQueue(f *testing.F) {
	f.Add(errorMessage(unix.IPPROTO_IP, unix.IP_RECVERR, unix.SO_EE_ORIGIN_ICMP, 3, 1, sockaddr4()))
	f.Add(errorMessage(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.SO_EE_ORIGIN_ICMP6, 1, 3, sockaddr6()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, ok := parseErrorQueue(b); ok && !o.from.IsValid() {
			t.Errorf("an error from nobody: %s", o)
		}
	})
}

func ExampleDialer_Run() {
	d, err := New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = d.Close() }()
	conns := []Conn{{Dst: netip.MustParseAddrPort("127.0.0.1:0")}}
	_ = d.Run(context.Background(), conns, time.Second, nil, func(r Result) { fmt.Println(r.Outcome, r.Reason) })
	// Output: not_sent no destination port
}
