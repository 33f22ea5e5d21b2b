// Package neigh is everything the prober does with neighbours: it decodes ARP and Neighbor Discovery frames that the
// capture ring saw, reads, warms and forgets single entries of the kernel's table, follows its changes, answers ARP
// for a borrowed address, and asks whether an address is free before one is borrowed.
//
// It never captures what the ring captures already, never sends more than the limiter it is given allows, never announces
// an address, never changes an entry that an administrator made, and leaves nothing behind: what it answers for is forgotten
// with its socket.
package neigh
