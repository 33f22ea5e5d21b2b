package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

// primeFlags are what a diagnosis may do with connections that the server closes first.
type primeFlags struct{ with, control string }

// healSeconds is the time that a diagnosis with --heal has where none is given: a minute more, and room.
const healSeconds = 150

func (f *primeFlags) register(fs *pflag.FlagSet, o *prober.DiagnoseOptions) {
	fs.BoolVar(&o.MayPrime, "i-own-this-path", false, "nobody else reaches the target from this source address: permits connections that the server "+
		"closes first, after which a server with per-host PAWS refuses older clocks from this address for a minute")
	fs.BoolVar(&o.Prime.Anyway, "prime-anyway", false, "with --i-own-this-path: also where what is seen suggests that others share the address or the server")
	fs.StringVar(&f.with, "prime-with", "auto", "ways to make the server close first, a list of: auto, http, tls, postgres, mysql, redis, ssh, smtp, idle, hex:OCTETS, text:STRING")
	fs.StringVar(&f.control, "control-source", "", "another address of this host, which does not prime: the same timestamps are asked from there as a control")
	fs.BoolVar(&o.Prime.Heal, "heal", false, fmt.Sprintf("after a proof wait a minute, without other traffic, and see the server forget; --max-seconds is %d then", healSeconds))
}

// read puts the flags into the options.
func (f *primeFlags) read(fs *pflag.FlagSet, o *prober.DiagnoseOptions) error {
	if !o.MayPrime {
		for _, name := range []string{"prime-anyway", "prime-with", "control-source", "heal"} {
			if fs.Changed(name) {
				return usageError{fmt.Errorf("--%s: nothing is primed without --i-own-this-path", name)}
			}
		}
		return nil
	}
	ways, err := experiment.ParseClosers(f.with)
	if err != nil {
		return usageError{fmt.Errorf("--prime-with %w", err)}
	}
	o.Prime.With = ways
	if f.control != "" {
		if o.Prime.Control, err = netip.ParseAddr(f.control); err != nil {
			return usageError{fmt.Errorf("--control-source %q: %w", f.control, errors.New("want an address of this host"))}
		}
		o.Prime.Control = o.Prime.Control.Unmap()
	}
	if o.Prime.Heal && !fs.Changed("max-seconds") {
		o.Seconds = healSeconds
	}
	return nil
}
