package prober

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTCPQueryResponse(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	heard := make(chan string, 64)
	r.serveTCP(t, 22, func(c net.Conn) {
		fmt.Fprint(c, "welcome\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
		in := bufio.NewReader(c)
		for {
			s, err := in.ReadString('\n')
			if err != nil {
				return
			}
			heard <- s
			fmt.Fprint(c, "PING :"+strings.TrimSpace(s)+"\nno newline at the end")
			_ = c.(*net.TCPConn).CloseWrite()
		}
	})
	round := r.tcpRound(t, on(serverV4, 22), steps(
		QueryResponse{Expect: `^SSH-2\.0-([^ -]+)(?: (?P<comment>.*))?$`, Send: "HELLO ${1}/${comment}",
			Labels: []QueryLabel{{"ssh_version", "${1}"}, {"ssh_comments", "<${comment}>"}}},
		QueryResponse{Expect: "^PING :(.+)"},
		QueryResponse{Expect: "at the end$"},
	))
	succeeded(t, &round)
	want := &TCPResult{ExpectInfo: map[string]string{"ssh_version": "OpenSSH_9.2p1", "ssh_comments": "<Debian-2>"}}
	if diff := cmp.Diff(want, round.TCP); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := <-heard; got != "HELLO OpenSSH_9.2p1/Debian-2\n" {
		t.Errorf("the server heard %q", got)
	}
}

func TestTCPQueryResponseFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	r.serveTCP(t, 25, func(c net.Conn) { fmt.Fprint(c, "554 go away\r\n554 I said\r\n") })
	r.serveTCP(t, 26, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	r.serveTCP(t, 27, func(c net.Conn) {
		for line := strings.Repeat("x", 8191) + "\n"; ; {
			if _, err := io.WriteString(c, line); err != nil {
				return
			}
		}
	})
	r.serveTCP(t, 28, func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "never a line's end"); err != nil {
				return
			}
		}
	})
	r.serveTCP(t, 29, func(net.Conn) {})
	expect := steps(QueryResponse{Send: "EHLO x"}, QueryResponse{Expect: "^220 "})
	short := expect
	short.Timeout = 300 * ms
	for _, c := range []struct {
		name  string
		port  uint16
		m     Module
		why   string
		regex bool
	}{
		{"closed after lines that do not match", 25, steps(QueryResponse{Expect: "^220 "}),
			`query_response[0]: expect "^220 ": the peer closed after 2 lines, the last "554 I said"`, true},
		{"closed without a line", 29, steps(QueryResponse{Expect: "^220 "}), `query_response[0]: expect "^220 ": the peer closed after no line`, true},
		{"silent to the end", 26, short, `query_response[1]: expect "^220 ": the time of the round was over after no line`, false},
		{"endless lines", 27, expect, "the peer sent more than 8388608 octets", false},
		{"an endless line", 28, expect, "query_response[1]: a line is longer than 65536 octets", false},
		{"not an expression", 26, steps(QueryResponse{Expect: "("}), "query_response[0]: expect: error parsing regexp", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			round := r.tcpRound(t, on(serverV4, c.port), c.m)
			failed(t, &round, c.why)
			if round.TCP.FailedDueToRegex != c.regex {
				t.Errorf("failed due to regex: %v", round.TCP.FailedDueToRegex)
			}
		})
	}
}
