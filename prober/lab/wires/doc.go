// Package wires is what lies between two hosts of the lab where no kernel mechanism does what the fault needs: a stretch of
// cable, run in this process, that delays, loses, reorders, copies and edits frames, or behaves as a middlebox or an old
// kernel would.
//
// What happens to a packet is decided by pure state machines (Stage, Line) that take the time as a value and never touch a
// socket; only Insert does I/O, in a namespace of its own between the two ends.
package wires
