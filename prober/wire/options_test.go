package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestParseOptionsNamesTheOctet(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		at   int // −1: sound
	}{
		{"empty", nil, -1},
		{"only NOPs", []byte{1, 1, 1, 1}, -1},
		{"MSS", []byte{2, 4, 5, 180}, -1},
		{"nothing is read after End", []byte{0, 2, 0, 0}, -1},
		{"unknown kind without data", []byte{253, 2, 1, 1}, -1},
		{"two SACK blocks", append([]byte{5, 18}, make([]byte, 16)...), -1},
		{"41 octets", bytes.Repeat([]byte{1}, 41), 40},
		{"no room for a length octet", []byte{1, 1, 1, 2}, 3},
		{"length 0", []byte{1, 253, 0, 1}, 2},
		{"length 1", []byte{253, 1}, 1},
		{"one octet past the list", []byte{2, 4, 5}, 1},
		{"MSS of length 3", []byte{2, 3, 5, 1}, 1},
		{"window scale of length 2", []byte{1, 3, 2, 1}, 2},
		{"SACK-permitted of length 3", []byte{4, 3, 0}, 1},
		{"SACK without a block", []byte{5, 2}, 1},
		{"SACK with half a block", []byte{5, 6, 0, 0, 0, 0}, 1},
		{"timestamps of length 8", []byte{8, 8, 0, 0, 0, 0, 0, 0}, 1},
		{"MD5 of length 17", append([]byte{19, 17}, make([]byte, 15)...), 1},
		{"fault behind sound options", []byte{2, 4, 5, 180, 1, 3, 9, 0}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := wire.ParseOptions(c.in)
			var fault *wire.ErrOptions
			switch {
			case c.at < 0 && err != nil:
				t.Error(err)
			case c.at >= 0 && !errors.As(err, &fault):
				t.Errorf("got %v, want a fault at octet %d", err, c.at)
			case c.at >= 0 && fault.Offset != c.at:
				t.Errorf("%v; want octet %d", err, c.at)
			}
		})
	}
}

// Every list that can be built is read back octet for octet, option for option.
func TestOptionsKeepOrderPaddingAndUnknownKinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := options(t)
		got, err := wire.ParseOptions(want.Bytes())
		if err != nil || got != want {
			t.Fatalf("<%s> became <%s>, %v", &want, &got, err)
		}
		var rebuilt wire.Options
		for o := range got.All() {
			rebuilt.Append(o.Kind, o.Data...)
		}
		if rebuilt != want {
			t.Fatalf("<%s> rebuilt as <%s>", &want, &rebuilt)
		}
	})
}

func TestAccessorsPassOverWrongLengths(t *testing.T) {
	var o wire.Options
	o.Append(wire.OptMSS, 9).Append(wire.OptTimestamps).Append(wire.OptWindowScale, 1, 2).Append(wire.OptSACKPermitted, 0)
	o.AppendMSS(1400).Append(wire.OptWindowScale, 7)
	if mss, ok := o.MSS(); !ok || mss != 1400 {
		t.Errorf("MSS %d, %t", mss, ok)
	}
	if scale, ok := o.WindowScale(); !ok || scale != 7 {
		t.Errorf("window scale %d, %t", scale, ok)
	}
	if _, _, ok := o.Timestamps(); ok {
		t.Error("timestamps of no length were read")
	}
	if o.SACKPermitted() {
		t.Error("SACK-permitted with data was read")
	}
	if o.SetTimestamps(1, 2) {
		t.Error("timestamps of no length were written")
	}
}

// An option at the very end of a full list must not be read past it.
func TestAccessorsAtTheEndOfAFullList(t *testing.T) {
	for _, kind := range []wire.OptionKind{wire.OptMSS, wire.OptTimestamps, wire.OptWindowScale} {
		var o wire.Options
		for o.Len() < 38 {
			o.Append(wire.OptNOP)
		}
		o.Append(kind)
		o.MSS()
		o.WindowScale()
		if _, _, ok := o.Timestamps(); ok {
			t.Error("timestamps in two octets")
		}
	}
}

func TestSetTimestamps(t *testing.T) {
	o := wire.LinuxSYN(1460, 1, 7)
	if !o.SetTimestamps(517740536, 3) {
		t.Fatal("no timestamps found")
	}
	val, ecr, ok := o.Timestamps()
	if val != 517740536 || ecr != 3 || !ok {
		t.Errorf("TS val %d ecr %d, %t", val, ecr, ok)
	}
	if none := wire.LinuxSYNWithoutTimestamps(1460, 7); none.SetTimestamps(1, 1) {
		t.Error("timestamps written where there are none")
	}
}

func TestAppendPastFortyOctetsPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("41 octets were taken")
		}
	}()
	var o wire.Options
	o.Append(253, make([]byte, 38)...).Append(wire.OptNOP)
}
