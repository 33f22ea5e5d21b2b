package sweep

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/wire"
)

var (
	src4, src6 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	dst4, dst6 = netip.MustParseAddrPort("10.64.0.7:443"), netip.MustParseAddrPort("[fd01::7]:443")
)

// openBook holds two probes over IPv4 and two over IPv6.
func openBook(t testing.TB) *Book {
	t.Helper()
	b := New(1000, heap)
	for _, x := range []struct {
		src netip.Addr
		dst netip.AddrPort
	}{{src4, dst4}, {src6, dst6}} {
		way, err := b.AddWay(Way{Src: x.src})
		if err != nil {
			t.Fatal(err)
		}
		b.Add(x.dst, way, 62000)
		b.Add(x.dst, way, 62001)
	}
	return b
}

func heap() *Block { return new(Block) }

func TestALargeBookFindsWhatItHolds(t *testing.T) {
	b := New(1000, heap)
	way, err := b.AddWay(Way{Src: src4})
	if err != nil {
		t.Fatal(err)
	}
	n := firstRecords + blockSize + 2 // a record of each kind of room, and the first of the next
	for range n {
		b.Add(dst4, way, uint16(40000+b.Len()%1000))
	}
	for _, i := range []int{0, pageSize - 1, pageSize, firstRecords - 1, firstRecords, firstRecords + blockSize - 1, firstRecords + blockSize, n - 1} {
		s := syn(t, b, i)
		a := answerTo(&s, wire.SYN|wire.ACK)
		if got, d, _ := b.Incoming(&a, 7); got != i || d != First {
			t.Errorf("the answer to probe %d of %d is one to %d: %s", i, n, got, d)
		}
	}
	if s := b.Summarize(); s.States[Accepted] != 8 || s.States[Pending] != n-8 {
		t.Errorf("8 of %d were answered: %+v", n, s.States)
	}
}

// syn is the SYN of probe i as it is on the wire.
func syn(t testing.TB, b *Book, i int) wire.Segment {
	t.Helper()
	p := make([]byte, 128)
	n := b.Put(p, i, 5*time.Millisecond)
	var s wire.Segment
	if r := wire.Parse(p[:n], &s); r != wire.ReasonNone || s.Checksum != wire.ChecksumGood {
		t.Fatalf("probe %d: %s, checksum %s", i, r, s.Checksum)
	}
	return s
}

func answerTo(s *wire.Segment, flags wire.Flags) wire.Segment {
	return wire.Segment{Src: s.Dst, Dst: s.Src, Ack: s.Seq + 1, Flags: flags, Checksum: wire.ChecksumGood}
}

func TestRecordIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n > 64 {
		t.Errorf("a probe in flight takes %d octets, more than 64", n)
	}
}

func TestAnswerLeadsBackToItsProbe(t *testing.T) {
	for i, want := range []State{Accepted, Refused, Accepted, Refused} {
		b := openBook(t)
		s := syn(t, b, i)
		if d := b.Outgoing(&s, 1000); d != Left {
			t.Fatalf("probe %d left: %s", i, d)
		}
		flags := wire.SYN | wire.ACK
		if want == Refused {
			flags = wire.RST | wire.ACK
		}
		a := answerTo(&s, flags)
		got, d, reset := b.Incoming(&a, 1750)
		if got != i || d != First || reset != (want == Accepted) {
			t.Errorf("probe %d: answer of %d, %s, reset %t", i, got, d, reset)
		}
		r := Result{Flow: b.Flow(i), State: want, Left: true, Timed: true, Took: 750}
		if diff := cmp.Diff(r, b.Result(i), cmp.Comparer(func(a, b wire.Flow) bool { return a == b })); diff != "" {
			t.Errorf("probe %d (-want +got):\n%s", i, diff)
		}
	}
}

