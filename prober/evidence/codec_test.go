package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// fill draws a value of any type that is stored, whatever fields it has.
func fill(t *rapid.T, v reflect.Value) {
	if list := words(v.Type()); list != nil {
		v.SetUint(uint64(rapid.IntRange(0, len(list)-1).Draw(t, "word")))
		return
	}
	switch v.Type() {
	case timeType():
		v.Set(reflect.ValueOf(time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "time")).UTC()))
		return
	case addrType():
		v.Set(reflect.ValueOf(addr(t)))
		return
	case addrPortType():
		v.Set(reflect.ValueOf(netip.AddrPortFrom(addr(t), rapid.Uint16().Draw(t, "port"))))
		return
	case optionsType():
		o, _ := wire.ParseOptions(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "options"))
		v.Set(reflect.ValueOf(o))
		return
	}
	fillKind(t, v)
}

func fillKind(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.String:
		v.SetString(rapid.StringOf(rapid.RuneFrom([]rune("aT0−_ ×\n\"\\<é�"))).Draw(t, "text"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64Range(-1<<(v.Type().Bits()-1), 1<<(v.Type().Bits()-1)-1).Draw(t, "int"))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, 1<<v.Type().Bits()-1).Draw(t, "uint"))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 2).Draw(t, "length"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		fillAll(t, v)
	case reflect.Array:
		fillAll(t, v)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 2).Draw(t, "entries") {
			x := reflect.New(v.Type().Elem()).Elem()
			fill(t, x)
			v.SetMapIndex(reflect.ValueOf(rapid.StringN(0, 4, -1).Filter(printable).Draw(t, "name")), x)
		}
	case reflect.Struct:
		for _, x := range v.Fields() {
			fill(t, x)
		}
	default:
		t.Fatalf("%s: nobody knows how to store that", v.Type())
	}
}

func fillAll(t *rapid.T, v reflect.Value) {
	for i := range v.Len() {
		fill(t, v.Index(i))
	}
}

func printable(s string) bool { return !strings.ContainsFunc(s, unsafeRune) }

func addr(t *rapid.T) netip.Addr {
	return rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"),
		netip.MustParseAddr("::ffff:192.0.2.1"), netip.IPv4Unspecified(), netip.IPv6Unspecified()}).Draw(t, "addr")
}

// keep makes of what was drawn something that check permits.
func keep(s *Stored) {
	for i := range s.Rounds {
		for k := range s.Rounds[i].Observations {
			o := &s.Rounds[i].Observations[k]
			for n := range o.Attempts {
				a := &o.Attempts[n]
				a.Index, a.Via = n, max(a.Via, plan.Kernel)
				a.Answered = max(-1, a.Answered%max(1, len(a.SYNs)))
				a.Retransmissions, a.Unseen, a.Lost = a.Retransmissions&1023, a.Unseen&1023, a.Lost&1023
			}
			if len(o.Attempts) == 0 {
				o.Transfers = nil
			}
			for n := range o.Transfers {
				t := &o.Transfers[n]
				t.Attempt = max(t.Attempt, -t.Attempt, 0) % len(o.Attempts)
			}
			if o.Recorded == nil {
				continue
			}
			for n := range o.Recorded.Frames {
				f := &o.Recorded.Frames[n]
				f.Attempt = max(-1, f.Attempt%(len(o.Attempts)+1)-1)
				f.Number, f.Orig = f.Number&1023, len(f.Data)+f.Orig&1023
			}
		}
	}
}

// Whatever an observation holds, in whatever field, comes back as it was: a field that somebody adds is stored too, or this fails.
func TestWhatIsStoredIsReadAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want Stored
		fill(t, reflect.ValueOf(&want).Elem())
		keep(&want)
		b, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameOptions), cmp.Comparer(sameAddr), cmp.Comparer(sameAddrPort)); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, b)
		}
		again, err := Encode(got)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("encoded again it differs (%v):\n%s\n%s", err, b, again)
		}
	})
}

