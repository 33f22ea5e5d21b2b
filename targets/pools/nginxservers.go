package pools

import (
	"cmp"
	"slices"
	"strings"
)

// serverPools makes one pool of the servers that share an address to listen at: a connection is to that address before it is to a name.
func (n *nginx) serverPools() {
	owner := map[string]*Pool{} // by HOST:PORT as listen has it
	for _, s := range n.servers {
		body := n.expand(s.block, 0)
		listens := n.listens(s, body)
		if listens == nil {
			continue
		}
		var pool *Pool
		for _, l := range listens {
			if p := owner[l.host+":"+l.port]; p != nil && pool == nil {
				pool = p
			}
		}
		if pool == nil {
			pool = n.begin(serverName(body, listens))
		}
		for _, l := range listens {
			key := l.host + ":" + l.port
			switch other := owner[key]; {
			case other == nil:
				owner[key] = pool
				pool.VIPs = append(pool.VIPs, n.vips(l.place, l.host, l.port)...)
			case other != pool:
				pool.VIPs, pool.Members = append(pool.VIPs, other.VIPs...), append(pool.Members, other.Members...)
				for k, p := range owner {
					if p == other {
						owner[k] = pool
					}
				}
				other.Name = "" // it is of pool now
			}
		}
		pool.Members = append(pool.Members, n.passes(s.kind, body, 0)...)
	}
}

// serverName is a pool's name: the first server_name that is a name and the port, or where it listens.
func serverName(body []*directive, listens []listen) string {
	for _, d := range body {
		if d.words[0] != "server_name" {
			continue
		}
		for _, w := range d.words[1:] {
			if w != "" && w != "_" && !strings.ContainsAny(w, "~*$") && !strings.HasPrefix(w, ".") {
				return w + ":" + listens[0].port
			}
		}
	}
	return cmp.Or(listens[0].host, "*") + ":" + listens[0].port
}

// listen is an address that a server listens at by TCP.
type listen struct {
	place
	host, port string
}

// listens are those of a server; one of http without any listens at port 80 (ngx_http_core_module, listen).
func (n *nginx) listens(s nginxServer, body []*directive) []listen {
	var out []listen
	said := false
	for _, d := range body {
		if d.words[0] != "listen" || len(d.words) < 2 {
			continue
		}
		said = true
		w := d.words[1]
		switch {
		case strings.HasPrefix(w, "unix:"):
			n.noteAt(d.place, "listen %s is a Unix socket", short(w))
		case slices.Contains(d.words, "udp"), slices.Contains(d.words, "quic"):
			n.noteAt(d.place, "listen %s is UDP", short(strings.Join(d.words[1:], " ")))
		case strings.Contains(w, "$"):
			n.noteAt(d.place, "listen %s is known at run time only", short(w))
		default:
			host, port := splitListen(w)
			if strings.Contains(port, "-") {
				n.noteAt(d.place, "listen %s is a range of ports; single ones are taken", short(w))
				continue
			}
			out = append(out, listen{d.place, host, port})
		}
	}
	if !said && s.kind != "stream" {
		out = append(out, listen{s.place, "*", "80"})
	}
	return out
}

// splitListen reads PORT, ADDRESS, ADDRESS:PORT, [ADDRESS] and [ADDRESS]:PORT; the port is 80 where none is said.
func splitListen(w string) (host, port string) {
	digits := strings.Trim(w, "0123456789-") == ""
	i := strings.LastIndexByte(w, ':')
	switch {
	case digits:
		return "*", w
	case i < 0 || strings.HasSuffix(w, "]"):
		return w, "80"
	}
	return w[:i], w[i+1:]
}

// passes are the members that a server's body, and every location in it, passes to.
func (n *nginx) passes(kind string, body []*directive, depth int) (out []string) {
	for _, d := range body {
		switch w := d.words; {
		case w[0] == "set" && len(w) == 3 && !d.open:
			n.chosen[w[1]] = d.place
		case d.open && strings.HasSuffix(w[0], "_by_lua_block"):
			n.noteAt(d.place, "%s: what Lua passes to is not read", w[0])
		case d.open && depth < maxDepth && (w[0] == "location" || w[0] == "if" || w[0] == "limit_except"):
			out = append(out, n.passes(kind, n.expand(d.block, 0), depth+1)...)
		case !d.open && len(w) > 1 && slices.Contains([]string{"proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"}, w[0]):
			out = append(out, n.pass(kind, d)...)
		}
	}
	return out
}

