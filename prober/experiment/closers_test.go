package experiment_test

import (
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/experiment"
)

func TestParseClosers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec, names, last string
	}{
		{"", "", ""},
		{"auto", "http tls postgres redis mysql ssh idle", ""},
		{"http,idle", "http idle", ""},
		{"smtp", "smtp", "QUIT\r\n"},
		{"redis,hex:00ff", "redis hex", "\x00\xff"},
		{`tls,text:BYE, \\ now\r\n`, "tls text", "BYE, \\ now\r\n"},
	} {
		got, err := experiment.ParseClosers(c.spec)
		var names []string
		for i := range got {
			names = append(names, got[i].Name)
		}
		if err != nil || strings.Join(names, " ") != c.names {
			t.Errorf("%q: %v, %v; want %s", c.spec, names, err, c.names)
			continue
		}
		if n := len(got); n > 0 && c.last != "" && string(got[n-1].Data) != c.last {
			t.Errorf("%q: sends %q, want %q", c.spec, got[n-1].Data, c.last)
		}
	}
	for bad, want := range map[string]string{
		"htp": "want auto, http", "http,,tls": "want auto", "hex:0": "even number", "hex:": "0 octets", "text:": "0 octets",
		"text:" + strings.Repeat("x", 1201): "1201 octets", "auto,auto,auto": "at most 16",
	} {
		if got, err := experiment.ParseClosers(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %d ways, %v; want an error with %q", bad, len(got), err, want)
		}
	}
}

// Every known payload fits one segment, and no two ways have one name.
func TestAutoClosers(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range experiment.AutoClosers() {
		if seen[c.Name] || len(c.Data) > 536 {
			t.Errorf("%s: twice %t, %d octets", c.Name, seen[c.Name], len(c.Data))
		}
		seen[c.Name] = true
	}
}
