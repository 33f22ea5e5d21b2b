// Package api is the HTTP face of the service: /probe with the semantics of blackbox_exporter, the service's own /metrics, the
// configuration in force, health, reload and the log of recent probes. Handlers read a request, call the prober once and show
// what it found. The package opens no sockets, knows no packets, judges nothing, and takes from a URL nothing that could harm a
// target: what a probe does comes from the configuration.
package api
