package targets

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration file. Line and Column count from 1; 0 means the file as a whole.
type Error struct {
	File         string
	Line, Column int
	Path         string // keys from the root, "modules.paws.burst"; empty for the file as a whole
	Message      string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		b.WriteByte(':')
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors is every mistake of a file in the order of its lines, at least one.
type Errors []*Error

// maxShown is how many mistakes a message lists.
const maxShown = 20

// Error lists the mistakes, one a line; the first twenty where there are more.
func (e Errors) Error() string {
	var lines []string
	for _, x := range e[:min(len(e), maxShown)] {
		lines = append(lines, x.Error())
	}
	if more := len(e) - maxShown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find an *Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, x := range e {
		out[i] = x
	}
	return out
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// UnknownModuleError says that no module has the name asked for.
type UnknownModuleError struct {
	Name  string
	Known []string // sorted
}

func (e *UnknownModuleError) Error() string {
	return fmt.Sprintf("unknown module %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}
