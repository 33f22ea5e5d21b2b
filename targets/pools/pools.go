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

// File is one file of a balancer's configuration.
type File struct {
	Name string
	Text []byte
}

// Options are what is known beside the files.
type Options struct {
	// Own are the balancer's addresses: what a VIP at every address, as *:443, is reached at. Without one of its family such a VIP is a note.
	Own []netip.Addr
	// Include gives the files that a pattern of an nginx configuration means; nil: only those that were given are known.
	Include func(pattern string) ([]File, error)
}

// Note is something in a file that gives no target, or not all that stands there.
type Note struct {
	File string
	Line int    // from 1
	Path string // in a file of nested values: as configs[1].static_listeners[0]
	Text string
}

// String is the note as editors find it.
func (n Note) String() string {
	if n.Path != "" {
		return fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.Path, n.Text)
	}
	return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text)
}

// Formats lists what can be read.
func Formats() []string {
	return []string{"keepalived", "ipvs", "haproxy", "nginx", "envoy", "f5-json", "elbv2-json"}
}

// Read reads the files of one format, which may refer to each other. The error says that the format is none of Formats.
func Read(format string, files []File, o Options) ([]Pool, []Note, error) {
	r := &reader{own: o.Own}
	switch format {
	case "keepalived":
		r.each(files, r.keepalived)
	case "ipvs":
		r.each(files, r.ipvs)
	case "haproxy":
		r.each(files, r.haproxy)
	case "nginx":
		r.nginx(files, o.Include)
	case "envoy":
		r.envoy(files)
	case "f5-json":
		r.f5(files)
	case "elbv2-json":
		r.elbv2(files)
	default:
		return nil, nil, fmt.Errorf("%q is none of %s", format, strings.Join(Formats(), ", "))
	}
	slices.SortStableFunc(r.notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(slices.Index(r.order, a.File), slices.Index(r.order, b.File)), cmp.Compare(a.Line, b.Line))
	})
	return r.done(), slices.Compact(r.notes), nil
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

// reader is files while they are being read.
type reader struct {
	own   []netip.Addr
	file  string   // the one that is read now
	order []string // the files with notes, as they came
	notes []Note
	pools []*Pool
}

// each reads files that do not refer to each other.
func (r *reader) each(files []File, read func(text string)) {
	for _, f := range files {
		r.file = f.Name
		read(string(f.Text))
	}
}

func (r *reader) note(line int, format string, args ...any) {
	r.noteAt(place{file: r.file, line: line}, format, args...)
}

func (r *reader) noteAt(p place, format string, args ...any) {
	if !slices.Contains(r.order, p.file) {
		r.order = append(r.order, p.file)
	}
	r.notes = append(r.notes, Note{File: p.file, Line: p.line, Path: p.path, Text: fmt.Sprintf(format, args...)})
}

func (r *reader) begin(name string) *Pool {
	p := &Pool{Name: name}
	r.pools = append(r.pools, p)
	return p
}

// done are the pools that have a VIP or a member, each target in it once, and each name of one pool: what shares a name is shown as one.
func (r *reader) done() []Pool {
	var out []Pool
	named := map[string]int{}
	for _, p := range r.pools {
		p.VIPs, p.Members = once(p.VIPs), once(p.Members)
		if p.Name == "" || len(p.VIPs)+len(p.Members) == 0 {
			continue
		}
		i, taken := named[p.Name]
		if taken && slices.Equal(out[i].VIPs, p.VIPs) {
			out[i].Members = once(append(out[i].Members, p.Members...))
			continue
		}
		name := p.Name
		for n := 2; taken; n++ {
			p.Name = fmt.Sprintf("%s (%d)", name, n)
			_, taken = named[p.Name]
		}
		named[p.Name] = len(out)
		out = append(out, *p)
	}
	return out
}

// once leaves the list as it is: two pools can have one.
func once(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
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

// vips are the targets of an address that a balancer listens at. There are several where it listens at every address, and none after a note.
func (r *reader) vips(p place, host, port string) []string {
	if !wild(host) {
		vip, err := endpoint(host, port)
		if err != nil {
			r.noteAt(p, "%v", err)
			return nil
		}
		return []string{vip}
	}
	six := strings.Contains(host, ":")
	var out []string
	for _, a := range r.own {
		if a.Unmap().Is6() != six {
			continue
		}
		vip, err := endpoint(a.Unmap().String(), port)
		if err != nil {
			r.noteAt(p, "%v", err)
			return nil
		}
		out = append(out, vip)
	}
	if len(out) == 0 {
		r.noteAt(p, "%s is every address of the balancer; which one is the VIP is not said here (--address says it)", short(cmp.Or(host, "*")+":"+port))
	}
	return out
}

// wild reports whether an address stands for all of the balancer's own.
func wild(host string) bool {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "" || host == "*" || err == nil && a.IsUnspecified()
}
