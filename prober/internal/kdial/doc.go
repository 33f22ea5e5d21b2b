// Package kdial makes bursts of ordinary kernel connects: nonblocking sockets on one epoll set per burst, created and bound
// first and then connected back to back, each judged once by its errno, its ICMP error queue and its TCP_INFO. It works
// without any capability.
//
// It never sends a byte after the handshake, never repeats a connect, keeps no goroutine of its own, and names no cause: its
// times are this process's clock around system calls, a cross-check of the capture and all there is without one.
package kdial
