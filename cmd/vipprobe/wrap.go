package main

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// lineWidth is where text is broken, unless a terminal is narrower; leastWidth is the narrowest that is obeyed.
const (
	lineWidth  = 110
	leastWidth = 60
)

// widthOf is how wide a line written to w may be: as wide as its terminal, within bounds.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return lineWidth
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return lineWidth
	}
	return min(max(int(size.Col), leastWidth), lineWidth)
}

// paragraph breaks text at spaces, with a hanging indent behind head.
func (p *printer) paragraph(head, text string, indent int) string {
	return wrap(p.width, head, text, indent)
}

// paragraph is text for those who have no printer.
func paragraph(head, text string, indent int) string { return wrap(lineWidth, head, text, indent) }

// wrap breaks text at spaces so that no line passes width characters (0: lineWidth), but for words longer than that.
func wrap(width int, head, text string, indent int) string {
	if width == 0 {
		width = lineWidth
	}
	var b strings.Builder
	b.WriteString(head)
	col := utf8.RuneCountInString(head)
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if i > 0 && col+1+n > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			col = indent
		} else if i > 0 {
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	return b.String()
}