func sameOptions(a, b wire.Options) bool      { return a == b }
func sameAddr(a, b netip.Addr) bool           { return a == b }
func sameAddrPort(a, b netip.AddrPort) bool   { return a == b }
func roundOf(o observe.Observation) []Round   { return []Round{{Observations: []observe.Observation{o}}} }
func stored(o observe.Observation) Stored     { return Stored{Rounds: roundOf(o)} }
func attempts(list ...observe.Attempt) Stored { return stored(observe.Observation{Attempts: list}) }

// Every enumeration that is stored has its names, so that a new constant among the old ones changes no file.
func TestEnumerationsAreStoredByName(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(x reflect.Type) {
		if seen[x] || scalar(x) {
			return
		}
		seen[x] = true
		switch kind := x.Kind(); {
		case slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map}, kind):
			walk(x.Elem())
		case kind == reflect.Struct:
			for f := range x.Fields() {
				walk(f.Type)
			}
		case kind == reflect.Uint8:
			if x.PkgPath() != "" && words(x) == nil {
				t.Errorf("%s is stored as a number", x)
			}
		}
	}
	walk(reflect.TypeFor[Stored]())
	for x := range seen {
		list := words(x)
		for i, w := range list {
			if slices.Index(list, w) != i || len(list) < 2 {
				t.Errorf("%s: the names %q do not tell its values apart", x, list)
			}
		}
	}
}

