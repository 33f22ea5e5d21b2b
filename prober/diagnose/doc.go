// Package diagnose judges observations: small pure rules turn what was seen into findings, and a tree of them into one
// diagnosis, in which a failed parent silences its children. It never sends, never guesses, and knows nothing of where an
// observation came from.
package diagnose
