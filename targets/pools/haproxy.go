package pools

import "strings"

// proxy is a section of HAProxy's configuration.
type proxy struct {
	kind, name string
	at         int
	binds      []string
	backends   []string
	servers    []serverLine
}

type serverLine struct {
	at         int
	host, port string // no port: that of the connection, as it came in
}

// haproxy reads frontends, backends and listens (HAProxy's configuration manual, section 4): bind, server, default_backend, use_backend.
func (r *reader) haproxy(text string) {
	var all []*proxy
	var now *proxy // nil: in a section without targets
	for _, l := range lines(text, "#", false) {
		w := l.words
		switch w[0] {
		case "frontend", "backend", "listen":
			now = &proxy{kind: w[0], at: l.at}
			if len(w) > 1 {
				now.name = w[1]
			}
			all = append(all, now)
			continue
		case "global", "defaults", "userlist", "peers", "resolvers", "mailers", "cache", "program", "ring", "http-errors", "log-forward", "fcgi-app", "crt-store", "traces":
			now = nil
			continue
		}
		if now != nil {
			r.inProxy(l, now)
		}
	}
	r.proxies(all)
}

func (r *reader) inProxy(l line, p *proxy) {
	w := l.words
	switch w[0] {
	case "bind":
		if len(w) < 2 {
			r.note(l.at, "bind without an address")
			return
		}
		for a := range strings.SplitSeq(w[1], ",") {
			r.bind(l, p, a)
		}
	case "default_backend", "use_backend":
		if len(w) > 1 && strings.ContainsAny(w[1], "%[") {
			r.note(l.at, "%s %s is chosen at run time; its servers are not taken for this frontend", w[0], short(w[1]))
		} else if len(w) > 1 {
			p.backends = append(p.backends, w[1])
		}
	case "server":
		r.server(l, p)
	case "server-template":
		r.note(l.at, "server-template is filled at run time; dns_sd_configs finds such servers")
	}
}

func (r *reader) bind(l line, p *proxy, a string) {
	i := strings.LastIndexByte(a, ':')
	host, port := "", ""
	if i >= 0 {
		host, port = a[:i], a[i+1:]
	}
	switch {
	case i < 0 || strings.Contains(a, "@") || strings.HasPrefix(a, "/"):
		r.note(l.at, "bind %s is no address with a port", short(a))
	default:
		p.binds = append(p.binds, r.vips(place{file: r.file, line: l.at}, host, port)...)
	}
}

func (r *reader) server(l line, p *proxy) {
	if len(l.words) < 3 {
		r.note(l.at, "server without an address")
		return
	}
	a := strings.TrimPrefix(strings.TrimPrefix(l.words[2], "ipv4@"), "ipv6@")
	if strings.Contains(a, "@") || strings.HasPrefix(a, "/") {
		r.note(l.at, "server %s has no address of TCP", short(l.words[2]))
		return
	}
	host, port := a, ""
	if i := strings.LastIndexByte(a, ':'); i >= 0 && !strings.HasSuffix(a, "]") && (strings.Count(a, ":") == 1 || strings.HasPrefix(a, "[")) {
		host, port = a[:i], a[i+1:]
	}
	p.servers = append(p.servers, serverLine{l.at, host, port})
}

// proxies makes pools of what has addresses of its own, with the servers of its backends.
func (r *reader) proxies(all []*proxy) {
	backends, used := map[string]*proxy{}, map[string]bool{}
	for _, p := range all {
		if p.kind != "frontend" {
			backends[p.name] = p
		}
	}
	for _, p := range all {
		if p.kind == "backend" {
			continue
		}
		pool := r.begin(p.name)
		pool.VIPs = p.binds
		r.servers(pool, p)
		for _, name := range p.backends {
			b := backends[name]
			if b == nil {
				r.note(p.at, "%s %s: there is no backend %s in this file", p.kind, short(p.name), short(name))
				continue
			}
			used[name] = true
			r.servers(pool, b)
		}
	}
	for _, p := range all {
		if p.kind == "backend" && !used[p.name] {
			r.servers(r.begin(p.name), p)
		}
	}
}

func (r *reader) servers(pool *Pool, p *proxy) {
	for _, s := range p.servers {
		port := s.port
		if port == "" && len(pool.VIPs) == 1 {
			port = pool.VIPs[0][strings.LastIndexByte(pool.VIPs[0], ':')+1:]
		}
		m, err := endpoint(s.host, port)
		if err != nil {
			r.note(s.at, "server: %v", err)
			continue
		}
		pool.Members = append(pool.Members, m)
	}
}
