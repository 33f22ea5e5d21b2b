package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func doctorCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what this machine permits, and what it might make stall itself",
		Long: "doctor looks at capabilities, source ports, limits, neighbour tables and the kernel's settings, and says what each means\n" +
			"for a probe. It sends nothing and needs no privilege.\n\n" +
			"Exit 0: vipprobe works here, if with less to see where it warns; 3: it does not, for what is marked fail.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return doctor(cmd, output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func doctor(cmd *cobra.Command, output string) error {
	if output != "table" && output != "json" {
		return usageError{fmt.Errorf("--output %q: want table or json", output)}
	}
	ctx := cmd.Context()
	checks := prober.Doctor(ctx, prober.EngineOptions{})
	if ctx.Err() == nil {
		checks = append(checks, judgeNamespaces(topo.Supported()))
	}
	var err error
	if output == "json" {
		err = view.WriteJSON(cmd.OutOrStdout(), newDoctorView(checks))
	} else {
		err = renderChecks(newPrinter(cmd.OutOrStdout()), checks)
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return exitError(exitInterrupted)
	case slices.ContainsFunc(checks, func(c prober.Check) bool { return c.State == prober.CheckFail }):
		return exitError(exitEnvironment)
	}
	return nil
}

// judgeNamespaces takes what topo.Supported found. Nothing but the demo and the lab needs private namespaces.
func judgeNamespaces(err error) prober.Check {
	c := prober.Check{Name: "user_namespaces", State: prober.CheckOK, Detail: "there: demo and lab can build their networks"}
	if err == nil {
		return c
	}
	c.State, c.Detail = prober.CheckWarn, fmt.Sprintf("no demo and no lab: %v", err)
	if why, found := errors.AsType[*topo.Unsupported](err); found {
		c.Detail, c.Hint = fmt.Sprintf("no demo and no lab: %v; %s", why.Cause, why.Why), why.Fix
		if !strings.HasPrefix(why.Fix, "sudo sysctl ") { // no setting is to blame, and it is not doctor that needs power
			c.Hint = "sudo vipprobe demo"
		}
	}
	return c
}

// doctorView is the JSON form. Names of checks are stable; new ones may come.
type doctorView struct {
	Checks []checkView `json:"checks"`
}

type checkView struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

func newDoctorView(checks []prober.Check) doctorView {
	v := doctorView{Checks: []checkView{}}
	for _, c := range checks {
		v.Checks = append(v.Checks, checkView{c.Name, c.State.String(), c.Detail, c.Hint})
	}
	return v
}

// renderChecks writes a check a line: its state, its name, what was found, and what to do, broken where a line is full.
func renderChecks(p *printer, checks []prober.Check) error {
	const stateWidth, nameWidth = 6, 21
	indent := strings.Repeat(" ", stateWidth+nameWidth)
	for _, c := range checks {
		state := c.State.String()
		head := p.tint(stateColour(c.State), state) + pad("", stateWidth-len(state)) + pad(c.Name, nameWidth)
		p.f("%s%s\n", head, p.paragraph(indent, c.Detail, len(indent))[len(indent):])
		if c.Hint != "" {
			p.f("%s\n", p.paragraph(indent+"→ ", c.Hint, len(indent)+2))
		}
	}
	return p.err
}

func stateColour(s prober.CheckState) colour {
	switch s {
	case prober.CheckOK:
		return green
	case prober.CheckWarn:
		return yellow
	case prober.CheckFail:
		return red
	case prober.CheckUnknown:
	}
	return plain
}
