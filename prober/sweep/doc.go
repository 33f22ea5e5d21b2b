// Package sweep keeps the books of one SYN, or a few, to each of very many targets: flat records of 48 octets, found again by
// the sequence number that an answer acknowledges. It computes alone: it sends nothing and reads no clock.
//
// Scheduled rounds have records of their own, in package pulse. What both do is in package wire: the numbers that lead back (wire.Numbers), and
// the encoding of SYNs. The rest only looks alike. A book is written once and read afterwards: every probe has its own destination and its own end,
// which the record holds whole, and a first answer settles it. A pulse's records are used again and again, their destination stands in the burst,
// and what they are for is to see at once that anything at all is unusual, a repeat, a frame on another device, a damaged answer, so that the
// burst's frames are kept and judged elsewhere in full.
package sweep
