// Package rollout judges new hosts before they join a pool: a policy is a list of checks, each on something that an experiment measured, and
// each passes, fails, or cannot be told. It is pure: prober.Validate measures.
//
// A ratio passes only where so many connects were made that one stall more than permitted would have been seen, and a value that is known as a
// range passes or fails only where all of the range does.
package rollout
