package pools

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// poolMembers are those of a pool that are in service: a member that is down by its monitor is one, a member that was taken out by hand is none.
func (f *f5) poolMembers(name string) (out []string) {
	members := f.members[name]
	if p := f.byName[name]; p != nil && len(members) == 0 && p.get("membersReference", "link") != nil && p.get("membersReference", "items") == nil {
		f.noteAt(p.get("membersReference").place(), "the members of pool %s are not here: ask with ?expandSubcollections=true", short(name))
	}
	found := slices.ContainsFunc(members, func(m *node) bool { return m.str("ephemeral") == "true" })
	for _, m := range members {
		at := m.place()
		_, port := f5Split(lastPart(cmp.Or(m.str("name"), m.str("fullPath"))))
		port, known := f5Port(port)
		host, _ := routeDomain(m.str("address"))
		a, err := netip.ParseAddr(host)
		switch {
		case m.str("state") == "user-down":
			f.noteAt(at, "member %s is forced offline; left out", short(m.str("name")))
			continue
		case m.str("session") == "user-disabled":
			f.noteAt(at, "member %s is disabled; left out", short(m.str("name")))
			continue
		case port == "0":
			f.noteAt(at, "member %s has every port", short(m.str("name")))
			continue
		case !known:
			f.noteAt(at, "member %s: service %s has no number here", short(m.str("name")), short(port))
			continue
		case (err != nil || a.IsUnspecified()) && found:
			f.noteAt(at, "member %s stands for a name, and the addresses found for it are members of their own", short(m.str("name")))
			continue
		case err != nil || a.IsUnspecified():
			host = m.str("fqdn", "tmName")
		}
		e, err := endpoint(host, port)
		if err != nil {
			f.noteAt(at, "member %s: %v", short(m.str("name")), err)
			continue
		}
		out = append(out, e)
	}
	return out
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// f5Split splits ADDRESS:PORT, NAME:PORT and IPv6's ADDRESS.PORT; with the route domain behind the address.
func f5Split(s string) (host, port string) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		bare, _ := routeDomain(s[:i])
		if a, err := netip.ParseAddr(bare); bare == "any6" || err == nil && a.Is6() {
			return s[:i], s[i+1:]
		}
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func routeDomain(address string) (host, domain string) {
	host, domain, _ = strings.Cut(address, "%")
	return host, cmp.Or(domain, "0")
}

// f5Port is a port as a number: 0 is every one. The names are those of IANA's registry of services.
func f5Port(port string) (string, bool) {
	if port == "any" || port == "*" {
		return "0", true
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		return strconv.FormatUint(n, 10), true
	}
	n, ok := map[string]string{"ftp": "21", "ssh": "22", "telnet": "23", "smtp": "25", "domain": "53", "http": "80", "pop3": "110", "imap": "143", "bgp": "179",
		"ldap": "389", "https": "443", "smtps": "465", "submission": "587", "ldaps": "636", "ftps": "990", "imaps": "993", "pop3s": "995", "ms-sql-s": "1433",
		"mysql": "3306", "postgresql": "5432", "sip": "5060", "amqp": "5672", "amqps": "5671", "http-alt": "8080"}[port]
	if !ok {
		return port, false
	}
	return n, true
}
