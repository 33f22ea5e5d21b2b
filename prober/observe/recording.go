package observe

import (
	"time"
)

// Recording is what was kept of a burst's own traffic: its flows both ways, the ICMP errors that quote them, and the ARP or ND frames of its
// next hop. Frames of others are never in it. Rules do not read it; it is evidence for people.
type Recording struct {
	// Snap is the most octets kept of one frame, link header included.
	Snap int
	// Frames in the order in which the tap gave them.
	Frames []Frame
	// Over is how many frames more there were than the recording's bound permits: they are not in Frames.
	Over int
	// Devices name the interfaces of the frames, as far as they could still be looked up.
	Devices []Device
}

// Device is an interface by number and name.
type Device struct {
	IfIndex int
	Name    string
}

// Frame is one frame as the tap saw it, cut behind its headers.
type Frame struct {
	At       time.Time // kernel's wall clock
	Outgoing bool
	IfIndex  int
	// Attempt is the index of the attempt that it belongs to; −1: none, a neighbour frame.
	Attempt int
	// Bare is true where the device has no link header, or one that is not Ethernet's: Data begins with the IP header.
	Bare bool
	// Orig is how many octets the frame had on the wire.
	Orig int
	Data []byte
	// Number is the frame's place in the capture file that it was written to, from 1; 0: in none.
	Number int
}

// Numbers finds the frame numbers of one observation's segments.
type Numbers struct {
	at map[sight]int
	of map[int][]int
}

// sight is what tells the segments of one observation apart: no flow shows two the same way at the same nanosecond.
type sight struct {
	attempt  int
	at       int64
	outgoing bool
}

// NumbersOf reads the numbers that the frames of o were given; there are none where nothing was recorded or nothing written.
func NumbersOf(o *Observation) Numbers {
	n := Numbers{at: map[sight]int{}, of: map[int][]int{}}
	if o.Recorded == nil {
		return n
	}
	for i := range o.Recorded.Frames {
		f := &o.Recorded.Frames[i]
		if f.Number <= 0 {
			continue
		}
		n.at[sight{f.Attempt, f.At.UnixNano(), f.Outgoing}] = f.Number
		n.of[f.Attempt] = append(n.of[f.Attempt], f.Number)
	}
	return n
}

// Segment is the number of the frame that attempt i sent or received at that moment; 0: none was kept.
func (n Numbers) Segment(i int, at time.Time, outgoing bool) int {
	if at.IsZero() {
		return 0
	}
	return n.at[sight{i, at.UnixNano(), outgoing}]
}

// Attempt lists the numbers of all frames of attempt i, as they were captured; of the neighbour frames for −1.
func (n Numbers) Attempt(i int) []int { return n.of[i] }

// Neighbor is the number of the neighbour frame of that moment; 0: none was kept.
func (n Numbers) Neighbor(e *NeighborEvent) int { return n.Segment(-1, e.At, e.Outgoing) }
