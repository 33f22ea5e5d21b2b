package results

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// A spool file begins with its magic and the mark of the results file that it belongs to, and goes on with records, numbers being little-endian:
//
//	+--------+-------+----------+---------+
//	| length | crc32 | sequence | content |   length: 4 octets, of sequence and content; crc32: 4, of the same (IEEE); sequence: 8
//	+--------+-------+----------+---------+
//
// A kill can leave the last one unfinished: reading ends where a record does not fit its length and sum.
const (
	spoolMagic  = "VIPPSPL1"
	spoolHead   = len(spoolMagic) + 8
	recordHead  = 8
	sequenceLen = 8
)

// maxRecord bounds a record that is read: a round of 8 MiB of frames and its JSON are far below it.
const maxRecord = 1 << 30

func appendSpoolHead(b []byte, mark uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, spoolMagic...), mark)
}

// appendRecord adds the record of an item.
func appendRecord(b []byte, it *item) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, recordHead)...)
	b = binary.LittleEndian.AppendUint64(b, it.seq)
	b, err := appendItem(b, it)
	if err != nil {
		return b[:at], err
	}
	body := b[at+recordHead:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.ChecksumIEEE(body))
	return b, nil
}

// parseSpool reads what belongs to mark and is behind a sequence number, in the order in which it was written; unread is how many whole records
// are none that this program can read.
func parseSpool(b []byte, mark, behind uint64) (out []item, unread int) {
	if len(b) < spoolHead || string(b[:len(spoolMagic)]) != spoolMagic || binary.LittleEndian.Uint64(b[len(spoolMagic):]) != mark {
		return nil, 0
	}
	for b = b[spoolHead:]; len(b) > recordHead; {
		n := binary.LittleEndian.Uint32(b)
		if n < sequenceLen || n > maxRecord || int(n) > len(b)-recordHead {
			break
		}
		body := b[recordHead : recordHead+int(n)]
		if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(b[4:]) {
			break
		}
		b = b[recordHead+int(n):]
		seq := binary.LittleEndian.Uint64(body)
		if seq <= behind {
			continue
		}
		it, err := parseItem(body[sequenceLen:])
		if err != nil {
			unread++
			continue
		}
		it.seq = seq
		out = append(out, it)
	}
	return out, unread
}

// The kinds of an item.
const (
	entryItem = 'e'
	runItem   = 'r'
)

func appendItem(b []byte, it *item) ([]byte, error) {
	if it.run != nil {
		text, err := json.Marshal(it.run)
		if err != nil {
			return b, fmt.Errorf("run %s: %w", it.run.ID, err)
		}
		return append(append(b, runItem), text...), nil
	}
	return appendEntry(append(b, entryItem), it.entry), nil
}

func parseItem(b []byte) (it item, err error) {
	if len(b) == 0 {
		return it, errSpooled
	}
	switch b[0] {
	case runItem:
		it.run = &Run{}
		if err := json.Unmarshal(b[1:], it.run); err != nil {
			return item{}, err
		}
		return it, nil
	case entryItem:
		it.entry, err = parseEntry(b[1:])
		return it, err
	}
	return it, errSpooled
}

// appendEntry encodes all of an entry; parseEntry reads the fields in the same order.
func appendEntry(b []byte, e *Entry) []byte {
	for _, s := range []string{e.Job, e.Module, e.Target, e.Addr, string(e.Origin), e.Run, e.Why, e.Error, e.ErrorKind, e.Headline} {
		b = appendText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Labels)))
	for _, k := range slices.Sorted(maps.Keys(e.Labels)) {
		b = appendText(appendText(b, k), e.Labels[k])
	}
	b = binary.AppendUvarint(b, uint64(len(e.Causes)))
	for _, c := range e.Causes {
		b = appendText(appendText(b, c.Verdict), c.Level)
	}
	for _, n := range []int64{e.ID, e.Started.UnixNano(), int64(e.Duration), int64(e.Attempts), int64(e.Stalled)} {
		b = binary.AppendVarint(b, n)
	}
	flags := byte(0)
	for i, set := range []bool{e.Member, e.Success, e.Detail, e.Capture, e.Keep} {
		if set {
			flags |= 1 << i
		}
	}
	b = append(b, flags)
	var room [256]byte
	b = appendText(b, e.Figures.Append(room[:0]))
	b = appendText(b, minute.AppendPoints(room[:0], e.Points))
	return appendText(appendText(b, e.Content), e.Pcapng)
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errSpooled = errors.New("it is none that was written here")

// spooled reads the fields of an entry; the first error stays.
type spooled struct {
	b   []byte
	err error
}

func (r *spooled) fail() {
	r.b, r.err = nil, errSpooled
}

func (r *spooled) bytes() []byte {
	n, width := binary.Uvarint(r.b)
	if width <= 0 || n > uint64(len(r.b)-width) {
		r.fail()
		return nil
	}
	out := r.b[width : width+int(n)]
	r.b = r.b[width+int(n):]
	return out
}

func (r *spooled) text() string { return string(r.bytes()) }

// count is a number of things of at least two octets each.
func (r *spooled) count() int {
	n, width := binary.Uvarint(r.b)
	if width <= 0 || n > uint64(len(r.b)/2) {
		r.fail()
		return 0
	}
	r.b = r.b[width:]
	return int(n)
}

func (r *spooled) number() int64 {
	n, width := binary.Varint(r.b)
	if width <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[width:]
	return n
}

func (r *spooled) flags() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	f := r.b[0]
	r.b = r.b[1:]
	return f
}

func parseEntry(b []byte) (*Entry, error) {
	r, e := &spooled{b: b}, &Entry{}
	var origin string
	for _, s := range []*string{&e.Job, &e.Module, &e.Target, &e.Addr, &origin, &e.Run, &e.Why, &e.Error, &e.ErrorKind, &e.Headline} {
		*s = r.text()
	}
	e.Origin = Origin(origin)
	if n := r.count(); n > 0 {
		e.Labels = make(map[string]string, n)
		for range n {
			k := r.text()
			e.Labels[k] = r.text()
		}
	}
	for range r.count() {
		e.Causes = append(e.Causes, Cause{r.text(), r.text()})
	}
	var started, duration, attempts, stalled int64
	for _, n := range []*int64{&e.ID, &started, &duration, &attempts, &stalled} {
		*n = r.number()
	}
	e.Started, e.Duration, e.Attempts, e.Stalled = time.Unix(0, started), time.Duration(duration), int(attempts), int(stalled)
	flags := r.flags()
	for i, set := range []*bool{&e.Member, &e.Success, &e.Detail, &e.Capture, &e.Keep} {
		*set = flags&(1<<i) != 0
	}
	figures, points := r.bytes(), r.bytes()
	e.Content, e.Pcapng = slices.Clone(r.bytes()), slices.Clone(r.bytes())
	if r.err != nil {
		return nil, r.err
	}
	var err error
	if e.Figures, _, err = minute.ParseFigures(figures); err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	if e.Points, err = minute.ParsePoints(nil, points); err != nil {
		return nil, fmt.Errorf("points: %w", err)
	}
	return e, nil
}
