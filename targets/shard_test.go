package targets

import (
	"fmt"
	"testing"
)

// The values are those of Prometheus' own test of hashmod (model/relabel/relabel_test.go, v0.315).
func TestHashModIsPrometheus(t *testing.T) {
	for joined, c := range map[string]struct{ mod, want uint64 }{
		"baz":      {1000, 976},
		"foo\nbar": {1000, 734},
	} {
		if got := HashMod(joined, c.mod); got != c.want {
			t.Errorf("%q mod %d: %d, want %d", joined, c.mod, got, c.want)
		}
	}
}

// Every target belongs to exactly one shard, and none has much more than its share.
func TestShardsShareAll(t *testing.T) {
	const n, shards = 10000, 7
	var have [shards]int
	j := Job{}
	for i := range n {
		j.Targets = append(j.Targets, fmt.Sprintf("10.0.%d.%d:443", i/250, i%250))
	}
	seen := map[string]int{}
	for i := range shards {
		for _, target := range (Shard{i, shards}).Of(j).Targets {
			have[i]++
			seen[target]++
		}
	}
	for _, target := range j.Targets {
		if seen[target] != 1 {
			t.Fatalf("%s is in %d shards", target, seen[target])
		}
	}
	for i, h := range have {
		if h < n/shards*8/10 || h > n/shards*12/10 {
			t.Errorf("shard %d has %d of %d", i, h, n)
		}
	}
	if got := (Shard{}).Of(j); len(got.Targets) != n {
		t.Errorf("without shards: %d targets", len(got.Targets))
	}
}

func TestParseShard(t *testing.T) {
	if s, err := ParseShard("2/3"); err != nil || s != (Shard{2, 3}) {
		t.Errorf("%+v %v", s, err)
	}
	for _, bad := range []string{"", "3/3", "-1/3", "1", "1/0", "a/b", "1/2/3", "0/10001"} {
		if s, err := ParseShard(bad); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}
