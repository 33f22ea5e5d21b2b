package rawsock

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Router answers questions about routes, devices and neighbours from the kernel of one network namespace: that of the thread
// that called NewRouter, whatever thread asks. It may be shared by goroutines. The zero Router asks in the namespace of
// the asking thread, with a socket for each question (60 µs for a route and its next hop in place of 20).
type Router struct {
	handle  netlink.Handle
	sockets map[int]*nl.SocketHandle
}

// NewRouter opens the sockets of a Router, which Close frees.
func NewRouter() (*Router, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}
	return &Router{*h, map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

// Close frees the sockets.
func (rt *Router) Close() {
	rt.handle.Close()
	for _, s := range rt.sockets {
		s.Close()
	}
}

// request is a question of a kind that the netlink library does not put as we need it.
func (rt *Router) request(kind int, parts ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, 0)
	req.Sockets = rt.sockets
	for _, p := range parts {
		req.AddData(p)
	}
	return req
}
