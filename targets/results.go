package targets

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Results is where and how long rounds are kept.
type Results struct {
	Path      string // of the file; empty: in memory
	MaxAge    time.Duration
	PointsAge time.Duration // of single connections and captures
	MaxSize   int64         // octets; 0: 1 GiB in a file, 64 MiB in memory
	// Captures: the frames of scheduled rounds that went wrong are kept.
	Captures bool
}

// Bounds of results.
const (
	minAge     = time.Minute
	maxAge     = 10 * 365 * 24 * time.Hour
	minSize    = 1 << 20
	maxSize    = 1 << 44
	defaultAge = 30 * 24 * time.Hour
	pointsAge  = 48 * time.Hour
)

func defaultResults() Results {
	return Results{MaxAge: defaultAge, PointsAge: pointsAge, Captures: true}
}

func (c *Config) readResults(root *section) {
	s, _ := root.section("results")
	r := &c.results
	s.str("path", &r.Path)
	s.duration("max_age", &r.MaxAge, minAge, maxAge)
	s.duration("points_age", &r.PointsAge, minAge, maxAge)
	s.boolean("captures", &r.Captures)
	var size string
	if s.str("max_size", &size) {
		n, err := ParseSize(size)
		if err != nil {
			s.doc.fail(s.place("max_size"), "%v", err)
		}
		r.MaxSize = n
	}
	s.done()
}

// Results is where and how long rounds are kept.
func (c *Config) Results() Results { return c.results }

// ParseSize reads an amount of octets as Prometheus writes it, "512MB" or "2GiB": the units B, KB, MB, GB, TB and those with an i are powers of
// 1,024. It is an error below 1 MiB and above 16 TiB.
func ParseSize(s string) (int64, error) {
	number, octets := strings.CutSuffix(s, "B")
	number, binary := strings.CutSuffix(number, "i")
	shift := 0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("KMGT", number[n-1]); i >= 0 {
			number, shift = number[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 0 || strings.HasPrefix(number, "+") || !octets || binary && shift == 0 {
		return 0, fmt.Errorf("%q is no size; write it with a unit, such as 512MB or 2GB", short(s))
	}
	if v > maxSize>>shift || v<<shift < minSize {
		return 0, fmt.Errorf("%s is not within 1MB to 16TB", s)
	}
	return v << shift, nil
}

// spellSize is the other way round.
func spellSize(n int64) string {
	for i, unit := range []string{"TB", "GB", "MB", "KB"} {
		if shift := 40 - 10*i; n>>shift<<shift == n {
			return strconv.FormatInt(n>>shift, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
