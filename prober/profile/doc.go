// Package profile says what a TCP host is like, from outside and without a login: how long it waits before it repeats a SYN-ACK, which
// options it offers, whether its timestamps are one clock, what a closed port answers, how much it sends before the first ACK. A Survey asks,
// Read makes a Profile of what was observed, Compare holds two profiles against each other, Group says which hosts are alike. It is pure.
//
// A value that several flows disagree on is no average but Varies: behind one address there are several hosts.
package profile
