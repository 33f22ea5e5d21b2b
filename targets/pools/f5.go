package pools

import (
	"cmp"
	"net/netip"
	"net/url"
	"strings"
)

// f5 is what a BIG-IP's iControl REST gives while it is being read: the collections /mgmt/tm/ltm/virtual, /mgmt/tm/ltm/pool?expandSubcollections=true
// and /mgmt/tm/ltm/virtual-address, one pool's members, or single things of these. Each names what it is in kind.
type f5 struct {
	*reader
	virtuals  []*node
	poolNames []string
	byName    map[string]*node
	members   map[string][]*node // by the pool's full path
	addresses map[string]*node   // virtual addresses by full path
	domains   map[string]string  // the route domain that a VIP was taken of
}

func (r *reader) f5(files []File) {
	f := &f5{reader: r, byName: map[string]*node{}, members: map[string][]*node{}, addresses: map[string]*node{}, domains: map[string]string{}}
	for _, file := range files {
		for _, d := range r.documents(file) {
			f.document(d)
		}
	}
	used := map[string]bool{}
	for _, v := range f.virtuals {
		f.virtual(v, used)
	}
	for _, name := range f.poolNames {
		if !used[name] {
			r.begin(name).Members = f.poolMembers(name)
		}
	}
}

func (f *f5) document(d *node) {
	kind := d.str("kind")
	switch {
	case strings.HasSuffix(kind, ":memberscollectionstate"):
		name := poolOf(d.str("selfLink"))
		if name == "" {
			f.noteAt(d.place(), "members of a pool that selfLink does not name")
			return
		}
		f.members[name] = append(f.members[name], d.items("items")...)
	case strings.HasSuffix(kind, "collectionstate"), kind == "" && d.get("items") != nil:
		for _, x := range d.items("items") {
			f.one(x)
		}
	default:
		f.one(d)
	}
}

func (f *f5) one(x *node) {
	switch kind := x.str("kind"); kind {
	case "tm:ltm:virtual:virtualstate":
		f.virtuals = append(f.virtuals, x)
	case "tm:ltm:pool:poolstate":
		name := fullPath(x)
		if f.byName[name] == nil {
			f.poolNames = append(f.poolNames, name)
		}
		f.byName[name] = x
		f.members[name] = append(f.members[name], x.items("membersReference", "items")...)
	case "tm:ltm:virtual-address:virtual-addressstate":
		f.addresses[fullPath(x)] = x
	default:
		f.noteAt(x.place(), "kind %s is neither a virtual server nor a pool", short(kind))
	}
}

// fullPath is the name with its partition: where there is no fullPath, it is of the partition.
func fullPath(x *node) string {
	return cmp.Or(x.str("fullPath"), "/"+cmp.Or(x.str("partition"), "Common")+"/"+x.str("name"))
}

// poolOf is the pool in the link of its members: …/ltm/pool/~Common~web/members?ver=… is /Common/web.
func poolOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(u.Path, "/ltm/pool/")
	name, _, ok2 := strings.Cut(rest, "/members")
	if !ok || !ok2 {
		return ""
	}
	return strings.ReplaceAll(name, "~", "/")
}

func (f *f5) virtual(v *node, used map[string]bool) {
	name, at := fullPath(v), v.place()
	pool := &Pool{Name: name}
	switch {
	case v.str("disabled") == "true":
		f.noteAt(at, "virtual server %s is disabled; left out", short(name))
		return
	case v.str("ipProtocol") != "" && v.str("ipProtocol") != "tcp" && v.str("ipProtocol") != "any":
		f.noteAt(at, "virtual server %s is %s, not TCP; left out", short(name), short(v.str("ipProtocol")))
		return
	}
	if vip, ok := f.destination(v); ok {
		pool.VIPs = []string{vip}
	}
	if p := v.str("pool"); p != "" {
		if !strings.HasPrefix(p, "/") {
			p = "/" + cmp.Or(v.str("partition"), "Common") + "/" + p
		}
		if f.byName[p] == nil && len(f.members[p]) == 0 {
			f.noteAt(v.get("pool").place(), "pool %s is not in what was given", short(p))
		}
		used[p] = true
		pool.Members = f.poolMembers(p)
	} else if len(pool.VIPs) > 0 {
		f.noteAt(at, "virtual server %s has no pool of its own; what its rules or policies choose is not taken", short(name))
	}
	f.pools = append(f.pools, pool)
}

// destination is /PARTITION/ADDRESS:PORT, with IPv6 /PARTITION/ADDRESS.PORT, and ADDRESS%N in another route domain than 0; in place of the address may
// stand the name of a virtual address.
func (f *f5) destination(v *node) (string, bool) {
	d := v.get("destination")
	if d == nil {
		f.noteAt(v.place(), "virtual server %s has no destination; traffic matching criteria are not read", short(fullPath(v)))
		return "", false
	}
	folder, last := "", d.text
	if i := strings.LastIndexByte(last, '/'); i >= 0 {
		folder, last = last[:i+1], last[i+1:]
	}
	name, port := f5Split(last)
	if va := f.addresses[folder+name]; va != nil {
		name = va.str("address")
	}
	host, domain := routeDomain(name)
	a, err := netip.ParseAddr(host)
	port, known := f5Port(port)
	switch {
	case host == "any" || host == "any6" || err == nil && a.IsUnspecified():
		f.noteAt(d.place(), "%s is every address", short(d.text))
	case err != nil:
		f.noteAt(d.place(), "%s is no address; /mgmt/tm/ltm/virtual-address has those that have names", short(d.text))
	case !hostMask(v.str("mask")):
		f.noteAt(d.place(), "%s with mask %s is a network", short(d.text), short(v.str("mask")))
	case port == "0":
		f.noteAt(d.place(), "%s is every port", short(d.text))
	case !known:
		f.noteAt(d.place(), "%s: service %s has no number here", short(d.text), short(port))
	default:
		return f.inDomain(d, host, port, domain)
	}
	return "", false
}

// inDomain takes a VIP of a route domain. An address can be in several, and from here it is one: the first is taken.
func (f *f5) inDomain(d *node, host, port, domain string) (string, bool) {
	vip, err := endpoint(host, port)
	if err != nil {
		f.noteAt(d.place(), "%v", err)
		return "", false
	}
	if other, ok := f.domains[vip]; ok && other != domain {
		f.noteAt(d.place(), "%s is in route domain %s, and the same address in %s was taken; left out", short(d.text), domain, other)
		return "", false
	}
	f.domains[vip] = domain
	return vip, true
}

func hostMask(mask string) bool {
	switch mask {
	case "", "255.255.255.255", "any", "any6", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff":
		return true
	}
	return false
}
