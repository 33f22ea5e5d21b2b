// Package fakenet is a network made of arithmetic: a vantage with its kernel, its raw shots and its tap, the paths, balancers and
// filters before it, and servers behind them, each with one fault on demand. It executes a plan.Burst as the engine does and gives
// an observe.Observation, in virtual time and from one seed, so that experiments and rules meet thousands of networks a second.
//
// It opens no socket, starts no goroutine, reads no clock and draws from no dice but its own seed. It simulates TCP as far as a
// handshake, a short exchange and its close go; there is no congestion control and no SACK.
package fakenet
