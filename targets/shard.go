package targets

import (
	"crypto/md5" //nolint:gosec // it spreads targets as Prometheus does, and guards nothing
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Shard is one of several services that share the targets of one configuration. The zero value has all of them.
type Shard struct{ Index, Count int }

// maxShards is more than anybody runs.
const maxShards = 10000

// ParseShard reads INDEX/COUNT, the index from 0.
func ParseShard(s string) (Shard, error) {
	a, b, found := strings.Cut(s, "/")
	i, errI := strconv.Atoi(a)
	n, errN := strconv.Atoi(b)
	if !found || errI != nil || errN != nil || n < 1 || n > maxShards || i < 0 || i >= n {
		return Shard{}, fmt.Errorf("shard %q: want INDEX/COUNT with 0 ≤ INDEX < COUNT ≤ %d", s, maxShards)
	}
	return Shard{i, n}, nil
}

// Has reports whether a target belongs to the shard: the one that a relabelling with `action: hashmod` and `source_labels: [__address__]`
// gives it in Prometheus, so that both agree.
func (s Shard) Has(target string) bool {
	return s.Count <= 1 || HashMod(target, uint64(s.Count)) == uint64(s.Index)
}

// HashMod is Prometheus' hashmod of the source labels' values, joined by ";": the last eight octets of their MD5, big-endian, modulo
// (model/relabel/relabel.go, v0.315).
func HashMod(joined string, modulus uint64) uint64 {
	sum := md5.Sum([]byte(joined)) //nolint:gosec // see above
	return binary.BigEndian.Uint64(sum[8:]) % modulus
}

// Of returns a job with the targets of the shard alone.
func (s Shard) Of(j Job) Job {
	if s.Count <= 1 {
		return j
	}
	var mine []string
	for _, t := range j.Targets {
		if s.Has(t) {
			mine = append(mine, t)
		}
	}
	j.Targets = mine
	return j
}
