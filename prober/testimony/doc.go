// Package testimony knows what a host's own counters say: what one more of each means, which faults it speaks for and how
// clearly, what else moves it, which kernels have it, and where that is written. From differences between two readings it
// makes statements that a person, a metric or a rule can use.
//
// It is pure: readings are prober/internal/hostproc's or a scrape's, handed in as values. It never names a cause by itself. A
// counter is one host's word, of all its connections and not only of ours; whoever joins it with an experiment says what else
// moved it (Counter.Also).
package testimony
