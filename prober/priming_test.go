package prober

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// services are servers that close as the real ones do.
func services() map[string]func(net.Conn) {
	return map[string]func(net.Conn){
		"postgres": func(c net.Conn) { // ProcessStartupPacket, src/backend/postmaster/postmaster.c, 9.4
			var size uint32
			if binary.Read(c, binary.BigEndian, &size) != nil || size < 8 || size > 10000 {
				return
			}
			body := make([]byte, size-4)
			if _, err := io.ReadFull(c, body); err == nil && !strings.Contains(string(body), "user\x00") {
				_, _ = io.WriteString(c, "E\x00\x00\x00\x1fSFATAL\x00C28000\x00Mno user\x00\x00")
			}
		},
		"redis": func(c net.Conn) {
			for in := bufio.NewScanner(c); in.Scan(); {
				if in.Text() == "QUIT" {
					_, _ = io.WriteString(c, "+OK\r\n")
					return
				}
				_, _ = io.WriteString(c, "-ERR unknown command\r\n")
			}
		},
		"mysql": func(c net.Conn) {
			_, _ = io.WriteString(c, "\x0a\x00\x00\x00\x0a5.5.68-M\x00")
			head := make([]byte, 4)
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			size := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
			if _, err := io.CopyN(io.Discard, c, size); err == nil && size < 32 {
				_, _ = io.WriteString(c, "\x0f\x00\x00\x02\xff\x13\x04Bad handshake")
			}
		},
		"ssh": func(c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_7.4\r\n")
			line, err := bufio.NewReader(c).ReadString('\n')
			if err == nil && !strings.HasPrefix(line, "SSH-2.0-") {
				_, _ = io.WriteString(c, "Protocol major versions differ.\n")
			}
		},
		"smtp": func(c net.Conn) {
			_, _ = io.WriteString(c, "220 mail ESMTP\r\n")
			for in := bufio.NewScanner(c); in.Scan(); {
				if in.Text() == "QUIT" {
					_, _ = io.WriteString(c, "221 Bye\r\n")
					return
				}
				_, _ = io.WriteString(c, "500 unrecognized\r\n")
			}
		},
		"idle": func(c net.Conn) {
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				_ = c.SetReadDeadline(time.Time{})
				_, _ = io.Copy(io.Discard, c)
			}
		},
	}
}

// serveOn serves each connection and closes it then.
func serveOn(t *testing.T, l net.Listener, handle func(net.Conn)) {
	t.Helper()
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
}

func (r *rig) listenAt(t *testing.T, at string) net.Listener {
	t.Helper()
	var l net.Listener
	must(t, r.server.Do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", at)
		return err
	}))
	return l
}

// diagnosed investigates timestamps with priming.
func (r *rig) diagnosed(t *testing.T, p *Prober, target, with string) Round {
	t.Helper()
	ways, err := experiment.ParseClosers(with)
	must(t, err)
	var round Round
	ep, err := ParseEndpoint(target)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	must(t, r.client.Do(func() error {
		round = p.investigate(ctx, ep, netip.AddrPortFrom(ep.Addr, ep.Port), Module{}.withDefaults(), DiagnoseOptions{MayPrime: true, Prime: PrimeOptions{With: ways}, Focus: experiment.Timestamps})
		return nil
	}))
	return round
}

// Each kind of server is made to close first by its own way, over both families.
func TestServersAreMadeToCloseFirst(t *testing.T) {
	t.Parallel()
	r := network(t).start(t, EngineOptions{})
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.Listener = r.listenAt(t, "10.0.0.2:8080")
	web.Start()
	t.Cleanup(web.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Listener = r.listenAt(t, "[fd00::2]:8443")
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	targets := map[string]string{"http": "10.0.0.2:8080", "tls": "[fd00::2]:8443"}
	for name, handle := range services() {
		l := r.listenAt(t, "10.0.0.2:0")
		serveOn(t, l, handle)
		targets[name] = l.Addr().String()
	}
	targets["auto"] = targets["postgres"]
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The pair is always the same, and would keep still: each has a prober of its own.
			round := r.diagnosed(t, r.prober(addr(serverV4), addr(serverV6)), target, name)
			prime, ok := diagnose.Primed(round.Observations)
			by := name
			if name == "auto" {
				by = "postgres"
			}
			if !ok || !prime.Certain || prime.By != by {
				t.Errorf("primed %t %+v; %v, %v", ok, prime, round.Why, said(&round))
			}
		})
	}
}

// A server that keeps everything open leaves nothing to test, and the report says what was tried; nothing is paused then.
func TestServerThatNeverClosesFirst(t *testing.T) {
	t.Parallel()
	r := network(t).start(t, EngineOptions{})
	l := r.listenAt(t, "10.0.0.2:0")
	serveOn(t, l, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	p := r.prober(addr(serverV4), addr(serverV6), addr(clientV4))
	round := r.diagnosed(t, p, l.Addr().String(), "http,redis")
	text := said(&round)
	if !strings.Contains(text, "never closed a connection first") || !strings.Contains(text, "http: kept open") || !strings.Contains(text, "redis: kept open") {
		t.Error(text)
	}
	if again := r.probed(t, p, l.Addr().String()); again.Err != nil {
		t.Errorf("paused for nothing: %v", again.Err)
	}
}

// After a prime the pair keeps still for everybody else, and only the pair.
func TestProbesKeepStillAfterAPrime(t *testing.T) {
	t.Parallel()
	r := network(t).start(t, EngineOptions{})
	l := r.listenAt(t, "10.0.0.2:0")
	serveOn(t, l, services()["redis"])
	p := r.prober(addr(serverV4), addr(serverV6), addr(clientV4))
	target := l.Addr().String()
	if round := r.probed(t, p, target); round.Err != nil {
		t.Fatal(round.Err)
	}
	round := r.diagnosed(t, p, target, "redis")
	last := round.Observations[len(round.Observations)-1]
	if round.Err != nil || last.Kind == plan.KindPrime {
		t.Fatalf("the investigation that primed was stopped by its own pause: %v, last burst %s", round.Err, last.Kind)
	}
	paused, ok := errors.AsType[*PausedError](r.probed(t, p, target).Err)
	if !ok || time.Until(paused.Until) < 30*time.Second || paused.Source != addr(clientV4) || paused.Addr != addr(serverV4) {
		t.Errorf("a probe after it: %+v", paused)
	}
	if _, ok := errors.AsType[*PausedError](r.diagnosed(t, p, target, "redis").Err); !ok {
		t.Error("another diagnosis was not stopped")
	}
	if round := r.probed(t, p, on(clientV4, 9).String()); round.Err != nil {
		t.Errorf("another destination: %v", round.Err)
	}
}

func (r *rig) probed(t *testing.T, p *Prober, target string) Round {
	t.Helper()
	var round Round
	ep, err := ParseEndpoint(target)
	must(t, err)
	must(t, r.client.Do(func() error {
		round = p.round(t.Context(), ep, netip.AddrPortFrom(ep.Addr, ep.Port), Module{Name: "connect", Kind: KindConnect, Timeout: 2 * time.Second, Burst: 2, Count: 1, MaxStalled: -1})
		return nil
	}))
	return round
}

// said is what a round's notes say.
func said(r *Round) string {
	var all []string
	for _, n := range r.Diagnosis.Notes {
		all = append(all, n.Summary)
		all = append(all, n.Evidence...)
	}
	return strings.Join(all, "\n")
}
