// Package rawsock is the prober's packet I/O on Linux: one capture ring that sees what we send and what comes back with the
// kernel's own times (Tap), batched transmission of ready-made IP packets (LinkSender, LocalSender), the way to a destination
// (LookupRoute, NextHopMAC), and source ports the kernel keeps silent about (HoldPort).
//
// It moves octets and reports facts. It never builds or judges a TCP segment, never retries a packet, never changes a route,
// a neighbour entry, a rule or a sysctl, and needs no capability but CAP_NET_RAW. Everything happens in the network namespace
// of the calling thread.
package rawsock
