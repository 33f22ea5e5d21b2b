// Package bench runs this program and its peers in turn between two namespaces on a veth pair and collects what each costs. It
// touches no network but its own, and every process that it starts has a deadline.
package bench
