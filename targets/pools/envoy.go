package pools

import (
	"cmp"
	"strings"
)

// envoy is Envoy's configuration while it is being read: a bootstrap file, files of its file-based discovery, or what its admin interface gives at
// /config_dump (envoy.config.bootstrap.v3.Bootstrap, envoy.service.discovery.v3.DiscoveryResponse, envoy.admin.v3.ConfigDump).
type envoy struct {
	*reader
	bootstraps   []*node
	listeners    []*node
	clusters     map[string]*node
	routes       map[string]*node
	endpoints    map[string][]*node // load assignments by the cluster's name for EDS
	clusterNames []string           // as they came
	used         map[string]bool    // clusters
}

func (r *reader) envoy(files []File) {
	e := &envoy{reader: r, clusters: map[string]*node{}, routes: map[string]*node{}, endpoints: map[string][]*node{}, used: map[string]bool{}}
	for _, f := range files {
		for _, d := range r.documents(f) {
			e.document(d)
		}
	}
	// A dump has what is of the bootstrap in its own sections too.
	dumped := len(e.listeners) > 0 || len(e.clusters) > 0
	for _, b := range e.bootstraps {
		if !dumped {
			e.static(b)
		}
	}
	for _, l := range e.listeners {
		e.listener(l)
	}
	for _, name := range e.clusterNames {
		if !e.used[name] {
			r.noteAt(e.clusters[name].place(), "no listener that is here forwards to cluster %s; left out", short(name))
		}
	}
}

func (e *envoy) document(d *node) {
	known := false
	for _, c := range d.items("configs") {
		known = true
		e.dumped(c)
	}
	if d.get("static_resources") != nil {
		known = true
		e.static(d)
	}
	for _, c := range d.items("resources") {
		known = true
		e.resource(c)
	}
	if !known {
		e.noteAt(d.place(), "neither a configuration of Envoy (static_resources), nor its config_dump (configs), nor a file of its discovery (resources)")
	}
}

func (e *envoy) static(d *node) {
	e.listeners = append(e.listeners, d.items("static_resources", "listeners")...)
	for _, c := range d.items("static_resources", "clusters") {
		e.cluster(c)
	}
	for _, kind := range []string{"lds_config", "cds_config"} {
		if c := d.get("dynamic_resources", kind); c != nil {
			e.noteAt(c.place(), "what comes by discovery is not here; the admin interface's /config_dump?include_eds has it")
		}
	}
}

// dumped is one entry of a config_dump: a section, or with ?resource= one thing of a section.
func (e *envoy) dumped(c *node) {
	if b := c.get("bootstrap"); b != nil {
		e.bootstraps = append(e.bootstraps, b)
		return
	}
	for _, section := range []string{"static_listeners", "dynamic_listeners", "static_clusters", "dynamic_active_clusters", "static_route_configs",
		"dynamic_route_configs", "static_endpoint_configs", "dynamic_endpoint_configs"} {
		for _, x := range c.items(section) {
			e.entry(x)
		}
	}
	for _, x := range c.items("dynamic_warming_clusters") {
		e.noteAt(x.place(), "cluster %s is warming: it serves nothing yet", short(x.str("cluster", "name")))
	}
	e.entry(c)
}

func (e *envoy) entry(x *node) {
	if l := x.get("listener"); l != nil {
		e.listeners = append(e.listeners, l)
	}
	if l := x.get("active_state", "listener"); l != nil {
		e.listeners = append(e.listeners, l)
	} else if w := cmp.Or(x.get("warming_state"), x.get("draining_state"), x.get("error_state")); w != nil {
		e.noteAt(w.place(), "listener %s has no active state", short(x.str("name")))
	}
	if c := x.get("cluster"); c != nil {
		e.cluster(c)
	}
	if c := x.get("route_config"); c != nil {
		e.routes[c.str("name")] = c
	}
	if c := x.get("endpoint_config"); c != nil {
		e.assignment(c)
	}
}

