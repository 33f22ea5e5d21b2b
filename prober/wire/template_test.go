package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Put, PutPort, PutTo and SetID give what Encode gives, octet for octet, for any segment, flow and values.
func TestTemplateIsEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := segment(t)
		tmpl, err := wire.NewTemplate(&s)
		if err != nil {
			t.Fatal(err)
		}
		if tmpl.Len() != s.Size() || tmpl.Flow() != s.Flow() {
			t.Fatalf("length %d, flow %s", tmpl.Len(), tmpl.Flow())
		}
		b := bytes.Repeat([]byte{0xa5}, tmpl.Len()+3)
		for range 3 { // the template must come out of each use unchanged
			again := s
			again.Seq = wire.Seq(rapid.Uint32().Draw(t, "new seq"))
			ts := wire.TSval(rapid.Uint32().Draw(t, "TSval"))
			_, ecr, _ := s.Options.Timestamps()
			again.Options.SetTimestamps(ts, ecr)

			port := rapid.Uint16().Draw(t, "new source port")
			again.Src = addrPort(again.Src, port)
			n := tmpl.PutPort(b, port, again.Seq, ts)
			same(t, "PutPort", b[:n], &again)

			toward := flow(t, s.Src.Addr().Is6())
			again.Src, again.Dst = addrPort(s.Src, toward.Src.Port()), toward.Dst
			dst := toward.Dst.Addr().As16()
			n = tmpl.PutTo(b, &dst, toward.Dst.Port(), toward.Src.Port(), again.Seq, ts)
			same(t, "PutTo", b[:n], &again)

			f := flow(t, s.Src.Addr().Is6())
			again.Src, again.Dst = f.Src, f.Dst
			n = tmpl.Put(b, f, again.Seq, ts)
			same(t, "Put", b[:n], &again)

			if s.Src.Addr().Is4() {
				again.ID = rapid.Uint16().Draw(t, "new ID")
			}
			tmpl.SetID(b, again.ID)
			same(t, "SetID", b[:n], &again)
			if !bytes.Equal(b[n:], []byte{0xa5, 0xa5, 0xa5}) {
				t.Fatal("written past the packet")
			}
		}
	})
}

func same(t *rapid.T, what string, got []byte, want *wire.Segment) {
	if b := encode(t, want); !bytes.Equal(got, b) {
		t.Fatalf("%s of %s:\n%x, Encode:\n%x", what, want, got, b)
	}
}

// The checksum's two zeros: at every sum that can come out, 0x0000 and 0xffff among them, Put agrees with Encode.
func TestTemplateAtEveryChecksum(t *testing.T) {
	s := syn4()
	tmpl, err := wire.NewTemplate(&s)
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]byte, tmpl.Len()), make([]byte, tmpl.Len())
	for id := range 1 << 16 {
		s.Seq, s.ID = wire.Seq(id), uint16(id)
		tmpl.PutPort(got, s.Src.Port(), s.Seq, 1000)
		tmpl.SetID(got, s.ID)
		if _, err := s.Encode(want); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seq and ID %d:\n%x, Encode:\n%x", id, got, want)
		}
	}
}

func TestTemplateRefuses(t *testing.T) {
	four, six := syn4(), syn6()
	mixed := four
	mixed.Dst = six.Dst
	if _, err := wire.NewTemplate(&mixed); !errors.Is(err, wire.ErrAddresses) {
		t.Errorf("two families: %v", err)
	}
	tmpl, err := wire.NewTemplate(&four)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	for name, n := range map[string]int{
		"IPv6 flow":              tmpl.Put(b, six.Flow(), 1, 1),
		"one IPv6 address":       tmpl.Put(b, mixed.Flow(), 1, 1),
		"no flow":                tmpl.Put(b, wire.Flow{}, 1, 1),
		"Put, one octet short":   tmpl.Put(b[:59], four.Flow(), 1, 1),
		"PutPort, an octet less": tmpl.PutPort(b[:59], 1, 1, 1),
	} {
		if n != 0 || !bytes.Equal(b, make([]byte, 100)) {
			t.Errorf("%s: %d octets", name, n)
		}
	}
	tmpl.SetID(b[:3], 7) // and no panic
}
