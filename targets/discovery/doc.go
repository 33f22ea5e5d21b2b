// Package discovery finds the targets of jobs: it runs Prometheus' own service discovery, as a library, for the blocks of a configuration, relabels
// what that finds, and tells which targets are which job's, with the labels, VIP and members of each. It probes nothing, and never shows a secret of
// a block.
package discovery
