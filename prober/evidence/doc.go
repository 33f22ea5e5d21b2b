// Package evidence turns what a diagnosis has seen into files that stand on their own: a capture that Wireshark opens, observations from which
// the diagnosis can be made again, and what is to be known of the host that saw them. It writes files and reads one kind of them; it never
// touches a socket, and judges nothing.
package evidence
