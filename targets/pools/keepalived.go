package pools

import "strings"

// virtual is a virtual_server of keepalived while it is being read.
type virtual struct {
	pool  *Pool
	group string
	at    int
	tcp   bool
}

// keepalived reads keepalived.conf(5): virtual_server, virtual_server_group and real_server. Other blocks are passed by.
func (r *reader) keepalived(text string) {
	groups := map[string][]string{}
	var blocks []string // the first word of each block that is open
	var group string
	var v *virtual
	var all []*virtual
	for _, l := range lines(text, "#!", true) {
		for _, part := range statements(l.words) {
			switch w := part; {
			case w[0] == "}":
				if len(blocks) == 0 {
					r.note(l.at, "a } that closes nothing")
					continue
				}
				blocks = blocks[:len(blocks)-1]
				continue
			case w[0] == "include":
				r.note(l.at, "include %s is not followed: import that file as well", short(strings.Join(w[1:], " ")))
			case len(blocks) == 0 && w[0] == "virtual_server_group" && len(w) > 1:
				group = w[1]
			case len(blocks) == 0 && w[0] == "virtual_server":
				v = r.virtual(l, w)
				all = append(all, v)
			case len(blocks) == 1 && blocks[0] == "virtual_server_group":
				groups[group] = append(groups[group], r.groupEntry(l, w)...)
			case len(blocks) == 1 && blocks[0] == "virtual_server":
				r.inVirtual(l, w, v)
			}
			if part[len(part)-1] == "{" {
				blocks = append(blocks, part[0])
			}
		}
	}
	if len(blocks) > 0 {
		r.note(strings.Count(text, "\n")+1, "the block %s is not closed", short(blocks[len(blocks)-1]))
	}
	r.virtuals(all, groups)
}

// virtuals drops what is not TCP, and gives groups their addresses.
func (r *reader) virtuals(all []*virtual, groups map[string][]string) {
	for _, v := range all {
		switch {
		case !v.tcp:
			r.note(v.at, "virtual_server %s is not TCP; left out", short(v.pool.Name))
			v.pool.Name = ""
		case v.group != "" && groups[v.group] == nil:
			r.note(v.at, "virtual_server_group %s has no address here", short(v.group))
		case v.group != "":
			v.pool.VIPs = groups[v.group]
		}
	}
}

// statements splits the words of a line behind { and before and behind }.
func statements(words []string) (out [][]string) {
	begin := 0
	for i, w := range words {
		if w == "}" && i > begin {
			out = append(out, words[begin:i])
			begin = i
		}
		if w == "{" || w == "}" {
			out = append(out, words[begin:i+1])
			begin = i + 1
		}
	}
	if begin < len(words) {
		out = append(out, words[begin:])
	}
	return out
}

// virtual begins a virtual_server: ADDR PORT, group NAME, or fwmark N.
func (r *reader) virtual(l line, w []string) *virtual {
	v := &virtual{at: l.at, tcp: true} // protocol TCP is the default (keepalived.conf(5))
	args := w[1:]
	if n := len(args); n > 0 && args[n-1] == "{" {
		args = args[:n-1]
	}
	v.pool = r.begin(strings.Join(args, " "))
	switch {
	case len(args) == 2 && args[0] == "group":
		v.pool.Name, v.group = args[1], args[1]
	case len(args) == 2 && args[0] == "fwmark":
		r.note(l.at, "virtual_server fwmark %s has no address of its own; only its real servers are taken", short(args[1]))
	case len(args) == 2:
		vip, err := endpoint(args[0], args[1])
		if err != nil {
			r.note(l.at, "virtual_server: %v", err)
			return v
		}
		v.pool.Name, v.pool.VIPs = vip, []string{vip}
	default:
		r.note(l.at, "virtual_server %s: want an address and a port, group NAME or fwmark N", short(v.pool.Name))
	}
	return v
}

// groupEntry is an address of a virtual_server_group.
func (r *reader) groupEntry(l line, w []string) []string {
	if len(w) < 2 || w[0] == "fwmark" || strings.ContainsAny(w[0], "-/") {
		r.note(l.at, "%s: only single addresses with a port are taken from a virtual_server_group", short(strings.Join(w, " ")))
		return nil
	}
	e, err := endpoint(w[0], w[1])
	if err != nil {
		r.note(l.at, "virtual_server_group: %v", err)
		return nil
	}
	return []string{e}
}

func (r *reader) inVirtual(l line, w []string, v *virtual) {
	switch {
	case w[0] == "protocol" && len(w) > 1:
		v.tcp = strings.EqualFold(w[1], "TCP")
	case w[0] == "real_server" && len(w) < 4:
		r.note(l.at, "real_server: want an address and a port")
	case w[0] == "real_server":
		m, err := endpoint(w[1], w[2])
		if err != nil {
			r.note(l.at, "real_server: %v", err)
			return
		}
		v.pool.Members = append(v.pool.Members, m)
	}
}
