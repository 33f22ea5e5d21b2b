// Package results keeps what rounds gave: in memory, or in one SQLite file that outlives the process. Every connection is kept for some time
// as a point, and longer in figures of its minute; rounds that went wrong, and diagnoses, are kept as rows with all that was seen of them.
// Nothing is given to it that is waited for: what comes faster than it can be written is counted and left out. It never opens a socket and
// judges nothing; what a round means is said by those who add it.
//
// What Add took survives a kill of the process as soon as one goroutine that does nothing else has handed it to the kernel: it waits in a spool
// beside the file until a transaction has it, in batches of 100 ms, and the next process empties the spool, so that nothing is lost that came
// milliseconds before and nothing is kept twice. The database is a write-ahead log, which survives a kill as well; synchronous=NORMAL means that
// a power cut may cost the last seconds but never the file (https://sqlite.org/pragma.html#pragma_synchronous).
package results
