// Package watch reads what hosts say of themselves again and again, and hands each reading over with what rose since the one
// before and since the beginning: kernel counters of one or more network namespaces, and if asked their connections by peer.
// What a rise means is prober/testimony's to say.
//
// It never changes what it reads, sends no packet, and starts no goroutine that outlives a reading.
package watch
