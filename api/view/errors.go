package view

import (
	"errors"

	"github.com/vipprobe/vipprobe/prober"
)

// ErrorKind sorts the reasons why nothing could be probed.
type ErrorKind string

// The kinds. Failed is any other reason, a deadline among them.
const (
	NotAllowed  ErrorKind = "not_allowed"
	NotResolved ErrorKind = "not_resolved"
	BadTarget   ErrorKind = "bad_target"
	Budget      ErrorKind = "budget"
	Environment ErrorKind = "environment"
	Paused      ErrorKind = "paused"
	Failed      ErrorKind = "failed"
)

// KindOf sorts an error of the prober; "" for nil.
func KindOf(err error) ErrorKind {
	var (
		allow   *prober.NotAllowedError
		resolve *prober.ResolveError
		target  *prober.TargetError
		budget  *prober.BudgetError
		env     *prober.EnvironmentError
		paused  *prober.PausedError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &allow):
		return NotAllowed
	case errors.As(err, &resolve):
		return NotResolved
	case errors.As(err, &target):
		return BadTarget
	case errors.As(err, &budget):
		return Budget
	case errors.As(err, &env):
		return Environment
	case errors.As(err, &paused):
		return Paused
	}
	return Failed
}
