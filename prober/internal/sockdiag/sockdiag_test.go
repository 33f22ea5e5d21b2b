package sockdiag

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/peers"
)

// message makes an inet_diag_msg with a tcp_info of so many octets, each u32 of which holds its own offset.
func message(family byte, infoLen int) []byte {
	b := make([]byte, messageLength)
	b[0], b[1] = family, 1
	binary.BigEndian.PutUint16(b[4:], 443)
	binary.BigEndian.PutUint16(b[6:], 40000)
	if family == unix.AF_INET {
		copy(b[8:], []byte{192, 0, 2, 1})
		copy(b[24:], []byte{192, 0, 2, 9})
	} else {
		b[8], b[9], b[23] = 0x20, 0x01, 1
		b[24], b[25], b[39] = 0x20, 0x01, 9
	}
	binary.NativeEndian.PutUint64(b[44:], 77)
	other := []byte{5, 0, 8, 0, 0, 0, 0, 0} // an attribute of five octets, padded
	binary.NativeEndian.PutUint16(other, 5)
	binary.NativeEndian.PutUint16(other[2:], 8)
	b = append(b, other...)
	attr := make([]byte, attrHeader+infoLen)
	binary.NativeEndian.PutUint16(attr, uint16(len(attr)))
	binary.NativeEndian.PutUint16(attr[2:], attrInfo)
	for at := 0; at+4 <= infoLen; at += 4 {
		binary.NativeEndian.PutUint32(attr[attrHeader+at:], uint32(at))
	}
	return append(b, attr...)
}

func TestParse(t *testing.T) {
	four := peers.Socket{
		Cookie: 77, Local: netip.MustParseAddrPort("192.0.2.1:443"), Remote: netip.MustParseAddrPort("192.0.2.9:40000"),
		Retransmitted: 100, Distance: 88, Lost: 32,
	}
	middle := four
	middle.Segments, middle.HasSegments = 156, true
	whole := middle
	whole.DSACKs, whole.Reorderings, whole.HasReorderings = 216, 220, true
	six := whole
	six.Local, six.Remote = netip.MustParseAddrPort("[2001::1]:443"), netip.MustParseAddrPort("[2001::9]:40000")
	for _, c := range []struct {
		name   string
		family byte
		octets int
		want   peers.Socket
		ok     bool
	}{
		{"6.18", unix.AF_INET, 280, whole, true},
		{"6.18, IPv6", unix.AF_INET6, 280, six, true},
		{"4.19", unix.AF_INET, 224, whole, true},
		{"4.9 has no reord_seen", unix.AF_INET, 192, middle, true},
		{"2.6.32 to 3.14", unix.AF_INET, 104, four, true},
		{"cut in a field", unix.AF_INET, 158, four, true},
		{"too short", unix.AF_INET, 100, peers.Socket{}, false},
	} {
		got, ok, err := parse(message(c.family, c.octets))
		if err != nil || ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %v, %v; want %+v", c.name, got, ok, err, c.want)
		}
	}
	if _, ok, err := parse(message(unix.AF_INET, 0)[:messageLength]); ok || err != nil {
		t.Errorf("without tcp_info: %v, %v", ok, err)
	}
	bad := message(unix.AF_INET, 104)
	binary.NativeEndian.PutUint16(bad[messageLength:], 3)
	if _, _, err := parse(bad); err == nil {
		t.Error("an attribute shorter than its header was taken")
	}
	if _, _, err := parse(message(unix.AF_UNIX, 104)); err == nil {
		t.Error("another family was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(unix.AF_INET, 280))
	f.Add(message(unix.AF_INET6, 104))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = parse(b)
		c := Conn{}
		_, _ = c.messages(b, func(*peers.Socket) {})
	})
}

// Real connections of both families, an IPv4 one through an IPv6 socket among them, are listed with their own addresses and counts.
func TestEach(t *testing.T) {
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := map[netip.AddrPort]netip.AddrPort{}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatalf("listen on %s: %v", addr, err)
		}
		t.Cleanup(func() { _ = l.Close() })
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
		want[local] = l.Addr().(*net.TCPAddr).AddrPort()
	}
	for range 2 { // the second listing on the same socket sees them again
		found := 0
		if err := c.Each(func(s *peers.Socket) {
			if remote, ok := want[s.Local]; ok {
				found++
				if s.Remote != remote || s.Segments != 1 || !s.HasReorderings || s.Retransmitted != 0 || s.Cookie == 0 {
					t.Errorf("%+v, want it towards %s with one segment", s, remote)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if found != len(want) {
			t.Errorf("%d of %d connections listed", found, len(want))
		}
	}
}
