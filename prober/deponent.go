package prober

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// Deponent tells this host's own counters to who may ask: those of the network namespace of its threads. It only reads. It is safe for
// concurrent use, and reads no more often than 20 times a second however many ask.
type Deponent struct {
	procfs hostproc.Mount

	mu       sync.Mutex
	counters hostproc.Counters
	read     time.Time
	asked    map[uint16]asked
}

// asked is what is remembered of one port.
type asked struct {
	listeners []observe.ListenQueue
	at        time.Time // when they were listed
	counted   time.Time // when half-open connections were counted
}

// How old what is told may be. Counting half-open connections walks the whole table of connections.
const (
	countersAge  = 50 * time.Millisecond
	listenersAge = 50 * time.Millisecond
	halfOpenAge  = 450 * time.Millisecond
	mostPorts    = 256 // that are remembered
)

// NewDeponent makes one that reads from a procfs: "/proc", or where a host's own is mounted in a container. The error says why nothing can be read
// there.
func NewDeponent(procfs string) (*Deponent, error) {
	d := &Deponent{procfs: hostproc.Mount(procfs), asked: map[uint16]asked{}}
	if err := d.procfs.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

// Deposition is one reading.
type Deposition struct {
	Kernel    string
	Counters  map[string]int64 // shared: not to be changed
	Listeners []observe.ListenQueue
	Settings  map[string]string // sysctls by name, where they were asked for
	// Missing are sentences about what could not be read.
	Missing []string
}

// Testify takes a reading: the counters, the listeners of ports with their queues, and the settings where these are wanted. The error says that
// no counter could be read.
func (d *Deponent) Testify(_ context.Context, ports []uint16, settings bool) (Deposition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.read) > countersAge {
		c, err := d.procfs.Read()
		if err != nil {
			return Deposition{}, err
		}
		d.counters, d.read = c, now
	}
	out := Deposition{Kernel: d.procfs.Release(), Counters: d.counters.Values}
	if settings {
		out.Settings = d.procfs.Settings()
		if _, told := d.counters.Values["arp_cache.unresolved_discards"]; !told {
			out.Missing = append(out.Missing, "the neighbour tables' counters are not to be seen from this network namespace, or not with this kernel")
		}
	}
	for _, p := range ports {
		list, err := d.listeners(p)
		if err != nil {
			out.Missing = append(out.Missing, fmt.Sprintf("listeners of port %d: %v", p, err))
			continue
		}
		out.Listeners = append(out.Listeners, list...)
	}
	return out, nil
}

// listeners lists those of one port, from memory where that is fresh enough. Half-open connections are counted twice a second at most.
func (d *Deponent) listeners(port uint16) ([]observe.ListenQueue, error) {
	a, now := d.asked[port], time.Now()
	if now.Sub(a.at) <= listenersAge {
		return a.listeners, nil
	}
	count := now.Sub(a.counted) > halfOpenAge
	list, err := hostproc.Listeners([]uint16{port}, count)
	if err != nil {
		return nil, err
	}
	if count {
		a.counted = now
	}
	a.listeners, a.at = list, now
	if len(d.asked) >= mostPorts {
		clear(d.asked)
	}
	d.asked[port] = a
	return list, nil
}
