// Package wire is the codec of what the prober puts on the network and takes from it: Ethernet and VLAN headers, IPv4, IPv6,
// TCP with its options, ICMP errors that quote one of our segments, Neighbor Discovery, serial-number arithmetic, and a
// one-line text form of a segment that reads both ways.
//
// It is pure: it never opens a socket, reads a clock or keeps state. Bytes come in as slices that the caller owns, a
// decoded Segment aliases its payload only, and nothing in this package panics on what a network can deliver.
package wire
