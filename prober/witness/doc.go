// Package witness joins what a server's own counters say with what was seen of it from outside: each SYN of ours that went without an answer
// should have moved the counter of the cause that is named by one. It compares the stretches of time in which such SYNs left with quiet ones, and
// upgrades a verdict, refutes it, names what the outside could not tell apart, or says why it does none of these.
//
// It is pure: who reads the counters, and how, is prober/internal/deposition's business; what a counter means stands in prober/testimony. It
// never names a cause that neither silence from outside nor a counter from inside speaks for, and never one that the background explains.
package witness
