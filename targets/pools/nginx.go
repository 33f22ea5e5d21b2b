package pools

import (
	"path"
	"slices"
)

// nginx is its configuration while it is being read: what nginx -T prints, or files with those that they include.
type nginx struct {
	*reader
	files   map[string]File
	names   []string // of files
	read    map[string][]*directive
	taken   map[string]bool // files that another includes
	include func(string) ([]File, error)
	dir     string // what patterns of include are relative to: where the main file is

	brought int // directives by includes

	upstreams map[upstreamName]*directive
	groups    []nginxServer       // upstreams, as they came
	used      map[*directive]bool // upstreams
	servers   []nginxServer
	chosen    map[string]place // variables that a map, a split_clients or a set gives
}

// upstreamName is one of http or stream.
type upstreamName struct{ kind, name string }

// nginxServer is a server block, or an upstream. Its kind is http or stream; empty in a file that neither encloses.
type nginxServer struct {
	*directive
	kind string
}

func (r *reader) nginx(files []File, include func(string) ([]File, error)) {
	n := &nginx{reader: r, files: map[string]File{}, read: map[string][]*directive{}, taken: map[string]bool{}, include: include,
		upstreams: map[upstreamName]*directive{}, used: map[*directive]bool{}, chosen: map[string]place{}}
	for _, f := range files {
		for _, part := range dumped(f) {
			n.add(part)
		}
	}
	if len(n.names) > 0 {
		n.dir = path.Dir(n.names[0])
	}
	given := slices.Clone(n.names)
	for _, name := range given {
		if !n.taken[name] {
			n.taken[name] = true
			n.walk(n.directives(name), "", 0)
		}
	}
	n.serverPools()
	for _, u := range n.groups {
		if !n.used[u.directive] {
			n.begin(u.words[1]).Members = n.upstreamServers(u.kind, u.directive)
		}
	}
}

func (n *nginx) add(f File) {
	if _, dup := n.files[f.Name]; !dup {
		n.names = append(n.names, f.Name)
	}
	n.files[f.Name] = f
}

func (n *nginx) directives(name string) []*directive {
	if d, ok := n.read[name]; ok {
		return d
	}
	d := n.nginxDirectives(n.files[name])
	n.read[name] = d
	return d
}

// walk takes what is of a context: http, stream, or what is outside of both.
func (n *nginx) walk(list []*directive, kind string, depth int) {
	for _, d := range n.expand(list, depth) {
		if !d.open {
			continue
		}
		switch w := d.words; {
		case kind == "" && (w[0] == "http" || w[0] == "stream"):
			n.walk(d.block, w[0], depth)
		case w[0] == "mail":
			n.noteAt(d.place, "mail: its servers are not read")
		case w[0] == "upstream" && len(w) > 1:
			n.upstreams[upstreamName{kind, w[1]}] = d
			n.groups = append(n.groups, nginxServer{d, kind})
		case w[0] == "server":
			n.servers = append(n.servers, nginxServer{d, kind})
		case (w[0] == "map" || w[0] == "split_clients" || w[0] == "geo") && len(w) > 1:
			n.chosen[w[len(w)-1]] = d.place
		}
	}
}

// maxIncluded bounds the directives that includes bring: files can include each other.
const maxIncluded = 1 << 18

// expand are the directives with those of included files in the place of include.
func (n *nginx) expand(list []*directive, depth int) []*directive {
	var out []*directive
	for _, d := range list {
		if d.words[0] != "include" || d.open || len(d.words) < 2 {
			out = append(out, d)
			continue
		}
		if depth > 16 || n.brought > maxIncluded {
			n.noteAt(d.place, "include %s: deeper than 16, or more than %d directives; do these files include each other?", short(d.words[1]), maxIncluded)
			continue
		}
		for _, name := range n.included(d) {
			n.taken[name] = true
			more := n.directives(name)
			n.brought += len(more) + 1
			out = append(out, n.expand(more, depth+1)...)
		}
	}
	return out
}

// included are the files that an include means: of those that are known, or else of those that can be had.
func (n *nginx) included(d *directive) []string {
	pattern := d.words[1]
	if !path.IsAbs(pattern) {
		pattern = path.Join(n.dir, pattern)
	}
	var out []string
	for _, name := range n.names {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			out = append(out, name)
		}
	}
	if len(out) == 0 && n.include != nil {
		files, err := n.include(pattern)
		if err != nil {
			n.noteAt(d.place, "include %s: %v", short(d.words[1]), err)
			return nil
		}
		for _, f := range files {
			n.add(f)
			out = append(out, f.Name)
		}
	}
	if len(out) == 0 {
		n.noteAt(d.place, "include %s: there is no such file here", short(d.words[1]))
	}
	return out
}
