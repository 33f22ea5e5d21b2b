// Package sockdiag asks the kernel for every TCP connection of a network namespace and what it knows of each (sock_diag(7) with
// INET_DIAG_INFO), IPv4 and IPv6, without a privilege and without touching one of them. It holds one buffer, however many
// connections there are, and takes what an old kernel's shorter tcp_info has.
package sockdiag
