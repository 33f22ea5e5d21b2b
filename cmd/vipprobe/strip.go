package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// mark is one attempt in one character: a dot for accepted at once, the number of repeats for a stall, a letter for the rest.
func mark(a *observe.Attempt) byte {
	switch a.Outcome {
	case observe.Accepted:
		switch {
		case a.Late == observe.LateSlow:
			return 's'
		case a.Retransmissions == 0:
			return '.'
		case a.Retransmissions < 10:
			return byte('0' + a.Retransmissions)
		}
		return '+'
	case observe.Refused:
		return 'R'
	case observe.Reset:
		return 'X'
	case observe.TimedOut:
		return 'T'
	case observe.Unreachable:
		return 'U'
	case observe.LocalDrop:
		return 'L'
	case observe.NotSent:
		return '-'
	case observe.OutcomeUnknown:
	}
	return '?'
}

// marksOf is a character for each attempt.
func marksOf(attempts []*observe.Attempt) string {
	var b strings.Builder
	for _, a := range attempts {
		b.WriteByte(mark(a))
	}
	return b.String()
}

// legend explains the marks that occur.
func legend(marks string) string {
	var parts []string
	for _, l := range []struct{ set, text string }{
		{".", ". at once"}, {"123456789+", "1-9 SYNs repeated"}, {"s", "s slow answer"}, {"R", "R refused"}, {"X", "X reset"},
		{"T", "T timed out"}, {"U", "U unreachable"}, {"L", "L never left this host"}, {"-", "- not sent"}, {"?", "? interrupted"},
	} {
		if strings.ContainsAny(marks, l.set) {
			parts = append(parts, l.text)
		}
	}
	return strings.Join(parts, ", ")
}

// shorten keeps marks within width characters: those of a large burst are counted, in the order in which they first occur.
func shorten(marks string, width int) string {
	if len(marks) <= width {
		return marks
	}
	var parts []string
	for rest := marks; rest != ""; {
		m := rest[:1]
		parts = append(parts, fmt.Sprintf("%d×%s", strings.Count(rest, m), m))
		rest = strings.ReplaceAll(rest, m, "")
	}
	return strings.Join(parts, " ")
}

// The strip's axis: logarithmic from 10 µs to 100 s, so that the 1, 3 and 7 s bands have their place.
const (
	stripWidth = 60
	stripFrom  = 1e-5
	stripTo    = 1e2
)

func stripColumn(d time.Duration) int {
	x := math.Log10(max(d.Seconds(), stripFrom)/stripFrom) / math.Log10(stripTo/stripFrom)
	return min(stripWidth-1, int(x*stripWidth))
}

// stripAxis labels the decades and the bands of SYN repeats.
func stripAxis() string {
	line := []rune(strings.Repeat("-", stripWidth))
	for _, l := range []struct {
		at   time.Duration
		text string
	}{{10 * time.Microsecond, "10µs"}, {100 * time.Microsecond, "|100µs"}, {time.Millisecond, "|1ms"}, {10 * time.Millisecond, "|10ms"},
		{100 * time.Millisecond, "|100ms"}, {time.Second, "|1s"}, {3 * time.Second, "|3"}, {7 * time.Second, "|7"}, {15 * time.Second, "|15s"}} {
		copy(line[stripColumn(l.at):], []rune(l.text))
	}
	return string(line)
}

// strip counts answered handshakes by duration: a digit a column, + from ten on. Empty: none was answered.
func strip(attempts []*observe.Attempt) string {
	var counts [stripWidth]int
	for _, a := range attempts {
		if a.Outcome == observe.Accepted || a.Outcome == observe.Refused {
			counts[stripColumn(waited(a))]++
		}
	}
	line := []byte(strings.Repeat(" ", stripWidth))
	for i, n := range counts {
		switch {
		case n == 0:
		case n < 10:
			line[i] = byte('0' + n)
		default:
			line[i] = '+'
		}
	}
	return strings.TrimRight(string(line), " ")
}

// waited is how long whoever connected had to wait: by the kernel's own clock for a kernel connect, else by the tap.
func waited(a *observe.Attempt) time.Duration {
	if k := a.Kernel; k != nil && !k.Completed.IsZero() {
		return max(k.Completed.Sub(k.Started), a.Handshake)
	}
	return a.Handshake
}

// slowest is the longest wait of an answered attempt; 0: none was answered.
func slowest(attempts []*observe.Attempt) time.Duration {
	var most time.Duration
	for _, a := range attempts {
		if a.Outcome == observe.Accepted || a.Outcome == observe.Refused {
			most = max(most, waited(a))
		}
	}
	return most
}

// short is a duration to three digits, to the millisecond from a second on.
func short(d time.Duration) string {
	if d >= time.Second {
		return d.Round(time.Millisecond).String()
	}
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}
