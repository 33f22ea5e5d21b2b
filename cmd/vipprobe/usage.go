package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError marks what the caller got wrong: exit 2, whatever is behind it.
type usageError struct{ error }

// wantTargets refuses a command line that names no target.
func wantTargets(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("%s: no target; want HOST:PORT, 192.0.2.1:443 or [2001:db8::1]:443", cmd.Name())}
	}
	return nil
}

// noArgs refuses arguments, where cobra's own wording speaks of an unknown command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s: takes no argument, %q is one", cmd.Name(), args[0])}
	}
	return nil
}

// group makes a command that only holds others: alone it shows its help, and a name it does not hold is an error with the nearest one.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "see " + cmd.CommandPath() + " --help"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = strings.Join(near, " or ") + " is meant?"
		}
		return usageError{fmt.Errorf("%sno command %q; %s", place(cmd, cmd.CommandPath()), args[0], hint)}
	}
	return cmd
}

// place is a command in front of what is wrong with its line; "" for the program itself, whose name stands there anyway.
func place(cmd *cobra.Command, name string) string {
	if !cmd.HasParent() {
		return ""
	}
	return name + ": "
}

// flagError says in one sentence what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return usageError{fmt.Errorf("%s%w; see %s --help", place(cmd, cmd.Name()), err, cmd.CommandPath())}
	}
	want := map[string]string{
		"int": "a whole number", "uint32": "a whole number from 0 to 4294967295", "float64": "a number",
		"duration": "a time such as 500ms or 9.5s", "bool": "true or false", "stringToString": "NAME=VALUE",
	}[value.GetFlag().Value.Type()]
	if want == "" {
		return usageError{fmt.Errorf("--%s %q: %w", value.GetFlag().Name, value.GetValue(), errors.Unwrap(err))}
	}
	return usageError{fmt.Errorf("--%s %q: want %s", value.GetFlag().Name, value.GetValue(), want)}
}
