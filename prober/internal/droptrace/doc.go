// Package droptrace counts in the kernel what it drops, sends again and resolves: by flow and reason (tracepoint skb:kfree_skb), by peer and class
// (tcp:tcp_retransmit_skb, tcp:tcp_retransmit_synack), and by neighbour and state (neigh:*). The programs are assembled here, with the offsets of this
// very kernel's structures from its BTF; nothing is compiled, nothing is written to a disk, and all of it goes with the process.
//
// Whatever happens in the kernel costs one look-up in a table of bounded size: a flood moves counters and wakes nobody. What passes through none of
// these tracepoints is not seen: a SYN that a listener drops is freed without a word about it, as far as tcp_conn_request drops it (net/ipv4/tcp_input.c,
// 6.18: queues full, per-host PAWS). Who shows this package's counts says so and has the MIB counters beside them.
//
// The programs call bpf_probe_read_kernel, which the kernel lends to GPL-compatible programs only; they, and they alone of this program, are
// licensed as "GPL" beside the project's own licence (see LICENSE).
package droptrace
