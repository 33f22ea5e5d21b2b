// Package stats holds the statistics that verdicts rest on: exact tests, intervals and a sequential test, each with the error
// rate that it guarantees. It is pure arithmetic on counts: it draws no random numbers, keeps no state but what a value
// holds, and never names a cause.
//
// Every p-value is one-sided and exact, not a normal approximation: under the hypothesis it is named for, p ≤ α happens with
// a probability of at most α, for every α. Counts that cannot be (negative, or more hits than trials) and probabilities
// outside 0 … 1 give NaN, which is below no α.
package stats
