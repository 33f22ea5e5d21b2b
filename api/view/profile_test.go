package view

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
)

func aProfile(mss float64) profile.Profile {
	return profile.Profile{Target: "db:5432", Addr: netip.MustParseAddrPort("[2001:db8::1]:5432"), At: time.Unix(1e9, 5).UTC(), Took: time.Second, SYNs: 19, Segments: 37, Values: []profile.Value{
		{Name: profile.MSS, State: profile.Measured, Text: "1460", Number: mss, Low: mss, High: mss, HasNumber: true, Unit: "octets", Seen: 8, How: "of the SYN-ACK"},
		{Name: profile.NeighborQueue, State: profile.AtLeast, Text: "≥ 256", Number: 256, Low: 256, HasNumber: true, Unit: "packets"},
		{Name: profile.Hops, State: profile.Measured, Text: "0", HasNumber: true, Unit: "hops"},
		{Name: profile.Timestamps, State: profile.Measured, Text: "on"},
		{Name: profile.PerHostPAWS, State: profile.NotMeasured, Why: profile.NotAsked},
	}}
}

func TestAStoredProfileComesBack(t *testing.T) {
	a, b := aProfile(1460), aProfile(1400)
	doc := NewProfiles([]prober.Profiled{{Profile: a}, {Profile: b}}, &a, nil)
	if len(doc.Groups) != 2 || len(doc.Profiles[1].Differs) != 1 || doc.Profiles[1].Differs[0].Weight != "notable" {
		t.Errorf("%+v", doc)
	}
	var buf bytes.Buffer
	if err := WriteJSON(&buf, doc); err != nil {
		t.Fatal(err)
	}
	got, err := ReadProfiles(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]profile.Profile{a, b}, got, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
		t.Error(d)
	}
}

func TestWhatIsNoStoredProfileIsRefused(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "EOF",
		"{}":                         "profile_format 0",
		`{"profile_format":1}`:       "no profile",
		`{"profile_format":2}`:       "want 1",
		`{"profiles":1}`:             "profiles",
		`{"profile_format":1,"x":1}`: `unknown field "x"`,
		`{"profile_format":1,"profiles":[{"addr":"nowhere"}]}`:                                                    "profiles[0]: addr",
		`{"profile_format":1,"profiles":[{"addr":"192.0.2.1:80","values":[{"name":"mood","state":"measured"}]}]}`: `values[0].name "mood"`,
		`{"profile_format":1,"profiles":[{"addr":"192.0.2.1:80","values":[{"name":"mss","state":"guessed"}]}]}`:   `values[0].state "guessed"`,
	} {
		if _, err := ReadProfiles(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}
