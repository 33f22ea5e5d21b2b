package pools

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// elbv2 is what the AWS command line gives while it is being read: aws elbv2 describe-load-balancers, describe-listeners, describe-rules,
// describe-target-groups and describe-target-health, and aws ec2 describe-instances for the addresses of instances. One file may have several of them,
// as values one behind the other, in a list, or as fields of one object.
type elbv2 struct {
	*reader
	balancers, groups, instances map[string]*node // by ARN, by ARN, by id
	groupOrder                   []string
	listeners                    []*node
	rules                        map[string][]*node // by the listener's ARN
	health                       map[string][]*node // by the target group's ARN
	unsaid                       []unsaid
	used                         map[string]bool // groups
}

// unsaid is the health of targets whose group the answer does not name: describe-target-health does not say it.
type unsaid struct {
	file  string
	under *node
}

func (r *reader) elbv2(files []File) {
	e := &elbv2{reader: r, balancers: map[string]*node{}, groups: map[string]*node{}, instances: map[string]*node{}, rules: map[string][]*node{},
		health: map[string][]*node{}, used: map[string]bool{}}
	for _, f := range files {
		for _, d := range r.documents(f) {
			e.document(f.Name, d)
		}
	}
	e.assign()
	for _, l := range e.listeners {
		e.listener(l)
	}
	for _, arn := range e.groupOrder {
		if !e.used[arn] {
			r.begin(e.groups[arn].str("TargetGroupName")).Members = e.members(e.groups[arn], arn)
		}
	}
}

func (e *elbv2) document(file string, d *node) {
	known := false
	each := func(field string, do func(*node)) {
		known = known || d.get(field) != nil
		for _, x := range d.items(field) {
			do(x)
		}
	}
	each("LoadBalancers", func(x *node) { e.balancers[x.str("LoadBalancerArn")] = x })
	each("Listeners", func(x *node) { e.listeners = append(e.listeners, x) })
	each("Rules", func(x *node) {
		l := listenerOf(x.str("RuleArn"))
		e.rules[l] = append(e.rules[l], x)
	})
	each("TargetGroups", func(x *node) {
		arn := x.str("TargetGroupArn")
		if e.groups[arn] == nil {
			e.groupOrder = append(e.groupOrder, arn)
		}
		e.groups[arn] = x
		if h := x.get("TargetHealthDescriptions"); h != nil {
			e.health[arn] = append(e.health[arn], h.list...)
		}
	})
	each("Reservations", func(x *node) {
		for _, i := range x.items("Instances") {
			e.instances[i.str("InstanceId")] = i
		}
	})
	if h := d.get("TargetHealthDescriptions"); h != nil {
		known = true
		if arn := d.str("TargetGroupArn"); arn != "" {
			e.health[arn] = append(e.health[arn], h.list...)
		} else {
			e.unsaid = append(e.unsaid, unsaid{file, h})
		}
	}
	if !known {
		e.noteAt(d.place(), "none of LoadBalancers, Listeners, Rules, TargetGroups, TargetHealthDescriptions and Reservations is here")
	}
}

// listenerOf is the listener of a rule: its ARN is the listener's with another kind, and the rule's own id behind it.
func listenerOf(rule string) string {
	i := strings.LastIndexByte(rule, '/')
	if i < 0 {
		return ""
	}
	return strings.Replace(rule[:i], ":listener-rule/", ":listener/", 1)
}

// assign gives health to the group that its file is named after, or to the only group there is.
func (e *elbv2) assign() {
	for _, u := range e.unsaid {
		base := path.Base(u.file)
		base = strings.TrimSuffix(base, path.Ext(base))
		var of []string
		for _, arn := range e.groupOrder {
			if e.groups[arn].str("TargetGroupName") == base {
				of = append(of, arn)
			}
		}
		if len(of) == 0 && len(e.groupOrder) == 1 && len(e.unsaid) == 1 && len(e.health) == 0 {
			of = e.groupOrder
		}
		if len(of) != 1 {
			e.noteAt(u.under.place(), "which target group these are of is not said: name the file after the group (GROUP.json), or put TargetGroupArn beside them")
			continue
		}
		e.health[of[0]] = append(e.health[of[0]], u.under.list...)
	}
}