// resource is one of a file of discovery; its @type says what.
func (e *envoy) resource(c *node) {
	switch kind := typeOf(c); kind {
	case "Listener":
		e.listeners = append(e.listeners, c)
	case "Cluster":
		e.cluster(c)
	case "RouteConfiguration":
		e.routes[c.str("name")] = c
	case "ClusterLoadAssignment":
		e.assignment(c)
	default:
		e.noteAt(c.place(), "a resource of type %s gives no target", short(kind))
	}
}

// typeOf is the last part of the type of a message: type.googleapis.com/envoy.config.cluster.v3.Cluster is Cluster. A typed struct has its own.
func typeOf(n *node) string {
	t := cmp.Or(n.str("type_url"), n.str("@type"))
	return t[strings.LastIndexByte(t, '.')+1:]
}

func (e *envoy) cluster(c *node) {
	name := c.str("name")
	if e.clusters[name] == nil {
		e.clusterNames = append(e.clusterNames, name)
	}
	e.clusters[name] = c
}

func (e *envoy) assignment(c *node) {
	name := c.str("cluster_name")
	e.endpoints[name] = append(e.endpoints[name], c)
}

// members are the endpoints of a cluster.
func (e *envoy) members(at *node, name string, depth int) (out []string) {
	c := e.clusters[name]
	if c == nil {
		e.noteAt(at.place(), "there is no cluster %s here", short(name))
		return nil
	}
	if depth > 8 {
		e.noteAt(at.place(), "cluster %s: clusters of clusters, deeper than 8", short(name))
		return nil
	}
	e.used[name] = true
	assignments := []*node{c.get("load_assignment")}
	switch kind := cmp.Or(c.str("type"), c.str("cluster_type", "name")); {
	case kind == "EDS":
		service := cmp.Or(c.str("eds_cluster_config", "service_name"), name)
		if assignments = e.endpoints[service]; len(assignments) == 0 {
			e.noteAt(c.place(), "cluster %s has its endpoints from discovery (EDS), and they are not here: dump with ?include_eds", short(name))
		}
	case kind == "envoy.clusters.aggregate":
		for _, x := range c.items("cluster_type", "typed_config", "clusters") {
			out = append(out, e.members(x, x.text, depth+1)...)
		}
	case kind == "ORIGINAL_DST" || c.get("cluster_type") != nil:
		e.noteAt(c.place(), "cluster %s is %s: its endpoints are chosen at run time", short(name), short(kind))
	}
	for _, a := range assignments {
		for _, locality := range a.items("endpoints") {
			for _, lb := range locality.items("lb_endpoints") {
				out = append(out, e.endpoint(lb)...)
			}
		}
	}
	return out
}

// endpoint is a member of a cluster. One that drains has no new connections.
func (e *envoy) endpoint(lb *node) []string {
	a := lb.get("endpoint", "address")
	switch {
	case a == nil:
		e.noteAt(lb.place(), "an endpoint without an address")
	case lb.str("health_status") == "DRAINING":
		e.noteAt(lb.place(), "an endpoint that drains; left out")
	default:
		if host, port, ok := e.socket(a); ok {
			m, err := endpoint(host, port)
			if err == nil {
				return []string{m}
			}
			e.noteAt(a.place(), "%v", err)
		}
	}
	return nil
}

// socket is an address of TCP (envoy.config.core.v3.Address): the protocol is TCP where none is named.
func (e *envoy) socket(a *node) (host, port string, ok bool) {
	s := a.get("socket_address")
	host, port = s.str("address"), s.str("port_value")
	switch {
	case s == nil && a.get("pipe") != nil:
		e.noteAt(a.place(), "a Unix socket")
	case s == nil && a.get("envoy_internal_address") != nil:
		e.noteAt(a.place(), "an address inside Envoy")
	case s == nil:
		e.noteAt(a.place(), "no socket_address")
	case s.str("protocol") != "" && s.str("protocol") != "TCP":
		e.noteAt(a.place(), "%s:%s is %s, not TCP", host, port, short(s.str("protocol")))
	case s.get("named_port") != nil:
		e.noteAt(a.place(), "port %s is known at run time only", short(s.str("named_port")))
	default:
		return host, port, true
	}
	return "", "", false
}
