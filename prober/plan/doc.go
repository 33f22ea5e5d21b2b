// Package plan holds what is going to be done, as data: bursts of shots, the script each shot follows, the retransmission
// ladder it repeats its SYN on, and the choice of source ports. A plan is computed, then executed by the engine, then
// judged; nothing here sends, listens, reads a clock or logs.
package plan
