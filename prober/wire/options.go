package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// OptionKind is the kind octet of a TCP option (IANA TCP parameters; RFC 9293 §3.2).
type OptionKind uint8

// The option kinds that the prober itself sends or judges. Others are kept as they came.
const (
	OptEnd           OptionKind = 0  // RFC 9293 §3.2: ends the list, no length octet
	OptNOP           OptionKind = 1  // RFC 9293 §3.2: padding, no length octet
	OptMSS           OptionKind = 2  // RFC 9293 §3.7.1: length 4
	OptWindowScale   OptionKind = 3  // RFC 7323 §2.2: length 3
	OptSACKPermitted OptionKind = 4  // RFC 2018 §2: length 2
	OptSACK          OptionKind = 5  // RFC 2018 §3: length 2 + 8·n, n ≥ 1
	OptTimestamps    OptionKind = 8  // RFC 7323 §3.2: length 10
	OptMD5           OptionKind = 19 // RFC 2385 §3: length 18
	OptFastOpen      OptionKind = 34 // RFC 7413 §2: length 2 … 18
)

// maxOptions is what the data offset leaves for options: 15·4 − 20 octets (RFC 9293 §3.1).
const maxOptions = 40

// Options is a TCP option list exactly as it stands on the wire, order, padding and unknown kinds included, in a value
// that is copied and compared without allocation. The zero value is the empty list.
type Options struct {
	raw [maxOptions]byte
	n   uint8
}

// Option is one entry of the list. Data excludes kind and length octets and aliases the list.
type Option struct {
	Kind OptionKind
	Data []byte
}

// ErrOptions is returned for an option list that RFC 9293 §3.2 does not allow; Offset is the first octet at fault.
type ErrOptions struct {
	Offset int
	Why    string
}

func (e *ErrOptions) Error() string {
	return fmt.Sprintf("TCP options: octet %d: %s", e.Offset, e.Why)
}

// ParseOptions copies and checks the option octets of a TCP header: b is at most 40 octets, every length octet is ≥ 2 and
// stays inside b, and options whose length is fixed by their RFC have it. What follows an End option is kept, not read.
// With an *ErrOptions the list still holds the (first 40) octets, and the accessors read what is sound in it.
func ParseOptions(b []byte) (Options, error) {
	var o Options
	if at, why := o.set(b); why != "" {
		return o, &ErrOptions{at, why}
	}
	return o, nil
}

// set copies b and returns the first octet at fault and why, or an empty why. It allocates nothing.
func (o *Options) set(b []byte) (at int, why string) {
	*o = Options{}
	o.n = uint8(copy(o.raw[:], b))
	if len(b) > maxOptions {
		return maxOptions, "more than 40 octets"
	}
	for i := 0; i < len(b); {
		kind, size := o.at(i)
		switch {
		case size == 0 && i+1 >= len(b):
			return i, "length octet missing"
		case size == 0:
			return i + 1, "length octet does not fit"
		case kind == OptEnd:
			return 0, ""
		case !sized(kind, size):
			return i + 1, "length is not that of the option's kind"
		}
		i += size
	}
	return 0, ""
}

// at returns the kind of the option at offset i and its size with kind and length octets; size 0 where the list ends or the
// length octet is missing or does not fit.
func (o *Options) at(i int) (kind OptionKind, size int) {
	n := int(o.n)
	if i >= n {
		return OptEnd, 0
	}
	kind = OptionKind(o.raw[i])
	if kind == OptEnd || kind == OptNOP {
		return kind, 1
	}
	if i+1 >= n {
		return kind, 0
	}
	size = int(o.raw[i+1])
	if size < 2 || i+size > n {
		return kind, 0
	}
	return kind, size
}

// sized reports whether an option may have that size, kind and length octets included.
func sized(k OptionKind, size int) bool {
	switch k {
	case OptMSS:
		return size == 4
	case OptWindowScale:
		return size == 3
	case OptSACKPermitted:
		return size == 2
	case OptSACK:
		return size >= 10 && size%8 == 2
	case OptTimestamps:
		return size == 10
	case OptMD5:
		return size == 18
	default:
		return true
	}
}

// Len is the number of octets on the wire, padding as it stands.
func (o *Options) Len() int { return int(o.n) }

// Bytes returns the octets as they stand on the wire; the slice aliases o.
func (o *Options) Bytes() []byte { return o.raw[:o.n] }

// All yields every option in wire order, NOPs included, up to End or to where the list cannot be read on. An option whose
// length is not that of its kind is yielded as it stands.
func (o *Options) All() iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for i := 0; ; {
			kind, size := o.at(i)
			if size == 0 || kind == OptEnd {
				return
			}
			var data []byte
			if size > 2 {
				data = o.raw[i+2 : i+size]
			}
			if !yield(Option{kind, data}) {
				return
			}
			i += size
		}
	}
}

