package rawsock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Why a destination cannot be reached from here, or a port not be held. Errors of this package wrap one of these, or the errno.
var (
	ErrNoRoute           = errors.New("no route")
	ErrUnreachable       = errors.New("an unreachable route")
	ErrProhibited        = errors.New("a prohibit route")
	ErrBlackhole         = errors.New("a blackhole route")
	ErrInterfaceUnknown  = errors.New("no such interface")
	ErrInterfaceDown     = errors.New("interface is down")
	ErrForeignSource     = errors.New("source address is not one of this host's")
	ErrUnusableSource    = errors.New("packets from this source address cannot leave by this way")
	ErrUnsupportedDevice = errors.New("link type not supported")
	ErrNoNeighbor        = errors.New("next hop does not answer")
	ErrPortInUse         = errors.New("port is in use")
)

// capabilityError adds what to do to a permission error, which errors.Is finds as os.ErrPermission.
type capabilityError struct {
	op  string
	err error
}

func (e *capabilityError) Error() string {
	return fmt.Sprintf("%s: needs CAP_NET_RAW (run as root, grant it with setcap cap_net_raw+ep or "+
		"AmbientCapabilities=CAP_NET_RAW, or enter a user and network namespace): %v", e.op, e.err)
}

func (e *capabilityError) Unwrap() error { return e.err }

// Is makes every capability error os.ErrPermission, whatever errno the kernel chose.
func (e *capabilityError) Is(target error) bool { return target == os.ErrPermission }

func socketError(op string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return &capabilityError{op, err}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// CanCapture reports whether this thread may open packet sockets in its network namespace: nil, or an error that names the
// capability and is os.ErrPermission. Nothing is received by the socket that it tries.
func CanCapture() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return socketError("open packet socket", err)
	}
	return unix.Close(fd)
}
