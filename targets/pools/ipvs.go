package pools

import "strings"

// ipvs reads what `ipvsadm -Sn` (or ipvsadm-save -n) and `ipvsadm -Ln` print (ipvsadm(8)).
func (r *reader) ipvs(text string) {
	services := map[string]*Pool{}
	var listed *Pool // the service that the lines with -> belong to; nil: none that gives targets
	for _, l := range lines(text, "#", false) {
		switch w := l.words; w[0] {
		case "-A", "--add-service", "-a", "--add-server":
			r.ipvsRule(l, services)
		case "TCP":
			listed = r.ipvsService(l, w[1:], services)
		case "UDP", "SCTP", "FWM":
			listed = nil
			r.note(l.at, "%s service %s is not TCP at an address; left out", w[0], short(strings.Join(w[1:], " ")))
		case "->":
			if len(w) > 1 && w[1] != "RemoteAddress:Port" && listed != nil {
				r.ipvsMember(l, w[1], listed)
			}
		case "IP", "Prot":
		default:
			r.note(l.at, "%s: neither a line of ipvsadm -Sn nor of ipvsadm -Ln", short(w[0]))
		}
	}
}

func (r *reader) ipvsService(l line, words []string, services map[string]*Pool) *Pool {
	if len(words) == 0 {
		r.note(l.at, "a service without an address")
		return nil
	}
	vip, ok := r.ipvsEndpoint(l, words[0])
	if !ok {
		return nil
	}
	p := services[vip]
	if p == nil {
		p = r.begin(vip)
		p.VIPs = []string{vip}
		services[vip] = p
	}
	return p
}

func (r *reader) ipvsMember(l line, word string, p *Pool) {
	if m, ok := r.ipvsEndpoint(l, word); ok {
		p.Members = append(p.Members, m)
	}
}

func (r *reader) ipvsEndpoint(l line, word string) (string, bool) {
	i := strings.LastIndexByte(word, ':')
	if i < 0 {
		r.note(l.at, "%s: no port; ask ipvsadm with -n", short(word))
		return "", false
	}
	e, err := endpoint(word[:i], word[i+1:])
	if err != nil {
		r.note(l.at, "%v; ask ipvsadm with -n", err)
	}
	return e, err == nil
}

// ipvsRule reads a line of ipvsadm -S.
func (r *reader) ipvsRule(l line, services map[string]*Pool) {
	options := map[string]string{}
	for i := 1; i+1 < len(l.words); i++ {
		if strings.HasPrefix(l.words[i], "-") {
			options[l.words[i]] = l.words[i+1]
		}
	}
	first := func(names ...string) string {
		for _, n := range names {
			if v := options[n]; v != "" {
				return v
			}
		}
		return ""
	}
	service := first("-t", "--tcp-service")
	if service == "" {
		r.note(l.at, "the service is not TCP at an address; left out")
		return
	}
	p := r.ipvsService(l, []string{service}, services)
	if p == nil || l.words[0] == "-A" || l.words[0] == "--add-service" {
		return
	}
	member := first("-r", "--real-server")
	if member == "" {
		r.note(l.at, "no real server (-r)")
		return
	}
	r.ipvsMember(l, member, p)
}
