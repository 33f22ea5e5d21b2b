// Package pools reads which VIPs a load balancer has and which real servers stand behind each, from the balancer's own configuration or listing, and
// writes them as targets for file discovery. It reads text, no more: what it does not understand is named by line, and never guessed.
package pools

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// Pool is one service of a balancer: the addresses that it is reached at, and what stands behind it.
type Pool struct {
	Name    string
	VIPs    []string // ADDR:PORT
	Members []string // HOST:PORT
}

// Note is something in a file that gives no target.
type Note struct {
	File string
	Line int
	Text string
}

// String is the note as editors find it.
func (n Note) String() string { return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text) }

// Formats lists what can be read.
func Formats() []string { return []string{"keepalived", "ipvs", "haproxy"} }

// Read reads one file of a format. The error says that the format is none of Formats.
func Read(format, file string, text []byte) ([]Pool, []Note, error) {
	r := &reader{file: file}
	switch format {
	case "keepalived":
		r.keepalived(string(text))
	case "ipvs":
		r.ipvs(string(text))
	case "haproxy":
		r.haproxy(string(text))
	default:
		return nil, nil, fmt.Errorf("%q is none of %s", format, strings.Join(Formats(), ", "))
	}
	slices.SortStableFunc(r.notes, func(a, b Note) int { return cmp.Compare(a.Line, b.Line) })
	return r.done(), r.notes, nil
}

// Group is what file discovery reads.
type Group struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// Groups are pools as targets: the VIP's addresses, and its members.
func Groups(pools []Pool) []Group {
	out := []Group{}
	for _, p := range pools {
		for _, g := range []Group{{p.VIPs, map[string]string{targets.LabelRole: targets.RoleVIP}}, {p.Members, map[string]string{targets.LabelRole: targets.RoleMember}}} {
			if len(g.Targets) > 0 {
				g.Labels[targets.LabelVIP] = p.Name
				out = append(out, g)
			}
		}
	}
	return out
}

// reader is a file while it is being read.
type reader struct {
	file  string
	notes []Note
	pools []*Pool
}

func (r *reader) note(line int, format string, args ...any) {
	r.notes = append(r.notes, Note{r.file, line, fmt.Sprintf(format, args...)})
}

func (r *reader) begin(name string) *Pool {
	p := &Pool{Name: name}
	r.pools = append(r.pools, p)
	return p
}

// done are the pools that have a VIP or a member, each target in it once.
func (r *reader) done() []Pool {
	var out []Pool
	for _, p := range r.pools {
		p.VIPs, p.Members = once(p.VIPs), once(p.Members)
		if p.Name != "" && len(p.VIPs)+len(p.Members) > 0 {
			out = append(out, *p)
		}
	}
	return out
}

func once(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// line is one line of words, comments left out.
type line struct {
	at    int
	words []string
}

// lines splits a text; what follows one of the comment characters at the beginning of a word is left out, and { and } are words.
func lines(text, comments string, braces bool) (out []line) {
	at := 0
	for l := range strings.Lines(text) {
		at++
		if braces {
			l = strings.NewReplacer("{", " { ", "}", " } ").Replace(l)
		}
		words := strings.Fields(l)
		for i, w := range words {
			if strings.ContainsAny(w[:1], comments) {
				words = words[:i]
				break
			}
		}
		if len(words) > 0 {
			out = append(out, line{at, words})
		}
	}
	return out
}

// short is a word of a file in a note.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.Quote(s)
}

// endpoint is an address and a port as a target, or why it is none.
func endpoint(host, port string) (string, error) {
	host = strings.Trim(host, "[]")
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	e, err := prober.ParseEndpoint(host + ":" + port)
	if err != nil {
		return "", err
	}
	return e.String(), nil
}

// wild reports whether an address stands for all of the balancer's own.
func wild(host string) bool {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "" || host == "*" || err == nil && a.IsUnspecified()
}
