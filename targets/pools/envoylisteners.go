package pools

import (
	"cmp"
	"slices"
	"strings"
)

// listener makes a pool of a listener (envoy.config.listener.v3.Listener): where it listens, and every cluster that its filter chains forward to.
func (e *envoy) listener(l *node) {
	name := cmp.Or(l.str("name"), l.str("address", "socket_address", "address")+":"+l.str("address", "socket_address", "port_value"))
	if l.get("api_listener") != nil || l.get("internal_listener") != nil {
		e.noteAt(l.place(), "listener %s has no address of its own", short(name))
		return
	}
	addresses := []*node{l.get("address")}
	for _, x := range l.items("additional_addresses") {
		addresses = append(addresses, x.get("address"))
	}
	pool := &Pool{Name: name}
	tcp := false
	for _, a := range addresses {
		if a == nil {
			e.noteAt(l.place(), "listener %s without an address", short(name))
			continue
		}
		if host, port, ok := e.socket(a); ok {
			tcp = true
			if l.str("bind_to_port") == "false" || l.str("deprecated_v1", "bind_to_port") == "false" {
				e.noteAt(a.place(), "listener %s does not bind its port: what comes is redirected to it", short(name))
				continue
			}
			pool.VIPs = append(pool.VIPs, e.vips(a.place(), host, port)...)
		}
	}
	if !tcp {
		return
	}
	chains := l.items("filter_chains")
	if c := l.get("default_filter_chain"); c != nil {
		chains = append(slices.Clip(chains), c)
	}
	before := len(e.notes)
	for _, name := range e.forwards(chains) {
		pool.Members = append(pool.Members, e.members(name.at, name.cluster, 0)...)
	}
	if len(pool.Members) == 0 && len(e.notes) == before {
		e.noteAt(l.place(), "listener %s forwards to no endpoint", short(name))
	}
	e.pools = append(e.pools, pool)
}

// forward is a cluster, and where it is named.
type forward struct {
	at      *node
	cluster string
}

// forwards are the clusters of filter chains, each once.
func (e *envoy) forwards(chains []*node) (out []forward) {
	seen := map[string]bool{}
	add := func(f forward) {
		if !seen[f.cluster] {
			seen[f.cluster] = true
			out = append(out, f)
		}
	}
	for _, c := range chains {
		filters := c.items("filters")
		for i, f := range filters {
			config := cmp.Or(f.get("typed_config"), f.get("config"), f)
			kind := typeOf(config)
			if v := config.get("value"); v != nil && config.get("type_url") != nil {
				config = v
			}
			switch name := f.str("name"); {
			case kind == "TcpProxy" || kind == "" && strings.HasSuffix(name, "tcp_proxy"):
				e.chosen(config, add)
			case kind == "HttpConnectionManager" || kind == "" && strings.HasSuffix(name, "http_connection_manager"):
				e.virtualHosts(config, add)
			case f.get("config_discovery") != nil:
				e.noteAt(f.place(), "filter %s comes by discovery, and is not here", short(name))
			case i == len(filters)-1:
				e.noteAt(f.place(), "filter %s: where it forwards to is not read; tcp_proxy and http_connection_manager are", short(name))
			}
		}
	}
	return out
}

// chosen is the choice of a cluster, which a TCP proxy and a route have alike.
func (e *envoy) chosen(n *node, add func(forward)) {
	switch {
	case n.get("cluster") != nil:
		add(forward{n.get("cluster"), n.str("cluster")})
	case n.get("weighted_clusters") != nil:
		for _, w := range n.items("weighted_clusters", "clusters") {
			if w.get("name") == nil {
				e.noteAt(w.place(), "the cluster is chosen at run time")
				continue
			}
			add(forward{w.get("name"), w.str("name")})
		}
	default:
		e.noteAt(n.place(), "the cluster is chosen at run time (%s)", chooser(n))
	}
}

func chooser(n *node) string {
	for _, name := range []string{"cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin", "on_demand"} {
		if n.get(name) != nil {
			return name
		}
	}
	return "nothing that is known"
}

// virtualHosts are the routes of an HTTP connection manager. A route that redirects or answers by itself forwards to none.
func (e *envoy) virtualHosts(config *node, add func(forward)) {
	routes := config.get("route_config")
	switch {
	case config.get("rds") != nil:
		name := config.get("rds", "route_config_name")
		if routes = e.routes[config.str("rds", "route_config_name")]; routes == nil {
			e.noteAt(config.get("rds").place(), "the routes %s come by discovery (RDS), and are not here", short(name.str()))
			return
		}
	case config.get("scoped_routes") != nil:
		e.noteAt(config.get("scoped_routes").place(), "scoped routes are not read")
		return
	}
	if d := routes.get("vhds"); d != nil {
		e.noteAt(d.place(), "its further virtual hosts come by discovery (VHDS), and are not here")
	}
	for _, h := range routes.items("virtual_hosts") {
		if m := h.get("matcher"); m != nil {
			e.noteAt(m.place(), "routes by a matcher are not read")
		}
		for _, x := range h.items("routes") {
			if a := x.get("route"); a != nil {
				e.chosen(a, add)
			}
		}
	}
}
