// Package peers finds who is behind a host's retransmissions: from what the kernel says of every TCP connection, read again and
// again, it adds up by peer what was sent, sent again and reordered, and tests whether a peer differs from all others or merely
// leads by chance.
//
// It is pure and holds no more than one small record for each open connection and each peer. Connections that came and went
// between two readings are not in it; Report.Covers says what share of the host's own count is.
package peers