// Each row is one step away from an answer that counts.
func TestWhatAnswersNoProbe(t *testing.T) {
	for _, x := range []struct {
		story  string
		change func(*wire.Segment)
		want   Disposition
	}{
		{"acknowledges one octet too many", func(s *wire.Segment) { s.Ack++ }, Stray},
		{"from another port", func(s *wire.Segment) { s.Src = netip.AddrPortFrom(s.Src.Addr(), 444) }, Stray},
		{"from another address", func(s *wire.Segment) { s.Src = netip.AddrPortFrom(s.Src.Addr().Next(), 443) }, Stray},
		{"to another address of ours", func(s *wire.Segment) { s.Dst = netip.AddrPortFrom(s.Dst.Addr().Next(), s.Dst.Port()) }, Stray},
		{"to the port of the other probe", func(s *wire.Segment) { s.Dst = netip.AddrPortFrom(s.Dst.Addr(), 62001) }, Stray},
		{"damaged", func(s *wire.Segment) { s.Checksum = wire.ChecksumBad }, Corrupt},
		{"an RST that acknowledges nothing", func(s *wire.Segment) { s.Flags = wire.RST }, Other},
		{"a bare ACK", func(s *wire.Segment) { s.Flags = wire.ACK }, Other},
	} {
		b := openBook(t)
		s := syn(t, b, 0)
		a := answerTo(&s, wire.SYN|wire.ACK)
		x.change(&a)
		_, d, reset := b.Incoming(&a, 2000)
		if d != x.want || reset || b.Result(0).State != Pending {
			t.Errorf("%s: %s, reset %t, probe %s; want %s", x.story, d, reset, b.Result(0).State, x.want)
		}
	}
}

func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	b := openBook(t)
	s := syn(t, b, 0)
	b.Outgoing(&s, 1000)
	if d := b.Outgoing(&s, 1100); d != LeftAgain {
		t.Errorf("the same SYN on a second device: %s", d)
	}
	a := answerTo(&s, wire.SYN|wire.ACK)
	b.Incoming(&a, 1500)
	if _, d, reset := b.Incoming(&a, 9000); d != Again || !reset {
		t.Errorf("a repeated SYN-ACK: %s, reset %t: its first reset was lost", d, reset)
	}
	if r := b.Result(0); r.Took != 500 {
		t.Errorf("took %s, by the repeats", r.Took)
	}
}

func TestUnreachableNeedsOurSequenceNumber(t *testing.T) {
	b := openBook(t)
	s := syn(t, b, 2)
	for _, x := range []struct {
		seq  wire.Seq
		has  bool
		want Disposition
	}{{s.Seq, false, Stray}, {s.Seq + 1, true, Stray}, {s.Seq, true, First}} {
		m := wire.ICMPError{Type: 3, Code: 13, Quoted: s.Flow(), QuotedSeq: x.seq, HasSeq: x.has}
		if d := b.Unreachable(&m, 10); d != x.want {
			t.Errorf("%v: %s", x, d)
		}
	}
	if r := b.Result(2); r.State != Unreachable || r.Timed || r.ICMPType != 3 || r.ICMPCode != 13 {
		t.Errorf("%+v", r)
	}
}

func TestResetEndsWhatTheSynOpened(t *testing.T) {
	b := openBook(t)
	s := syn(t, b, 3)
	p := make([]byte, 128)
	var rst wire.Segment
	if r := wire.Parse(p[:b.PutReset(p, 3)], &rst); r != wire.ReasonNone {
		t.Fatal(r)
	}
	if rst.Flags != wire.RST || rst.Seq != s.Seq+1 || rst.Flow() != s.Flow() || rst.Checksum != wire.ChecksumGood {
		t.Errorf("%+v", rst)
	}
}

func TestSummary(t *testing.T) {
	b := openBook(t)
	for i := range 2 {
		s := syn(t, b, i)
		b.Outgoing(&s, 1000)
		a := answerTo(&s, wire.SYN|wire.ACK)
		b.Incoming(&a, 2000+int64(i)*1000)
	}
	b.Refuse(2)
	want := Summary{Probes: 4, States: map[State]int{Accepted: 2, NotSent: 1, Pending: 1}, Unseen: 1, Times: Times{Timed: 2, Least: 1000, P50: 1000, P90: 1000, P99: 1000, Most: 2000}}
	if diff := cmp.Diff(want, b.Summarize()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPacketPathAllocatesNothing(t *testing.T) {
	b := openBook(t)
	p := make([]byte, 128)
	s := syn(t, b, 0)
	a := answerTo(&s, wire.SYN|wire.ACK)
	if n := testing.AllocsPerRun(100, func() {
		b.Put(p, 0, 0)
		b.Outgoing(&s, 1)
		b.Incoming(&a, 2)
		b.PutReset(p, 0)
	}); n != 0 {
		t.Errorf("%v allocations a probe", n)
	}
}

func BenchmarkProbe(b *testing.B) {
	book := openBook(b)
	p := make([]byte, 128)
	s := syn(b, book, 0)
	a := answerTo(&s, wire.SYN|wire.ACK)
	b.ReportAllocs()
	for b.Loop() {
		book.Put(p, 0, 0)
		book.Outgoing(&s, 1)
		book.Incoming(&a, 2)
		book.PutReset(p, 0)
	}
}
