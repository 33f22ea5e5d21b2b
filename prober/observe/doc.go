// Package observe turns what was captured and what the kernel said into attempts: which SYNs left and when, which answer
// belongs to which of them, how many were lost, how each handshake ended. It correlates and counts; it never sends, reads a
// clock, or names a cause.
package observe