// listener makes a pool of a listener: the balancer's name at its port, and the targets of every group that it or one of its rules forwards to.
func (e *elbv2) listener(l *node) {
	arn := l.str("LoadBalancerArn")
	b, port := e.balancers[arn], l.str("Port")
	switch proto := l.str("Protocol"); {
	case b == nil:
		e.noteAt(l.place(), "load balancer %s is not in what was given (describe-load-balancers)", short(arn))
		return
	case b.str("Type") == "gateway":
		e.noteAt(l.place(), "a gateway load balancer has no address of TCP")
		return
	case proto == "UDP" || proto == "QUIC" || proto == "GENEVE":
		e.noteAt(l.place(), "listener %s:%s is %s, not TCP; left out", b.str("LoadBalancerName"), port, proto)
		return
	}
	pool := e.begin(b.str("LoadBalancerName") + ":" + port)
	if vip, err := endpoint(b.str("DNSName"), port); err != nil {
		e.noteAt(l.place(), "%v", err)
	} else {
		pool.VIPs = []string{vip}
	}
	actions := l.items("DefaultActions")
	for _, r := range e.rules[l.str("ListenerArn")] {
		actions = append(slices.Clip(actions), r.items("Actions")...)
	}
	seen, before := map[string]bool{}, len(e.notes)
	for _, g := range forwardedTo(actions) {
		if !seen[g] {
			seen[g] = true
			pool.Members = append(pool.Members, e.members(l, g)...)
		}
	}
	if len(seen) == 0 && len(e.notes) == before {
		e.noteAt(l.place(), "listener %s forwards to no target group", short(pool.Name))
	}
}

// forwardedTo are the groups that actions forward to. An action with several has them in ForwardConfig, one with one in both.
func forwardedTo(actions []*node) (out []string) {
	for _, a := range actions {
		if a.str("Type") != "forward" {
			continue
		}
		groups := a.items("ForwardConfig", "TargetGroups")
		for _, g := range groups {
			out = append(out, g.str("TargetGroupArn"))
		}
		if len(groups) == 0 {
			out = append(out, a.str("TargetGroupArn"))
		}
	}
	return out
}

// members are the targets of a group that are in service, healthy or not.
func (e *elbv2) members(at *node, arn string) (out []string) {
	g := e.groups[arn]
	e.used[arn] = true
	switch {
	case g == nil:
		e.noteAt(at.place(), "target group %s is not in what was given (describe-target-groups)", short(arn))
	case g.str("TargetType") == "lambda":
		e.noteAt(g.place(), "target group %s is of a Lambda function: it has no address", short(g.str("TargetGroupName")))
		return nil
	case len(e.health[arn]) == 0:
		e.noteAt(g.place(), "the targets of group %s are not here (describe-target-health), or it has none", short(g.str("TargetGroupName")))
	}
	for _, t := range e.health[arn] {
		if m := e.target(g, t); m != "" {
			out = append(out, m)
		}
	}
	return out
}

// target is one of a group, or nothing after a note.
func (e *elbv2) target(g, t *node) string {
	id, port := t.str("Target", "Id"), cmp.Or(t.str("Target", "Port"), g.str("Port"))
	host := id
	switch state := t.str("TargetHealth", "State"); {
	case state == "draining" || state == "unhealthy.draining":
		e.noteAt(t.place(), "target %s is draining; left out", short(id))
		return ""
	case state == "unused":
		e.noteAt(t.place(), "target %s is not in use (%s); left out", short(id), short(t.str("TargetHealth", "Reason")))
		return ""
	case strings.HasPrefix(id, "i-"):
		i := e.instances[id]
		host = i.str("PrivateIpAddress")
		if g.str("IpAddressType") == "ipv6" {
			host = i.str("Ipv6Address")
		}
		if host == "" {
			e.noteAt(t.place(), "instance %s has no address here; aws ec2 describe-instances has it", short(id))
			return ""
		}
	case strings.Contains(id, ":loadbalancer/"):
		if host = e.balancers[id].str("DNSName"); host == "" {
			e.noteAt(t.place(), "load balancer %s, which is a target, is not in what was given (describe-load-balancers)", short(id))
			return ""
		}
	}
	m, err := endpoint(host, port)
	if err != nil {
		e.noteAt(t.place(), "%v", err)
	}
	return m
}
