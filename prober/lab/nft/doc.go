// Package nft describes nftables rules as values that read like the rules they become: a table of chains, a chain of rules, a
// rule of matches and one action. It only builds expressions; who installs them, and in which namespace, is the caller's.
package nft
