// Package pulse is the light path of scheduled raw bursts as pure state: flat records of the SYNs in flight, found by the sequence number
// that an answer acknowledges, the ladder of a whole burst in one timer, and a bounded history of frames. A burst that is answered at once
// leaves counts and round trips and nothing else; one that is not has its frames gathered, so that it can be judged in full afterwards.
//
// Sweeps have books of their own: package sweep says why.
//
// It sends nothing, reads no clock and judges no verdict. One caller at a time: it holds no lock.
package pulse
