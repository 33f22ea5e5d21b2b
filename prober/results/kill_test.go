package results

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var kills = flag.Int("kills", 20, "how often TestKill kills a writer; with more than 20 it also holds it to 100 ms")

// childEnv names the file that a killed child writes.
const childEnv = "VIPPROBE_RESULTS_CHILD"

// TestMain is the child's program too.
func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		fmt.Fprintln(os.Stderr, child(path))
		os.Exit(1)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// perRound is how many connections each of the child's rounds has.
const perRound = 3

// child adds rounds until it is killed, and says which number each has and when it was taken, and from time to time up to which all were written.
func child(path string) error {
	s, err := Open(context.Background(), Options{Path: path, every: 10 * time.Millisecond, OnError: func(err error) { fmt.Fprintln(os.Stderr, err) }})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	began := base()
	for n := 1; ; n++ {
		id, ok := s.Add(entryAt(vip, began.Add(time.Duration(n)*time.Second/4), perRound, true))
		if !ok {
			n--
			continue
		}
		fmt.Fprintln(out, "added", id, time.Now().UnixNano())
		if n%50 == 0 {
			if err := s.Flush(context.Background()); err != nil {
				return err
			}
			fmt.Fprintln(out, "flushed", id, time.Now().UnixNano())
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// told is what a child said before it was killed.
type told struct {
	added   []int64
	at      []time.Time
	flushed int64
	killed  time.Time
}

// killed runs a child on a file for a while and kills it.
func killed(t *testing.T, path string, life time.Duration) told {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said told
	lines := bufio.NewScanner(stdout)
	began := false
	kill := make(chan time.Time, 1)
	for lines.Scan() {
		if !began {
			began = true
			time.AfterFunc(life, func() {
				kill <- time.Now()
				_ = cmd.Process.Kill()
			})
		}
		word, rest, _ := strings.Cut(lines.Text(), " ")
		id, at, whole := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(id, 10, 64)
		ns, err2 := strconv.ParseInt(at, 10, 64)
		switch {
		case !whole || err != nil || err2 != nil: // cut off by the kill
		case word == "added":
			said.added, said.at = append(said.added, n), append(said.at, time.Unix(0, ns))
		case word == "flushed":
			said.flushed = n
		}
	}
	_ = cmd.Wait() // killed
	select {
	case said.killed = <-kill:
	default:
		t.Fatalf("the child ended by itself: %s", complaints.String())
	}
	if complaints.Len() > 0 {
		t.Errorf("the child complained: %s", complaints.String())
	}
	return said
}

// TestKill kills a writer at random moments, again and again on one file: it is whole, what was flushed is there, of what was added a beginning
// without gaps, and the figures are those of the rounds that are there, each counted once.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var rounds, worst int64
	for range *kills {
		said := killed(t, path, time.Duration(random.Int64N(int64(200*time.Millisecond))))
		s := open(t, Options{Path: path, every: time.Hour})
		check(t, s.w)
		kept := map[int64]bool{}
		list, _, err := s.Reader().Rounds(t.Context(), Filter{}, Cursor{}, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			kept[list[i].ID] = true
		}
		rounds = int64(len(list))
		for i, id := range said.added {
			switch {
			case kept[id]:
				if i > 0 && !kept[said.added[i-1]] {
					t.Errorf("round %d is there, the one before it is not", id)
				}
			case id <= said.flushed:
				t.Errorf("round %d is lost, which was flushed", id)
			default:
				worst = max(worst, int64(said.killed.Sub(said.at[i])))
			}
		}
		var attempts uint64
		for _, b := range history(t, s.Reader(), time.Hour, 0).Buckets {
			attempts += b.Figures.Attempts
		}
		if attempts != uint64(rounds)*perRound {
			t.Errorf("the figures hold %d connections; the %d rounds have %d", attempts, rounds, rounds*perRound)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d rounds kept; the oldest that was lost was taken %s before", *kills, rounds, time.Duration(worst))
	if *kills > 20 && worst > int64(100*time.Millisecond) {
		t.Errorf("a round was lost that had been taken %s before the kill", time.Duration(worst))
	}
}
