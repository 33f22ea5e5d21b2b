// Package results keeps what rounds gave: in memory, or in one SQLite file that outlives the process. Every connection is kept for some time
// as a point, and longer in figures of its minute; rounds that went wrong, and diagnoses, are kept as rows with all that was seen of them.
// Nothing is given to it that is waited for: what comes faster than it can be written is counted and left out. It never opens a socket and
// judges nothing; what a round means is said by those who add it.
//
// What Add took is in the file 100 ms later as far as processor and disk keep up (Stats tells the slowest batch), and stays there however the process ends: batches of 25 ms
// go into the write-ahead log, which survives a kill; synchronous=NORMAL means that a power cut may cost the last seconds but never the file
// (https://sqlite.org/pragma.html#pragma_synchronous).
package results
