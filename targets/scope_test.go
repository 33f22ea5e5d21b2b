package targets

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listed is every target of what a file says, as text.
func listed(t *testing.T, text string, ports []uint16, exclude ...string) []string {
	t.Helper()
	scopes, err := ReadScopes("vips.txt", strings.NewReader(text), ports)
	if err != nil {
		t.Fatal(err)
	}
	var out []netip.Prefix
	for _, e := range exclude {
		p, err := ParsePrefix(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	var all []string
	for x := range All(scopes, out) {
		all = append(all, x.String())
	}
	return all
}

func TestScopes(t *testing.T) {
	for _, x := range []struct {
		story, text string
		ports       []uint16
		exclude     []string
		want        string
	}{
		{"a prefix, port by port", "192.0.2.4/31:80,443", nil, nil, "192.0.2.4:80 192.0.2.5:80 192.0.2.4:443 192.0.2.5:443"},
		{"IPv6 in brackets", "[2001:db8::2/127]:80 [2001:db8::9]:81", nil, nil, "[2001:db8::2]:80 [2001:db8::3]:80 [2001:db8::9]:81"},
		{"without ports", "192.0.2.4 2001:db8::9/128 [2001:db8::8]", []uint16{443}, nil, "192.0.2.4:443 [2001:db8::9]:443 [2001:db8::8]:443"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.4]:80", nil, nil, "192.0.2.4:80"},
		{"remarks and white space", "# all\n\n\t192.0.2.4:80 # one\r\n 192.0.2.5:80", nil, nil, "192.0.2.4:80 192.0.2.5:80"},
		{"each once", "192.0.2.5:80 192.0.2.4/31:80 192.0.2.4:80 192.0.2.4:81", nil, nil, "192.0.2.5:80 192.0.2.4:80 192.0.2.4:81"},
		{"excluded", "192.0.2.0/29:80", nil, []string{"192.0.2.0/30", "192.0.2.7"}, "192.0.2.4:80 192.0.2.5:80 192.0.2.6:80"},
		{"the end of all addresses", "255.255.255.254/31:80", nil, nil, "255.255.255.254:80 255.255.255.255:80"},
	} {
		if diff := cmp.Diff(strings.Fields(x.want), listed(t, x.text, x.ports, x.exclude...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.story, diff)
		}
	}
}

func TestScopesNameHosts(t *testing.T) {
	s, err := ParseScope("web.example.org:80", nil)
	if want := (Scope{Text: "web.example.org:80", Host: "web.example.org", Ports: []uint16{80}}); err != nil || !cmp.Equal(want, s, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestScopesAreCountedWithoutBeingMade(t *testing.T) {
	for text, want := range map[string]int64{"10.0.0.0/8:80,443": 1 << 25, "[::/0]:80": 1<<63 - 1, "192.0.2.1:80": 1, "[2001:db8::/120]:1,2,3": 768} {
		s, err := ParseScope(text, nil)
		if got := Size([]Scope{s}); err != nil || got != want {
			t.Errorf("%s: %d, want %d, %v", text, got, want, err)
		}
	}
}

// Each row is one step away from what can be read; the column is that of what is wrong.
func TestBadScopes(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/24":           "1:13: no port",
		"192.0.2.1/24:80":        "1:1: bits set below its length; 192.0.2.0/24 is meant",
		"192.0.2.0/33:80":        "1:1: neither an address nor a prefix",
		"192.0.2.300:80":         "1:1: no IPv4 address",
		"192.0.2.1:80,x":         `1:14: port "x" is not 1 to 65535`,
		"192.0.2.1:0":            `1:11: port "0"`,
		"192.0.2.1:80,80":        "1:14: port 80 is there twice",
		"192.0.2.1:":             `1:11: port ""`,
		"2001:db8::1:x":          "1:1: an IPv6 address or prefix needs brackets",
		"[2001:db8::1:80":        "1:1: no ] for the [",
		"[2001:db8::1]80":        "1:14: want : and ports behind ]",
		"[192.0.2.1]:80":         "1:2: what is in brackets is no IPv6 address or prefix",
		"[2001:db8::g]:80":       "1:2: no IPv6 address",
		"we?b:80":                "1:1: host name holds '?'",
		"192.0.2.1:80 [::1]:bad": `1:20: port "bad"`,
	} {
		_, err := ReadScopes("vips.txt", strings.NewReader("192.0.2.9:80\n"+text), nil)
		place, message, _ := strings.Cut(want, ": ")
		place = strings.Replace(place, "1:", "vips.txt:2:", 1) + ": "
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 || !strings.HasPrefix(all[len(all)-1].Error(), place) || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := ReadPrefixes("not.txt", strings.NewReader("192.0.2.0/24\n  192.0.2.x")); err == nil || !strings.HasPrefix(err.Error(), "not.txt:2:3: ") {
		t.Errorf("an exclusion: %v", err)
	}
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{"192.0.2.0/24:80,443", "[2001:db8::/120]:80", "web.example.org:80", "2001:db8::1", "[::]", "/:", "[]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScope(text, []uint16{443})
		if err != nil {
			if bad, ok := errors.AsType[*ScopeError](err); !ok || bad.At < 0 || bad.At > len([]rune(text)) {
				t.Fatalf("%q: %v at %v", text, err, bad)
			}
			return
		}
		if s.Host == "" && !s.Prefix.IsValid() || len(s.Ports) == 0 || slices.Contains(s.Ports, 0) {
			t.Fatalf("%q: %+v", text, s)
		}
		if s.Host == "" && s.Prefix != s.Prefix.Masked() {
			t.Fatalf("%q: %s", text, fmt.Sprint(s.Prefix))
		}
	})
}

// TestReadScopesLongLine: a line that is no list of targets is called too long, in words of ours.
func TestReadScopesLongLine(t *testing.T) {
	_, err := ReadScopes("vips.txt", strings.NewReader("192.0.2.1:80\n"+strings.Repeat("x", maxLine+1)), nil)
	if want := "vips.txt:2:1: a line of more than 1048576 octets"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestReadSecretIsBounded: what never ends is no secret, and is not read to its end.
func TestReadSecretIsBounded(t *testing.T) {
	if _, err := ReadSecret("/dev/zero"); err == nil || !strings.Contains(err.Error(), "does not hold one line of text") {
		t.Errorf("%v", err)
	}
}
