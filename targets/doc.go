// Package targets reads the configuration: modules, what may be probed, how hard, and which targets are probed on a schedule.
// A file is either read whole into an immutable Config or refused with every mistake named by path, line and column. It
// resolves no names, opens no sockets and never shows a secret.
package targets
