package results

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// shards cut what is folded at once into pieces that hold the writer up for some milliseconds each.
const shards = 16

// cell names one minute of one series.
type cell struct {
	minute int64 // since 1970
	series int64
}

// id is the row of minutes and points.
func (c cell) id() int64 { return c.minute<<seriesBits | c.series }

// seriesBits are the low bits of an id of minutes and points.
const seriesBits = 32

func cellOf(id int64) cell { return cell{id >> seriesBits, id & (1<<seriesBits - 1)} }

func minuteOf(t time.Time) int64 {
	const minute = int64(time.Minute)
	n := t.UnixNano()
	if n < 0 {
		return 0 // before 1970 nothing was probed
	}
	return n / minute
}

func beginOf(m int64) time.Time { return time.Unix(m*60, 0) }

// sum is what one cell came to so far.
type sum struct {
	figures minute.Figures
	points  []byte // as minute.AppendPoints has it
}

func (s *sum) merge(o *sum) {
	s.figures.Merge(&o.figures)
	s.points = append(s.points, o.points...)
}

// fold holds the sums of the minutes that are not rows yet. What the journal holds and what it holds are the same.
type fold struct {
	// gate is held while sums become rows, so that who reads both sees each once. It is taken before a connection of the database.
	gate sync.RWMutex
	mu   sync.Mutex // guards sums
	sums map[cell]*sum
}

func newFold() *fold { return &fold{sums: map[cell]*sum{}} }

// add adds rounds that are in the journal.
func (f *fold) add(lines []line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range lines {
		l := &lines[i]
		have := f.sums[l.cell]
		if have == nil {
			have = &sum{}
			f.sums[l.cell] = have
		}
		have.figures.Merge(&l.figures)
		have.points = append(have.points, l.points...)
	}
}

// of copies the sums of a series' minutes from … up to, but not with, to.
func (f *fold) of(series map[int64]bool, from, to int64) map[cell]*sum {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[cell]*sum{}
	for c, have := range f.sums {
		if series[c.series] && c.minute >= from && c.minute < to {
			x := &sum{points: slices.Clone(have.points)}
			x.figures.Merge(&have.figures)
			out[c] = x
		}
	}
	return out
}

// piece is a minute and a shard of the series: what is folded in one transaction.
type piece struct {
	minute int64
	shard  int64
}

// due lists the pieces whose minute was over at a time, the oldest first.
func (f *fold) due(over time.Time) []piece {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[piece]bool{}
	var out []piece
	for c := range f.sums {
		p := piece{c.minute, c.series % shards}
		if !seen[p] && beginOf(c.minute+1).Before(over) {
			seen[p] = true
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b piece) int { return int(a.minute-b.minute)*shards + int(a.shard-b.shard) })
	return out
}

// take returns the sums of a piece; they stay until drop.
func (f *fold) take(p piece) map[cell]*sum {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[cell]*sum{}
	for c, have := range f.sums {
		if c.minute == p.minute && c.series%shards == p.shard {
			out[c] = have
		}
	}
	return out
}

func (f *fold) drop(cells map[cell]*sum) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range cells {
		delete(f.sums, c)
	}
}

// line is one round in the journal.
type line struct {
	cell
	figures minute.Figures
	points  []byte
}

// appendLine encodes a line behind b; its minute is the journal row's.
func appendLine(b []byte, l *line) []byte {
	b = binary.AppendUvarint(b, uint64(l.series))
	var f [128]byte
	figures := l.figures.Append(f[:0])
	b = binary.AppendUvarint(b, uint64(len(figures)))
	b = append(b, figures...)
	b = binary.AppendUvarint(b, uint64(len(l.points)))
	return append(b, l.points...)
}

var errJournal = errors.New("a length leads past its end")

// parseLines decodes a journal row.
func parseLines(m int64, b []byte) ([]line, error) {
	var out []line
	next := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return 1 << 62
		}
		b = b[n:]
		return v
	}
	part := func() ([]byte, error) {
		n := next()
		if n > uint64(len(b)) {
			return nil, errJournal
		}
		p := b[:n]
		b = b[n:]
		return p, nil
	}
	for len(b) > 0 {
		l := line{cell: cell{m, int64(next())}}
		figures, err := part()
		if err != nil {
			return out, err
		}
		if l.figures, _, err = minute.ParseFigures(figures); err != nil {
			return out, fmt.Errorf("figures: %w", err)
		}
		if l.points, err = part(); err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}
