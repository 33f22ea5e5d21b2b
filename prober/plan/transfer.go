package plan

import "time"

// Way is what is exchanged in a data phase.
type Way uint8

// Get and Post are HTTP/1.1 requests without TLS: the answer's octets come to us, or a body of ours leaves. Echo sends octets and expects
// them back; Sink sends them and expects no more than that they are acknowledged; Source waits for what the server sends by itself.
const (
	WayUnknown Way = iota
	Get
	Post
	Echo
	Sink
	Source
)

// Ways lists them.
func Ways() []Way { return []Way{Get, Post, Echo, Sink, Source} }

func (w Way) String() string {
	switch w {
	case Get:
		return "http"
	case Post:
		return "post"
	case Echo:
		return "echo"
	case Sink:
		return "sink"
	case Source:
		return "source"
	case WayUnknown:
	}
	return "unknown"
}

// Sends reports whether the bulk of the octets, or half of it, leaves us.
func (w Way) Sends() bool { return w == Post || w == Echo || w == Sink }

// Receives reports whether the bulk of the octets, or half of it, comes to us.
func (w Way) Receives() bool { return w == Get || w == Echo || w == Source }

// Transfer is the data phase of one connection.
type Transfer struct {
	Way Way
	// Host and Path of an HTTP request.
	Host, Path string
	// Bytes is the most payload of the bulk each way, in octets.
	Bytes int64
	// Congestion is the congestion control of our side (TCP_CONGESTION); empty: the host's.
	Congestion string
	// Pace bounds what we send, in octets a second (SO_MAX_PACING_RATE); 0: nothing does.
	Pace int64
	// Buffer bounds what can be in flight towards us, in octets (SO_RCVBUF); 0: the host's.
	Buffer int
	// MSS is the most that we send and announce of a segment (TCP_MAXSEG); 0: what the route gives.
	MSS int
	// Patience is how long it may stand still before it is given up.
	Patience time.Duration
}
