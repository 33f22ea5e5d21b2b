package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor is who started the service and wants to be told how it fares: systemd, or what speaks its protocol (sd_notify(3): datagrams of
// lines VARIABLE=value to the socket that NOTIFY_SOCKET names). The zero value is nobody.
type supervisor struct {
	socket string
	// watchdog is the time after which silence means that the service hangs; 0: silence means nothing.
	watchdog time.Duration
}

// newSupervisor reads what the environment says of a supervisor. WATCHDOG_PID may name another process, to which WATCHDOG_USEC is said then.
func newSupervisor(getenv func(string) string, pid int) (supervisor, error) {
	v := supervisor{socket: getenv("NOTIFY_SOCKET")}
	if v.socket == "" {
		return v, nil
	}
	if !strings.HasPrefix(v.socket, "/") && !strings.HasPrefix(v.socket, "@") {
		return supervisor{}, fmt.Errorf("NOTIFY_SOCKET=%s: want a path, or @ and an abstract name", v.socket)
	}
	text := getenv("WATCHDOG_USEC")
	if whose := getenv("WATCHDOG_PID"); text == "" || whose != "" && whose != strconv.Itoa(pid) {
		return v, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > int64(365*24*time.Hour/time.Microsecond) {
		return supervisor{}, fmt.Errorf("WATCHDOG_USEC=%s: want a number of microseconds, at most a year", text)
	}
	v.watchdog = time.Duration(usec) * time.Microsecond
	return v, nil
}

// tell sends one message of lines VARIABLE=value.
func (v supervisor) tell(lines ...string) error {
	if v.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: v.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	if err = errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("tell the supervisor at %s: %w", v.socket, err)
	}
	return nil
}

// reloading says that the configuration is read anew; done, that this has ended and how. The time is what systemd 253 and later asks for.
func (v supervisor) reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the monotonic clock: %w", err)
	}
	return v.tell("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
}

func (v supervisor) ready(status string) error { return v.tell("READY=1", "STATUS="+oneLine(status)) }

func (v supervisor) stopping() error {
	return v.tell("STOPPING=1", "STATUS=finishing what is under way")
}

// oneLine keeps a text from being more than one line of a message.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// watch tells a supervisor with a watchdog, twice in its time, that the service lives, which is where alive returns in time without an
// error. It ends with ctx.
func (v supervisor) watch(ctx context.Context, alive func(context.Context) error, complain func(error)) {
	if v.watchdog == 0 {
		return
	}
	half := v.watchdog / 2
	t := time.NewTicker(half)
	defer t.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, half)
		err := alive(ask)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = v.tell("WATCHDOG=1")
		}
		if err != nil {
			complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// supervised is the supervisor of this process.
func supervised() (supervisor, error) { return newSupervisor(os.Getenv, os.Getpid()) }
