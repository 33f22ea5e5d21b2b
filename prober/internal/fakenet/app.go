package fakenet

import "time"

// App is what the process behind a listener does with its connections.
type App struct {
	// Never accepts: the accept queue fills. Every is the time that each accept takes; 0: at once.
	Never bool
	Every time.Duration
	// Greeting is sent at once after accept, Reply once to the first data; Delay passes before each.
	Greeting, Reply []byte
	Delay           time.Duration
	Close           AppClose
}

// AppClose says when the application closes.
type AppClose uint8

// CloseAfterPeer waits for the peer's FIN; CloseAtOnce right after accept and greeting; CloseOnData after the reply to the first data;
// ResetOnData aborts when data come, ResetAtOnce at accept; CloseNever leaves the connection for ever.
const (
	CloseAfterPeer AppClose = iota
	CloseAtOnce
	CloseOnData
	ResetOnData
	ResetAtOnce
	CloseNever
)

func (c AppClose) String() string {
	names := [...]string{"after_peer", "at_once", "on_data", "reset_on_data", "reset_at_once", "never"}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// app is the application of a connection.
func (c *conn) app() *App {
	if n := uint64(len(c.l.Each)); n > 0 {
		return &c.l.Each[hashFlow(c.h.Clock.Seed+5, c.flow)%n]
	}
	return &c.l.App
}

// accept takes a connection off the queue when the application comes to it.
func (l *Listener) accept(c *conn) {
	app := c.app()
	if app.Never {
		return
	}
	w := c.hop.path.w
	if app.Every == 0 {
		l.Queued--
		c.accept()
		return
	}
	l.busyUntil = max(l.busyUntil, w.now) + app.Every
	w.After(l.busyUntil-w.now, func() {
		l.Queued--
		c.accept()
	})
}

func (c *conn) accept() {
	c.accepted = true
	a := c.app()
	if len(a.Greeting) == 0 && a.Close != CloseAtOnce && a.Close != ResetAtOnce {
		c.serve()
		return
	}
	c.hop.path.w.After(a.Delay, func() {
		if c.state == gone {
			return
		}
		if a.Close == ResetAtOnce {
			c.abort()
			return
		}
		c.pending = append(c.pending, a.Greeting...)
		c.close = c.close || a.Close == CloseAtOnce
		c.push()
		c.serve()
	})
}

// serve lets the application react to the first data, once it has accepted.
func (c *conn) serve() {
	if !c.accepted || !c.hasData || c.served {
		return
	}
	c.served = true
	a := c.app()
	c.hop.path.w.After(a.Delay, func() {
		if c.state == gone {
			return
		}
		if a.Close == ResetOnData {
			c.abort()
			return
		}
		c.pending = append(c.pending, a.Reply...)
		c.close = c.close || a.Close == CloseOnData
		c.push()
	})
}
