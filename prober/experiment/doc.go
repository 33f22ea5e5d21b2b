// Package experiment plans what is tried next: each experiment is a pure state machine that, given what was observed so far,
// proposes the next burst or has none. It sends nothing, reads no clock and holds no randomness but what it is given.
package experiment
