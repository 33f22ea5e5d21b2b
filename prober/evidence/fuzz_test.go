package evidence

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// FuzzDecode: whatever a file holds, reading it ends in an error or in observations that are the same when written and read again, and that
// the rules can judge and the capture can show.
func FuzzDecode(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.json")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(b, 1<<24)
		if err != nil {
			return
		}
		first, err := Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(first)
		if err != nil {
			t.Fatalf("%v in what was read and written:\n%s", err, first)
		}
		if diff := cmp.Diff(s, again, cmp.Comparer(sameOptions), cmp.Comparer(sameAddr), cmp.Comparer(sameAddrPort)); diff != "" {
			t.Fatal(diff)
		}
		Number(s.Rounds)
		if err := WriteCapture(discard{}, Origin{}, s.Rounds); err != nil {
			t.Fatal(err)
		}
		for i := range s.Rounds {
			diagnose.Diagnose(diagnose.Input{Observations: s.Rounds[i].Observations, Ladder: s.Rounds[i].Ladder})
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
