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

// accept takes a connection off the queue when the application comes to it.
func (l *Listener) accept(c *conn) {
	if l.App.Never {
		return
	}
	w := c.hop.path.w
	if l.App.Every == 0 {
		l.Queued--
		c.accept()
		return
	}
	l.busyUntil = max(l.busyUntil, w.now) + l.App.Every
	w.After(l.busyUntil-w.now, func() {
		l.Queued--
		c.accept()
	})
}

func (c *conn) accept() {
	c.accepted = true
	a := &c.l.App
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
	a := &c.l.App
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
