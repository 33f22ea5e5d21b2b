// Package record turns rounds into what is kept of them, and remembers how every scheduled target fares. It decides what is worth a row of its
// own and how often; it measures nothing, and waits for nobody: what the store has no room for is counted there.
package record
