package minute

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// Outcomes is how many outcomes there are, the unknown one included. Their numbers are part of what is stored.
const Outcomes = int(observe.LocalDrop) + 1

// Figures count what a target's connections came to. The zero value is of nothing.
type Figures struct {
	Rounds, Failed, Errors uint64 // Failed: without success; Errors: where nothing could be probed
	Attempts, Stalled      uint64
	Retransmissions        uint64
	CaptureDrops           uint64
	Outcomes               [Outcomes]uint64
	Handshakes             Sketch // of accepted connections, from the first SYN to the answer
}

// Merge adds other figures.
func (f *Figures) Merge(o *Figures) {
	mine, theirs := f.counters(), o.counters()
	for i := range mine {
		*mine[i] += *theirs[i]
	}
	f.Handshakes.Merge(&o.Handshakes)
}

// counters are the plain counts in the order in which they are stored.
func (f *Figures) counters() []*uint64 {
	all := []*uint64{&f.Rounds, &f.Failed, &f.Errors, &f.Attempts, &f.Stalled, &f.Retransmissions, &f.CaptureDrops}
	for i := range f.Outcomes {
		all = append(all, &f.Outcomes[i])
	}
	return all
}

// Note counts one connection.
func (f *Figures) Note(p *Point) {
	f.Attempts++
	if p.Stalled {
		f.Stalled++
	}
	f.Outcomes[min(int(p.Outcome), Outcomes-1)]++
	if p.Outcome == observe.Accepted && p.Handshake > 0 {
		f.Handshakes.Add(p.Handshake)
	}
}

// Append encodes the figures behind b: the number of counts, the counts, then the sketch, all as unsigned varints.
func (f *Figures) Append(b []byte) []byte {
	counters := f.counters()
	b = binary.AppendUvarint(b, uint64(len(counters)))
	for _, c := range counters {
		b = binary.AppendUvarint(b, *c)
	}
	s := &f.Handshakes
	b = binary.AppendUvarint(b, uint64(len(s.cells)))
	if len(s.cells) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, s.min)
	b = binary.AppendUvarint(b, s.max)
	last := uint16(0)
	for _, c := range s.cells {
		b = binary.AppendUvarint(b, uint64(c.bucket-last))
		b = binary.AppendUvarint(b, c.n)
		last = c.bucket
	}
	return b
}

// errCut and errBad are what is wrong with octets that none of the Append methods wrote.
var (
	errCut = errors.New("it ends early")
	errBad = errors.New("it holds a number that is out of range")
)

// reader takes unsigned varints off octets; the first error stays.
type reader struct {
	b   []byte
	err error
}

func (r *reader) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errCut)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) octet() byte {
	if len(r.b) == 0 {
		r.fail(errCut)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// ParseFigures decodes what Append wrote, by this version or an older one with fewer counts; counts of a newer one are left out. It returns
// what follows.
func ParseFigures(b []byte) (Figures, []byte, error) {
	var f Figures
	r := &reader{b: b}
	counters := f.counters()
	n := r.next()
	if n > 1<<10 {
		return Figures{}, nil, errBad
	}
	for i := range n {
		if v := r.next(); i < uint64(len(counters)) {
			*counters[i] = v
		}
	}
	f.Handshakes.read(r)
	if r.err != nil {
		return Figures{}, nil, r.err
	}
	return f, r.b, nil
}

func (s *Sketch) read(r *reader) {
	n := r.next()
	if n == 0 || r.err != nil {
		return
	}
	if n > lastBucket+1 {
		r.fail(errBad)
		return
	}
	s.min, s.max = r.next(), r.next()
	bucket := uint64(0)
	for i := range n {
		step, count := r.next(), r.next()
		bucket += step
		if step > lastBucket || bucket > lastBucket || i > 0 && step == 0 || count == 0 {
			r.fail(errBad)
			return
		}
		s.cells = append(s.cells, cell{uint16(bucket), count})
		s.count += count
	}
	if s.min > s.max || s.max > uint64(1<<63-1)/uint64(time.Microsecond) {
		r.fail(errBad)
	}
}
