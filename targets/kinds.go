package targets

import (
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober"
)

// foreign are blackbox_exporter's probers that vipprobe has not, and their sections.
func foreign() []string { return []string{"http", "dns", "icmp", "grpc", "unix"} }

// builtin are the kinds that every configuration has a module of. The others want options, or an owner's decision.
func builtin() []prober.Kind {
	return []prober.Kind{prober.KindConnect, prober.KindPAWS, prober.KindNeighbor}
}

// reader reads the options of one kind of module and shows them again.
type reader struct {
	kind prober.Kind
	read func(*Config, *module, *section)
	show func(*module, *view)
	// keys are the options that the kind has.
	keys []string
}

// Groups of options that several kinds share.
func burstKeys() []string {
	return []string{"burst", "count", "pause", "max_stalled", "hop_limit", "tos"}
}

func pathKeys() []string {
	return []string{"source_ip_address", "preferred_ip_protocol", "ip_protocol_fallback"}
}

// readers is the table of kinds, in the order of prober.Kinds.
func readers() []reader {
	way := append(pathKeys(), "interface")
	return []reader{
		{prober.KindConnect, (*Config).readConnect, (*module).showConnect, slices.Concat(burstKeys(), way)},
		{prober.KindSYN, (*Config).readSYN, (*module).showSYN,
			slices.Concat(burstKeys(), way, []string{"ladder", "tsval", "tshz", "timestamps", "mss", "handshake"})},
		{prober.KindTCP, (*Config).readTCP, (*module).showTCP, []string{"tcp"}},
		{prober.KindPAWS, (*Config).readPAWS, (*module).showPAWS, slices.Concat(way, []string{"burst", "prime", "i_own_this_path", "prime_with", "control_source", "prime_anyway"})},
		{prober.KindNeighbor, (*Config).readNeighbor, (*module).showNeighbor, slices.Concat(way, neighborKeys())},
		{prober.KindNeighborQueue, (*Config).readNeighborQueue, (*module).showNeighborQueue, slices.Concat(way, queueKeys())},
		{prober.KindCheck, (*Config).readCheck, (*module).showCheck, slices.Concat(way, checkKeys())},
	}
}

func readerOf(k prober.Kind) (reader, bool) {
	for _, r := range readers() {
		if r.kind == k {
			return r, true
		}
	}
	return reader{}, false
}

// kindWords lists the kinds for a message: "connect, syn or tcp", with last between the final two.
func kindWords(kinds []prober.Kind, last string) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + last + words[n-1]
	}
	return strings.Join(words, "")
}

// refuseMisplaced explains keys that only another kind of module has.
func (m *module) refuseMisplaced(s *section) {
	if m.Kind == prober.KindTCP {
		m.refuseBesideTCP(s)
	}
	for _, key := range s.keys {
		var owners []prober.Kind
		for _, r := range readers() {
			if slices.Contains(r.keys, key) {
				owners = append(owners, r.kind)
			}
		}
		if s.asked[key] || len(owners) == 0 || slices.Contains(owners, m.Kind) {
			continue
		}
		what := "it"
		if key == "tcp" {
			what = "this section"
		}
		s.asked[key] = true
		if len(owners) == 1 {
			s.doc.fail(s.values[key].key, "only a %s module has %s; this is a %s module", owners[0], what, m.Kind)
			continue
		}
		s.doc.fail(s.values[key].key, "only %s modules have %s; this is a %s module", kindWords(owners, " and "), what, m.Kind)
	}
}

// refuseBesideTCP: a tcp module keeps the way to the target in its tcp section, and the sections of other probers are idle beside it.
func (m *module) refuseBesideTCP(s *section) {
	for _, key := range s.keys {
		switch {
		case slices.Contains(pathKeys(), key):
			s.asked[key] = true
			s.doc.fail(s.values[key].key, "it belongs under tcp; this is a tcp module")
		case slices.Contains(foreign(), key):
			s.asked[key] = true
			s.doc.warn(s.values[key].key, "not used: this module is tcp")
		}
	}
}
