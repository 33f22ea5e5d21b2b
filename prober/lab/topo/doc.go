// Package topo builds small networks of real kernels inside private namespaces: hosts that are each a network namespace of
// their own, the links between them, their addresses, routes, sysctls, packet rules and listeners.
//
// It needs no root. A process first re-executes itself into new user, network, PID and mount namespaces (Reexec, Enter);
// only inside them can a Net be made. Nothing it makes has a name outside: every namespace, process and rule ends with the
// process that made it, also when that is killed. It never writes to the namespace that the user's machine lives in.
package topo
