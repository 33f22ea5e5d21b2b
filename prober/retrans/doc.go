// Package retrans reads the segments of one TCP connection, as one tap saw them, and says which of them were sent again, why the sender did
// it, which of the copies were needless, and what arrived out of order. It knows both views: that of the sender of data, which sees every
// copy leave and every acknowledgment come, and that of the receiver, which must infer.
//
// It is pure: segments in, counts out. It names no cause and judges no path.
package retrans
