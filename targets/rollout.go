package targets

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

// Rollout is a file of candidates and the policy that they must meet.
type Rollout struct {
	Name       string // of the file
	Candidates []RolloutCandidate
	Checks     []RolloutCheck
	// Vantages measure as well, each candidate and, where they are candidates themselves, the Pool of old hosts.
	Vantages []RolloutVantage
	Pool     []RolloutCandidate
	// Baseline is a host or a stored profile; empty: none.
	Baseline string
	// Connects is how many at least are made to each; 0: as many as the checks need.
	Connects int
	Burst    int
	Parallel int
	Seconds  float64
	// Request is Profile.Request as it is written.
	Request string
	// Profile permits what can disturb a host. Backlog, Queue, Request, MayPrime and Patience are of the file.
	Profile prober.ProfileOptions
}

// RolloutCandidate is a host and where it stands in the file.
type RolloutCandidate struct {
	Target       string
	Line, Column int
}

// RolloutCheck is a check and where it stands in the file.
type RolloutCheck struct {
	rollout.Check
	Line, Column int
}

// Bounds of a rollout.
const (
	maxCandidates   = 10_000
	rolloutParallel = 8
	rolloutSeconds  = 120
)

// LoadRollout reads the file at path. The error is Errors where the file could be read.
func LoadRollout(path string) (*Rollout, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the rollout: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the rollout %s: %w", path, err)
	}
	return ParseRollout(path, text)
}

// ParseRollout reads a rollout; name is the file's name in messages. The error is Errors.
func ParseRollout(name string, text []byte) (*Rollout, error) {
	d := &document{file: name}
	r := &Rollout{Name: name, Burst: 10, Parallel: rolloutParallel, Seconds: rolloutSeconds}
	if root := d.open(text); root != nil {
		r.read(root)
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	return r, nil
}

func (r *Rollout) read(root *section) {
	r.readCandidates(root)
	root.str("baseline", &r.Baseline)
	root.integer("connects", &r.Connects, 1, rollout.MaxConnects)
	root.integer("burst", &r.Burst, 1, 1000)
	root.integer("parallel", &r.Parallel, 1, 64)
	root.number("max_seconds", &r.Seconds, 1, 3600)
	r.readMeasure(root)
	r.readChecks(root)
	r.readVantages(root)
	r.readPool(root)
	root.done()
}

func (r *Rollout) readCandidates(root *section) {
	seen := map[string]bool{}
	for _, it := range root.list("candidates") {
		v, ok := it.text()
		if !ok {
			continue
		}
		e, err := prober.ParseEndpoint(v)
		switch {
		case err != nil:
			it.doc.fail(it.at, "%v", err)
		case seen[e.String()]:
			it.doc.fail(it.at, "%s stands twice", e)
		case len(r.Candidates) == maxCandidates:
			it.doc.fail(it.at, "more than %d candidates", maxCandidates)
			return
		default:
			seen[e.String()] = true
			r.Candidates = append(r.Candidates, RolloutCandidate{e.String(), it.at.line, it.at.column})
		}
	}
	if len(seen) == 0 && !root.has("candidates") {
		root.doc.fail(root.at, "no candidates")
	}
}

// readMeasure reads what is permitted beyond what disturbs nobody.
func (r *Rollout) readMeasure(root *section) {
	s, _ := root.section("measure")
	o := &r.Profile
	s.duration("patience", &o.Patience, time.Second, profile.MostPatience)
	s.integer("backlog", &o.Backlog, 1, 1000)
	var queue bool
	if s.boolean("neighbor_queue", &queue); queue {
		o.Queue = &prober.NeighborQueueOptions{}
	}
	s.boolean("time_wait", &o.TimeWait)
	if s.boolean("overflow", &o.Overflow); o.Overflow && o.Backlog == 0 {
		s.doc.fail(s.place("overflow"), "it follows the measurement of backlog: N")
	}
	s.boolean("i_own_this_path", &o.MayPrime)
	var text string
	if s.str("request", &text) {
		var err error
		r.Request = text
		if o.Request, err = ParseRequest(text); err != nil {
			s.doc.fail(s.place("request"), "%v", err)
		}
	}
	if s.str("prime_with", &text) {
		var err error
		if o.Prime.With, err = experiment.ParseClosers(text); err != nil {
			s.doc.fail(s.place("prime_with"), "%v", err)
		}
	}
	s.done()
}

// ParseRequest reads what is sent to see an initial window: http, or text:STRING with \r \n \t. It must fit one small segment; "" is none.
func ParseRequest(s string) ([]byte, error) {
	switch text, isText := strings.CutPrefix(s, "text:"); {
	case s == "":
		return nil, nil
	case s == "http":
		return []byte("GET / HTTP/1.0\r\n\r\n"), nil
	case !isText || text == "":
		return nil, fmt.Errorf("%q: want http or text:STRING", s)
	case len(text) > 100:
		return nil, fmt.Errorf("%d octets: at most 100 fit the small segment that they are sent in", len(text))
	default:
		return []byte(strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t").Replace(text)), nil
	}
}

func (r *Rollout) readChecks(root *section) {
	for _, it := range root.list("checks") {
		text, ok := it.text()
		if !ok {
			continue
		}
		c, err := rollout.ParseCheck(text)
		if err != nil {
			it.doc.fail(it.at, "%v", err)
			continue
		}
		if why := r.lacking(&c); why != "" {
			it.doc.fail(it.at, "%s", why)
		}
		r.Checks = append(r.Checks, RolloutCheck{c, it.at.line, it.at.column})
	}
	if len(r.Checks) == 0 && !root.has("checks") {
		root.doc.fail(root.at, "no checks")
	}
}

// lacking says what a check needs that the file does not permit; empty: nothing.
func (r *Rollout) lacking(c *rollout.Check) string {
	if c.Subject == rollout.Baseline && r.Baseline == "" {
		return "there is no baseline"
	}
	if _, needs := c.Needs(); !needs {
		return ""
	}
	permitted := r.permitted(c.Name)
	if permitted.ok {
		return ""
	}
	return fmt.Sprintf("%s can disturb a host and is measured only with measure: {%s}", c.Name, permitted.key)
}

// permission is whether a file permits a measurement, and by which key of measure.
type permission struct {
	ok  bool
	key string
}

func (r *Rollout) permitted(n profile.Name) permission {
	o := &r.Profile
	switch n {
	case profile.NeighborQueue:
		return permission{o.Queue != nil, "neighbor_queue: true"}
	case profile.Backlog:
		return permission{o.Backlog > 0, "backlog: N"}
	case profile.AbortOnOverflow:
		return permission{o.Overflow, "backlog: N, overflow: true"}
	case profile.PerHostPAWS:
		return permission{o.MayPrime, "i_own_this_path: true"}
	case profile.TimeWaitISN, profile.TimeWaitTimestamp, profile.TimeWaitOldISN, profile.TimeWaitOldStamp, profile.TimeWaitRST:
		return permission{o.TimeWait, "time_wait: true"}
	default: // all others that are opt-in want data
		return permission{len(o.Request) > 0, "request: http"}
	}
}
