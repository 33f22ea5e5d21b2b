package evidence

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// placed is one frame of the capture file: where it was recorded first.
type placed struct {
	round, burst int
	obs          *observe.Observation
	frame        *observe.Frame
}

// order puts the frames of all rounds in order of time, as they stand in the file. A neighbour frame that concerned several bursts at the same
// time is one frame of the file; each of them has its number.
func order(rounds []Round) (file []placed, same map[*observe.Frame][]*observe.Frame) {
	for i := range rounds {
		for k := range rounds[i].Observations {
			o := &rounds[i].Observations[k]
			if o.Recorded == nil {
				continue
			}
			for n := range o.Recorded.Frames {
				file = append(file, placed{i, k, o, &o.Recorded.Frames[n]})
			}
		}
	}
	slices.SortStableFunc(file, func(a, b placed) int { return cmp.Compare(a.frame.At.UnixNano(), b.frame.At.UnixNano()) })
	same = map[*observe.Frame][]*observe.Frame{}
	out := file[:0]
	for _, p := range file {
		if first := twin(out, p.frame); first != nil {
			same[first] = append(same[first], p.frame)
			continue
		}
		out = append(out, p)
	}
	return out, same
}

// twin finds the neighbour frame at the end of file that is the same as f, or nil.
func twin(file []placed, f *observe.Frame) *observe.Frame {
	if f.Attempt >= 0 {
		return nil
	}
	for i := len(file) - 1; i >= 0 && file[i].frame.At.Equal(f.At); i-- {
		g := file[i].frame
		if g.Attempt < 0 && g.IfIndex == f.IfIndex && g.Outgoing == f.Outgoing && bytes.Equal(g.Data, f.Data) {
			return g
		}
	}
	return nil
}

// Number gives every frame of the rounds the number that it has in their capture file, from 1 in order of time, and returns how many the file
// holds. The same rounds always give the same numbers.
func Number(rounds []Round) int {
	file, same := order(rounds)
	for i, p := range file {
		p.frame.Number = i + 1
		for _, f := range same[p.frame] {
			f.Number = i + 1
		}
	}
	return len(file)
}

// Ranges turns frame numbers into runs of consecutive ones, both ends included, in order.
func Ranges(numbers []int) [][2]int {
	sorted := slices.Clone(numbers)
	slices.Sort(sorted)
	var out [][2]int
	for _, n := range slices.Compact(sorted) {
		if last := len(out) - 1; last >= 0 && out[last][1] == n-1 {
			out[last][1] = n
			continue
		}
		out = append(out, [2]int{n, n})
	}
	return out
}
