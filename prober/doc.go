// Package prober finds out why connections to a VIP stall. It opens bursts of concurrent connections — the kernel's own and
// raw SYNs — watches every segment and ARP frame of them on one capture ring, and judges what it saw.
//
// A Prober owns all goroutines, sockets and budgets; whoever made it closes it. It refuses every address that its allow-list
// does not name, at every attempt, on the resolved address.
package prober
