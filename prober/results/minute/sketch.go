package minute

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// Sketch counts durations in buckets whose width is at most a sixteenth of their lower edge, so that a quantile read from it is wrong by
// 3.2 % at most, above 16 µs; below, and at both ends, it is exact to the microsecond. The zero value is empty.
type Sketch struct {
	cells    []cell // by bucket, ascending, none empty
	count    uint64
	min, max uint64 // µs
}

type cell struct {
	bucket uint16
	n      uint64
}

// fine is how many buckets a doubling has, as a power of two.
const fine = 4

// bucketOf is the bucket of a duration in µs: the value itself below 2^fine; above, the exponent and the fine bits behind the first.
func bucketOf(us uint64) uint16 {
	if us < 1<<fine {
		return uint16(us)
	}
	e := bits.Len64(us) - fine - 1
	return uint16((e+1)<<fine + int(us>>e&(1<<fine-1)))
}

// middle is the middle of a bucket in µs.
func middle(b uint16) uint64 {
	if b < 1<<fine {
		return uint64(b)
	}
	e := int(b)>>fine - 1
	low := uint64(1<<fine+int(b)&(1<<fine-1)) << e
	return low + (1<<e)/2
}

// lastBucket is the bucket of the longest duration there is.
const lastBucket = (64-fine+1)<<fine - 1

// Add counts one duration; a negative one counts as zero.
func (s *Sketch) Add(d time.Duration) {
	us := uint64(max(d, 0).Round(time.Microsecond) / time.Microsecond)
	s.add(cell{bucketOf(us), 1})
	if s.count == 0 {
		s.min, s.max = us, us
	}
	s.min, s.max = min(s.min, us), max(s.max, us)
	s.count++
}

func (s *Sketch) add(c cell) {
	i, found := slices.BinarySearchFunc(s.cells, c.bucket, func(x cell, b uint16) int { return cmp.Compare(x.bucket, b) })
	if found {
		s.cells[i].n += c.n
		return
	}
	s.cells = slices.Insert(s.cells, i, c)
}

// Merge adds what another sketch counted.
func (s *Sketch) Merge(o *Sketch) {
	if o.count == 0 {
		return
	}
	if s.count == 0 {
		s.min, s.max = o.min, o.max
	}
	s.min, s.max = min(s.min, o.min), max(s.max, o.max)
	s.count += o.count
	for _, c := range o.cells {
		s.add(c)
	}
}

// Count is how many durations were added.
func (s *Sketch) Count() uint64 { return s.count }

// Quantile is the nearest rank of q, 0 to 1; false where nothing was counted. At 0 and 1 it is exact.
func (s *Sketch) Quantile(q float64) (time.Duration, bool) {
	if s.count == 0 {
		return 0, false
	}
	rank := uint64(max(0, min(1, q)) * float64(s.count))
	switch {
	case float64(rank) < q*float64(s.count): // the nearest rank rounds up
		rank++
	case rank == 0:
		rank = 1
	}
	us := s.max
	for _, c := range s.cells {
		if rank <= c.n {
			us = middle(c.bucket)
			break
		}
		rank -= c.n
	}
	if q <= 0 {
		us = s.min
	}
	if q >= 1 {
		us = s.max
	}
	return time.Duration(min(max(us, s.min), s.max)) * time.Microsecond, true
}
