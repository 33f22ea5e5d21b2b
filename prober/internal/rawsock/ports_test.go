package rawsock

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChooseReserved(t *testing.T) {
	for _, tc := range []struct {
		name     string
		local    Ports
		reserved string
		want     Ports
	}{
		{"default settings", Ports{32768, 60999}, "", Ports{61000, 65535}},
		{"a service keeps a port above", Ports{32768, 60999}, "62000", Ports{62001, 65535}},
		{"above is cut up: below", Ports{32768, 60999}, "61500-65000", Ports{1024, 32767}},
		{"nothing above", Ports{10000, 65535}, "", Ports{1024, 9999}},
		{"nothing above, node ports set aside", Ports{40000, 65535}, "30000-32767", Ports{1024, 29999}},
		{"all but a reserved range", Ports{1024, 65535}, "50000-50999,20000-22047", Ports{20000, 22047}},
		{"exactly enough above", Ports{1024, 64511}, "", Ports{64512, 65535}},
		{"one too few above", Ports{1024, 64512}, "", Ports{}},
		{"everything", Ports{1024, 65535}, "", Ports{}},
		{"from the first port on", Ports{1, 65535}, "1-3000", Ports{1024, 3000}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reserved, err := parsePortList(tc.reserved)
			must(t, err)
			got, err := ChooseReserved(tc.local, reserved)
			if d := cmp.Diff(tc.want, got); d != "" || (err != nil) != (tc.want == Ports{}) {
				t.Errorf("range (-want +got):\n%s, %v", d, err)
			}
			if err != nil && !errors.Is(err, ErrNoPorts) {
				t.Errorf("%v, want ErrNoPorts", err)
			}
		})
	}
}

func TestParsePortListRefuses(t *testing.T) {
	for _, text := range []string{"x", "1-", "-1", "5-4", "70000", "1-2-3"} {
		if got, err := parsePortList(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// The files are the namespace's own, not the host's.
func TestReservedDefaultFollowsTheNamespace(t *testing.T) {
	needNamespace(t)
	before, err := LocalPortRange()
	must(t, err)
	must(t, os.WriteFile(localRangeFile, []byte("5000\t65535"), 0))
	t.Cleanup(func() { must(t, os.WriteFile(localRangeFile, []byte("32768\t60999"), 0)) })
	got, err := LocalPortRange()
	must(t, err)
	if got != (Ports{5000, 65535}) || before == got {
		t.Errorf("local range %v, then %v", before, got)
	}
	reserved, err := ReservedDefault()
	must(t, err)
	if reserved != (Ports{1024, 4999}) {
		t.Errorf("reserved %v", reserved)
	}
}