// find returns the offset of the first option of a kind that has the length of its kind, or −1.
func (o *Options) find(k OptionKind) int {
	for i := 0; ; {
		kind, size := o.at(i)
		switch {
		case size == 0 || kind == OptEnd:
			return -1
		case kind == k && sized(k, size):
			return i
		}
		i += size
	}
}

// MSS returns the maximum segment size option in octets and whether it is there.
func (o *Options) MSS() (uint16, bool) {
	i := o.find(OptMSS)
	if i < 0 {
		return 0, false
	}
	return binary.BigEndian.Uint16(o.raw[i+2:]), true
}

// WindowScale returns the shift count as sent (RFC 7323 §2.3 caps its effect at 14) and whether it is there.
func (o *Options) WindowScale() (uint8, bool) {
	i := o.find(OptWindowScale)
	if i < 0 {
		return 0, false
	}
	return o.raw[i+2], true
}

// SACKPermitted reports whether the SACK-permitted option is there.
func (o *Options) SACKPermitted() bool { return o.find(OptSACKPermitted) >= 0 }

// Timestamps returns TSval and TSecr and whether the option is there.
func (o *Options) Timestamps() (val, ecr TSval, ok bool) {
	i := o.find(OptTimestamps)
	if i < 0 {
		return 0, 0, false
	}
	return TSval(binary.BigEndian.Uint32(o.raw[i+2:])), TSval(binary.BigEndian.Uint32(o.raw[i+6:])), true
}

// SetTimestamps writes TSval and TSecr into the timestamps option and reports whether there is one.
func (o *Options) SetTimestamps(val, ecr TSval) bool {
	i := o.find(OptTimestamps)
	if i < 0 {
		return false
	}
	binary.BigEndian.PutUint32(o.raw[i+2:], uint32(val))
	binary.BigEndian.PutUint32(o.raw[i+6:], uint32(ecr))
	return true
}

// Append adds an option of any kind with its data; NOP and End take none. It panics only when the list would pass 40
// octets, which is a mistake of the caller and never of the network.
func (o *Options) Append(k OptionKind, data ...byte) *Options {
	need := 1
	if k != OptNOP && k != OptEnd {
		need = 2 + len(data)
	}
	if int(o.n)+need > maxOptions {
		panic("wire: option list longer than 40 octets")
	}
	o.raw[o.n] = byte(k)
	if need > 1 {
		o.raw[o.n+1] = byte(need)
		copy(o.raw[o.n+2:], data)
	}
	o.n += uint8(need)
	return o
}

// AppendMSS adds an MSS option.
func (o *Options) AppendMSS(mss uint16) *Options { return o.Append(OptMSS, byte(mss>>8), byte(mss)) }

// AppendTimestamps adds a timestamps option.
func (o *Options) AppendTimestamps(val, ecr TSval) *Options {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(val))
	binary.BigEndian.PutUint32(b[4:], uint32(ecr))
	return o.Append(OptTimestamps, b[:]...)
}

// AppendSACK adds a SACK option of one block, from the first octet that has come to the one after the last (RFC 2018 §3).
func (o *Options) AppendSACK(from, to Seq) *Options {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(from))
	binary.BigEndian.PutUint32(b[4:], uint32(to))
	return o.Append(OptSACK, b[:]...)
}

// padded is the length rounded up to the 32-bit words of the data offset; the octets between are End (zero).
func (o *Options) padded() int { return (int(o.n) + 3) &^ 3 }

// LinuxSYN is the option set of a Linux client's SYN (net/ipv4/tcp_output.c tcp_syn_options, tcp_options_write; seen from
// 6.18 on the wire): MSS, SACK-permitted, timestamps, NOP, window scale. Some filters drop SYNs that carry less.
func LinuxSYN(mss uint16, val TSval, scale uint8) Options {
	var o Options
	o.AppendMSS(mss).Append(OptSACKPermitted).AppendTimestamps(val, 0).Append(OptNOP).Append(OptWindowScale, scale)
	return o
}

// LinuxSYNWithoutTimestamps is the same set where tcp_timestamps=0: MSS, NOP, NOP, SACK-permitted, NOP, window scale.
func LinuxSYNWithoutTimestamps(mss uint16, scale uint8) Options {
	var o Options
	o.AppendMSS(mss).Append(OptNOP).Append(OptNOP).Append(OptSACKPermitted).Append(OptNOP).Append(OptWindowScale, scale)
	return o
}
