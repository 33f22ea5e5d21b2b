// Package lab makes every fault that vipprobe can name, on demand and labelled: a scenario is a small network of real kernels in
// private namespaces with one fault in it, the verdict that a diagnosis should reach, and the near miss one step away where
// it should not. Score runs a diagnosis against them all, blind, and compares.
//
// It never tells the diagnosis more than the addresses to probe, never touches the machine's own network, and leaves
// nothing behind.
package lab
