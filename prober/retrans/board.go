package retrans

import (
	"slices"
	"sort"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// piece is a stretch of data that has been sent and is not acknowledged yet.
type piece struct {
	from, to wire.Seq
	at       time.Time // when it left last
	tsval    wire.TSval
	copies   int // times that it left again
	sacked   bool
}

// board holds the pieces in order of their sequence numbers, without gaps between them but for what the tap did not see leave.
type board struct {
	pieces []piece
	head   int // those before it are acknowledged
}

// tidy is how many acknowledged pieces are kept before the memory is reused.
const tidy = 1 << 10

func (b *board) live() []piece { return b.pieces[b.head:] }

// at is the index in pieces of the first live one that ends behind seq.
func (b *board) at(seq wire.Seq) int {
	live := b.live()
	return b.head + sort.Search(len(live), func(i int) bool { return seq.Before(live[i].to) })
}

// split makes a border at seq.
func (b *board) split(seq wire.Seq) {
	i := b.at(seq)
	if i == len(b.pieces) || !b.pieces[i].from.Before(seq) {
		return
	}
	rest := b.pieces[i]
	rest.from = seq
	b.pieces[i].to = seq
	b.pieces = slices.Insert(b.pieces, i+1, rest)
}

// each calls f for the pieces of a range, which begin and end with it.
func (b *board) each(r Range, f func(*piece)) {
	if !r.From.Before(r.To) {
		return
	}
	b.split(r.From)
	b.split(r.To)
	for i := b.at(r.From); i < len(b.pieces) && b.pieces[i].from.Before(r.To); i++ {
		f(&b.pieces[i])
	}
}

// acknowledge calls f for the pieces below ack and forgets them.
func (b *board) acknowledge(ack wire.Seq, f func(*piece)) {
	b.split(ack)
	for b.head < len(b.pieces) && b.pieces[b.head].from.Before(ack) {
		f(&b.pieces[b.head])
		b.head++
	}
	if b.head >= tidy {
		b.pieces = slices.Delete(b.pieces, 0, b.head)
		b.head = 0
	}
}

// first is the oldest piece; nil: all is acknowledged.
func (b *board) first() *piece {
	if b.head == len(b.pieces) {
		return nil
	}
	return &b.pieces[b.head]
}