// No two fields of a struct have the same key.
func TestKeysAreUnique(t *testing.T) {
	t.Parallel()
	for _, x := range []reflect.Type{reflect.TypeFor[Stored](), reflect.TypeFor[Round](), reflect.TypeFor[observe.Observation](), reflect.TypeFor[observe.Attempt](),
		reflect.TypeFor[observe.Answer](), reflect.TypeFor[observe.SYN](), reflect.TypeFor[observe.TCPInfo](), reflect.TypeFor[plan.Script]()} {
		list := newSchema().fields(x)
		for i, k := range list {
			if slices.Index(list, k) != i || !regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`).MatchString(k) {
				t.Errorf("%s: key %q of %q", x, k, list)
			}
		}
	}
}

// What could command a terminal is neither written nor read.
func TestControlCharactersAreKeptOut(t *testing.T) {
	t.Parallel()
	b, err := Encode(stored(observe.Observation{Label: "a\x1b[2Jb", Strays: map[string]int{"x\x07": 1}}))
	if err != nil || bytes.ContainsFunc(b, unsafeRune) {
		t.Fatalf("%v %q", err, b)
	}
	if s, err := Decode(b); err != nil || s.Rounds[0].Observations[0].Label != "a�[2Jb" {
		t.Fatalf("%v %+v", err, s)
	}
	text := strings.Replace(string(b), "a�", `a\u001b`, 1)
	if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), "rounds[0].observations[0].label: \"a\\x1b[2Jb\": a control character") {
		t.Fatal(err)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	const head = `{"format":"vipprobe observations","version":1`
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "line 1: the file ends in the middle"},
		{"no JSON", "hello", "line 1: no JSON: invalid character 'h' looking for beginning of value"},
		{"another document", `{"rounds":[]}`, `line 1: this is no file of vipprobe observations: want "format" first, not "rounds"`},
		{"another format", `{"format":"x","version":1}`, `line 1: format "x": this program reads vipprobe observations alone`},
		{"a later version", `{"format":"vipprobe observations","version":2}`, `line 1: version 2: this program reads 1 alone`},
		{"a list", `[]`, "line 1: want {, not ["},
		{"cut", head + ",\n\"rounds\":[\n{\"target\":\"x\"", "line 3: rounds[0]: the file ends in the middle"},
		{"more behind it", head + "}\n{}", "line 2: something follows the end of the document"},
		{"an unknown field", head + `,"rounds":[{},{"targets":1}]}`, `line 1: rounds[1]: unknown field "targets": written by another version?`},
		{"a field twice", head + `,"program":"a","program":"b"}`, `line 1: field "program" stands here twice`},
		{"an unknown word", head + `,"rounds":[{"observations":[{"attempts":[` + "\n" + `{"outcome":"acepted"}]}]}]}`,
			`line 2: rounds[0].observations[0].attempts[0].outcome: "acepted": want one of unknown, accepted, refused, reset, timed_out, unreachable, not_sent, local_drop`},
		{"a number for a word", head + `,"rounds":[{"observations":[{"attempts":[{"outcome":1}]}]}]}`,
			"line 1: rounds[0].observations[0].attempts[0].outcome: want a string, not 1"},
		{"too large", head + `,"rounds":[{"observations":[{"capture_drops":4294967296}]}]}`,
			"line 1: rounds[0].observations[0].capture_drops: want a whole number of 32 bits, not negative, not 4294967296"},
		{"a fraction", head + `,"rounds":[{"duration_ns":1.5}]}`, "line 1: rounds[0].duration_ns: want a whole number of 64 bits, not 1.5"},
		{"a bad time", head + `,"written":"yesterday"}`, `line 1: written: "yesterday": want a time such as 2026-01-02T03:04:05.123456789Z`},
		{"a bad address", head + `,"rounds":[{"addr":"x"}]}`, `line 1: rounds[0].addr: "x": not an ip:port`},
		{"too many options", head + `,"rounds":[{"observations":[{"attempts":[{"answers":[{"options":"` + strings.Repeat("01", 41) + `"}]}]}]}]}`,
			"want at most 40 octets in hexadecimal digits"},
		{"null", head + `,"rounds":null}`, "line 1: rounds: want [, not null"},
		{"attempts out of order", head + `,"rounds":[{"observations":[{"attempts":[{"index":1,"via":"raw"}]}]}]}`,
			"rounds[0].observations[0].attempts[0].index: 1, want 0: attempts stand in their order"},
		{"a SYN that is not there", head + `,"rounds":[{"observations":[{"attempts":[{"via":"raw","answered":3}]}]}]}`,
			"rounds[0].observations[0].attempts[0].answered: 3, want −1 or one of 0 SYNs"},
		{"a count that nothing has", head + `,"rounds":[{"observations":[{"attempts":[{"via":"raw","lost":99999999}]}]}]}`,
			"rounds[0].observations[0].attempts[0].lost: 99999999, want 0 to 1048576"},
		{"a frame of no attempt", head + `,"rounds":[{"observations":[{"recorded":{"frames":[{"attempt":0}]}}]}]}`,
			"rounds[0].observations[0].recorded.frames[0].attempt: 0, want −1 or one of 0 attempts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Decode([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// A short file cannot ask for much memory: each of these attempts takes a hundred times the octets that it has in the file.
func TestAFileThatAsksForTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	const memory = 1 << 20
	n := memory/(2*int(reflect.TypeFor[observe.Attempt]().Size())) + 1
	text := `{"format":"vipprobe observations","version":1,"rounds":[{"observations":[{"attempts":[{}` + strings.Repeat(",{}", n) + `]}]}]}`
	if _, err := decode([]byte(text), memory); err == nil || !strings.Contains(err.Error(), "more observations than this program takes") {
		t.Fatal(err)
	}
	if _, err := decode([]byte(text), 2*memory); err == nil || !strings.Contains(err.Error(), "via: want kernel or raw") {
		t.Fatal(err)
	}
}

func TestEncodeRefusesAValueWithoutAName(t *testing.T) {
	t.Parallel()
	_, err := Encode(attempts(observe.Attempt{Outcome: 200}))
	if want := "rounds[0].observations[0].attempts[0].outcome: observe.Outcome has no name for 200"; err == nil || fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A bundle of the first version is read for ever, and says the same: whoever gives a stored field another name or meaning raises Version, and
// lets the reader know both.
func TestTheFirstVersionIsStillRead(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/neighbor-queue.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := errors.Join(json.Unmarshal(b, &want), json.Unmarshal(again, &got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-file +read and written):\n%s", diff)
	}
	r := &s.Rounds[0]
	a := &r.Observations[0].Attempts[0]
	if r.Ladder.Name != "linear" || r.Kernel != "6.18.5" || a.Outcome != observe.Accepted || a.Kernel.Info.TotalRetrans != 1 || a.Unseen != 1 ||
		len(r.Observations[0].Neighbor) != 3 || r.Observations[2].Arms[0].Script.OnSYNACK != plan.Reset {
		t.Errorf("%+v", r)
	}
}
