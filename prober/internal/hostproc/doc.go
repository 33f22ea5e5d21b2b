// Package hostproc reads what the prober's own host says about itself: kernel counters before and after a burst, the
// sysctls that shape a handshake, the ladder that this kernel's connects follow, and what this process is allowed to do.
//
// It never writes, never needs a capability, and never takes an absent file or counter for a zero: every kernel has its own
// set, and what is not there is listed. Network files are read through /proc/thread-self/net, so that a thread which has
// entered another network namespace sees that one.
package hostproc