// pass is what a proxy_pass or its like names: the servers of an upstream, or an address. A scheme gives the port where none is said.
func (n *nginx) pass(kind string, d *directive) []string {
	to, port := d.words[1], ""
	if scheme, rest, ok := strings.Cut(to, "://"); ok {
		to = rest
		switch scheme {
		case "http", "grpc":
			port = "80"
		case "https", "grpcs":
			port = "443"
		}
		kind = cmp.Or(kind, "http")
		if !strings.HasPrefix(to, "unix:") {
			to, _, _ = strings.Cut(to, "/")
		}
	}
	if _, name, ok := strings.Cut(to, "$"); ok {
		n.variable(d, "$"+name)
		return nil
	}
	if u := n.upstream(kind, to); u != nil {
		return n.upstreamServers(kind, u)
	}
	return n.member(d.place, d.words[0], to, port)
}

// variable notes a pass that is chosen for each connection, and by what.
func (n *nginx) variable(d *directive, name string) {
	name = strings.NewReplacer("{", "", "}", "").Replace(name)
	if i := strings.IndexAny(name[1:], "$:/.-"); i >= 0 {
		name = name[:i+1]
	}
	if p, ok := n.chosen[name]; ok {
		n.noteAt(d.place, "%s %s is chosen at run time by %s (%s:%d); its servers are not taken", d.words[0], short(d.words[1]), short(name), p.file, p.line)
		return
	}
	n.noteAt(d.place, "%s %s is chosen at run time; its servers are not taken", d.words[0], short(d.words[1]))
}

// upstream finds one of the same context; a file that neither http nor stream encloses is of both.
func (n *nginx) upstream(kind, name string) *directive {
	kinds := []string{kind, ""}
	if kind == "" {
		kinds = []string{"", "http", "stream"}
	}
	for _, k := range kinds {
		if u := n.upstreams[upstreamName{k, name}]; u != nil {
			return u
		}
	}
	return nil
}

// upstreamServers are the servers of an upstream; in http their port is 80 where none is said. Backups are, those marked down are not.
func (n *nginx) upstreamServers(kind string, u *directive) (out []string) {
	n.used[u] = true
	port := "80"
	if kind == "stream" {
		port = ""
	}
	for _, d := range n.expand(u.block, 0) {
		switch w := d.words; {
		case w[0] == "state":
			n.noteAt(d.place, "state %s: the servers of upstream %s are in that file, which nginx keeps", short(strings.Join(w[1:], " ")), short(u.words[1]))
		case strings.HasSuffix(w[0], "_by_lua_block"):
			n.noteAt(d.place, "%s chooses the servers of upstream %s at run time", w[0], short(u.words[1]))
		case w[0] != "server" || len(w) < 2:
		case slices.Contains(w[2:], "down"):
			n.noteAt(d.place, "server %s is marked down; left out", short(w[1]))
		case slices.ContainsFunc(w[2:], func(p string) bool { return strings.HasPrefix(p, "service=") }):
			n.noteAt(d.place, "server %s has its ports from SRV records; dns_sd_configs finds such servers", short(w[1]))
		default:
			out = append(out, n.member(d.place, "server", w[1], port)...)
		}
	}
	return out
}

func (n *nginx) member(p place, what, to, port string) []string {
	if strings.HasPrefix(to, "unix:") {
		n.noteAt(p, "%s %s is a Unix socket", what, short(to))
		return nil
	}
	host := to
	if i := strings.LastIndexByte(to, ':'); i >= 0 && !strings.HasSuffix(to, "]") {
		host, port = to[:i], to[i+1:]
	}
	m, err := endpoint(host, port)
	if err != nil {
		n.noteAt(p, "%s %s: %v", what, short(to), err)
		return nil
	}
	return []string{m}
}
