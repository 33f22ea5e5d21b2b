// Package minute folds the connections that were made to one target within one minute into few octets: counts, a sketch of how long
// handshakes took, and every connection as a point. It adds, encodes and decodes; it reads no clock and stores nothing.
package minute
