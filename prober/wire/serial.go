package wire

// Seq is a TCP sequence number. It lives on a circle of 2³² values (RFC 9293 §3.4), so order is a question of distance:
// compare with Before, never with <.
type Seq uint32

// Before reports whether s comes before t on the circle: the distance from s forward to t is 1 … 2³¹. Two numbers exactly
// 2³¹ apart have no order (RFC 1982 §3.2 leaves it undefined); each is then before the other, as in Linux's before()
// (include/net/tcp.h, 6.18).
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// Add returns s moved forward by n bytes (negative: back), modulo 2³².
func (s Seq) Add(n int) Seq { return s + Seq(uint32(n)) }

// Sub returns the signed distance from t to s, in −2³¹ … 2³¹−1 bytes.
func (s Seq) Sub(t Seq) int32 { return int32(s - t) }

// TSval is a timestamp-option clock value (RFC 7323 §3.2): a serial number like Seq, in ticks of the sender's own unit.
type TSval uint32

// Before reports whether v is older than w: int32(v−w) < 0, the comparison of PAWS (RFC 7323 §5.2). Two values exactly
// 2³¹ apart are each before the other.
func (v TSval) Before(w TSval) bool { return int32(v-w) < 0 }

// Add returns v moved by n ticks (negative: back), modulo 2³².
func (v TSval) Add(n int64) TSval { return TSval(uint32(int64(uint32(v)) + n)) }

// Sub returns the signed distance from w to v in ticks, in −2³¹ … 2³¹−1.
func (v TSval) Sub(w TSval) int32 { return int32(v - w) }
