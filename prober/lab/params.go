package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNeedsRoot is returned by Start for a scenario that needs root, in a process without.
var ErrNeedsRoot = errors.New("needs root")

// ErrNeedsProgram is returned by Start for a scenario that runs a program which is not installed.
var ErrNeedsProgram = errors.New("needs a program")

// Param is a knob of a scenario.
type Param struct {
	Name    string
	Default string
	Help    string // with unit
	Range   Range
}

// Values are a scenario's parameters in force. Its methods keep the first value that cannot be read as what is asked of it.
type Values struct {
	set map[string]string
	err error
}

// resolve puts set over the defaults; a name that the scenario does not have is an error that lists those it has.
func resolve(params []Param, set map[string]string) (*Values, error) {
	v := &Values{set: map[string]string{}}
	for _, p := range params {
		v.set[p.Name] = p.Default
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, ok := v.set[name]; !ok {
			known := slices.Sorted(maps.Keys(v.set))
			return nil, fmt.Errorf("no parameter %q; it has: %s", name, strings.Join(known, ", "))
		}
		v.set[name] = set[name]
	}
	for _, p := range params {
		if err := p.Range.check(v.set[p.Name]); err != nil {
			return nil, fmt.Errorf("parameter %s=%q: %w", p.Name, v.set[p.Name], err)
		}
	}
	return v, nil
}

func (v *Values) keep(name string, err error) {
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("parameter %s=%q: %w", name, v.set[name], err)
	}
}

// String returns a parameter as it stands.
func (v *Values) String(name string) string {
	s, ok := v.set[name]
	if !ok {
		v.keep(name, errors.New("is not declared"))
	}
	return s
}

// Int returns a parameter as a whole number ≥ 0.
func (v *Values) Int(name string) int {
	n, err := strconv.ParseUint(v.String(name), 10, 31)
	v.keep(name, err)
	return int(n)
}

// Uint32 returns a parameter as a 32-bit number.
func (v *Values) Uint32(name string) uint32 {
	n, err := strconv.ParseUint(v.String(name), 10, 32)
	v.keep(name, err)
	return uint32(n)
}

// Duration returns a parameter as a duration ("20ms").
func (v *Values) Duration(name string) time.Duration {
	d, err := time.ParseDuration(v.String(name))
	v.keep(name, err)
	return d
}

// millis returns a duration as the whole milliseconds that a sysctl wants.
func (v *Values) millis(name string) string {
	return strconv.FormatInt(v.Duration(name).Milliseconds(), 10)
}

// Fraction returns a parameter of 0 … 1.
func (v *Values) Fraction(name string) float64 {
	f, err := strconv.ParseFloat(v.String(name), 64)
	if err == nil && !(f >= 0 && f <= 1) {
		err = errors.New("is not between 0 and 1")
	}
	v.keep(name, err)
	return f
}

// Bool returns a parameter as yes or no ("true", "false").
func (v *Values) Bool(name string) bool {
	b, err := strconv.ParseBool(v.String(name))
	v.keep(name, err)
	return b
}

// errNotOneOf says what a parameter may be.
func errNotOneOf(values ...string) error {
	return errors.New("is none of " + strings.Join(values, ", "))
}
