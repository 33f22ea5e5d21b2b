// Package sweep keeps the books of one SYN, or a few, to each of very many targets: flat records of 48 octets, found again by
// the sequence number that an answer acknowledges. It computes alone: it sends nothing and reads no clock.
package sweep
