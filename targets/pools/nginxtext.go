package pools

import (
	"regexp"
	"strings"
)

// directive is one of nginx's: words that a ; ends, or a block.
type directive struct {
	place
	words []string
	block []*directive
	open  bool // has a block
}

// nginxText reads the directives of a text as nginx does (src/core/ngx_conf_file.c, ngx_conf_read_token): words that white space parts, quoted with "
// or ', a # at the beginning of a word begins a comment, a { behind $ is of a variable.
type nginxText struct {
	*reader
	file string
	text string
	at   int
	line int
	open []*directive // the blocks that are open; the first is the file
	now  *directive   // being read
}

func (r *reader) nginxDirectives(f File) []*directive {
	t := &nginxText{reader: r, file: f.Name, text: string(f.Text), line: 1, open: []*directive{{}}, now: &directive{}}
	root := t.open[0]
	for {
		w, end := t.word()
		if w != nil {
			t.begin()
			t.now.words = append(t.now.words, *w)
		}
		switch end {
		case 0:
			if inside := t.inside(); len(t.now.words) > 0 || inside != root {
				t.noteHere("the file ends inside %s", short(strings.Join(append(inside.words, t.now.words...), " ")))
			}
			return root.block
		case ';':
			if len(t.now.words) > 0 {
				t.inside().block = append(t.inside().block, t.now)
			}
			t.now = &directive{}
		case '{':
			t.opened()
		case '}':
			t.closed()
		}
		if len(t.open) > maxDepth {
			t.noteHere("blocks nested deeper than %d; what follows is not read", maxDepth)
			return root.block
		}
	}
}

func (t *nginxText) inside() *directive { return t.open[len(t.open)-1] }

func (t *nginxText) noteHere(format string, args ...any) {
	t.noteAt(place{file: t.file, line: t.line}, format, args...)
}

// begin is the first word of a directive, or none.
func (t *nginxText) begin() {
	if len(t.now.words) == 0 {
		t.now.place = place{file: t.file, line: t.line}
	}
}

func (t *nginxText) opened() {
	t.begin()
	d := t.now
	t.now = &directive{}
	if d.open = true; len(d.words) == 0 {
		d.words = []string{""}
	}
	t.inside().block = append(t.inside().block, d)
	if strings.HasSuffix(d.words[0], "_by_lua_block") {
		t.skipLua()
		return
	}
	t.open = append(t.open, d)
}

func (t *nginxText) closed() {
	if len(t.open) == 1 {
		t.noteHere("a } that closes nothing")
		return
	}
	if len(t.now.words) > 0 {
		t.noteAt(t.now.place, "%s: no ; behind it", short(strings.Join(t.now.words, " ")))
	}
	t.open, t.now = t.open[:len(t.open)-1], &directive{}
}

// word is the next word, and what ended the directive behind it: ; { or }, ' ' for nothing yet, 0 for the end of the text.
func (t *nginxText) word() (*string, byte) {
	for t.at < len(t.text) {
		switch c := t.text[t.at]; c {
		case '\n':
			t.line++
			t.at++
		case ' ', '\t', '\r':
			t.at++
		case '#':
			for t.at < len(t.text) && t.text[t.at] != '\n' {
				t.at++
			}
		case ';', '{', '}':
			t.at++
			return nil, c
		case '"', '\'':
			w := t.quoted(c)
			return &w, ' '
		default:
			w := t.bare()
			return &w, ' '
		}
	}
	return nil, 0
}

func (t *nginxText) quoted(quote byte) string {
	var b strings.Builder
	for t.at++; t.at < len(t.text); t.at++ {
		c := t.text[t.at]
		if c == quote {
			t.at++
			return b.String()
		}
		if c == '\\' && t.at+1 < len(t.text) {
			t.at++
			c = t.text[t.at]
			if c != quote && c != '\\' {
				b.WriteByte('\\')
			}
		}
		if c == '\n' {
			t.line++
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (t *nginxText) bare() string {
	var b strings.Builder
	for ; t.at < len(t.text); t.at++ {
		c := t.text[t.at]
		if c == '{' && strings.HasSuffix(b.String(), "$") {
			for t.at < len(t.text) && t.text[t.at] != '}' && t.text[t.at] != '\n' {
				b.WriteByte(t.text[t.at])
				t.at++
			}
			if t.at < len(t.text) && t.text[t.at] == '}' {
				b.WriteByte('}')
				continue
			}
			return b.String()
		}
		if c == '\\' && t.at+1 < len(t.text) && t.text[t.at+1] != '\n' {
			b.WriteByte(c)
			t.at++
			c = t.text[t.at]
		} else if strings.IndexByte(" \t\r\n;{", c) >= 0 {
			break
		}
		b.WriteByte(c)
	}
	return b.String()
}

// skipLua passes by a block of Lua, whose braces pair outside of its strings and comments.
func (t *nginxText) skipLua() {
	depth := 1
	for ; t.at < len(t.text) && depth > 0; t.at++ {
		switch c := t.text[t.at]; c {
		case '\n':
			t.line++
		case '{':
			depth++
		case '}':
			depth--
		case '"', '\'':
			t.quoted(c)
			t.at--
		case '-':
			if strings.HasPrefix(t.text[t.at:], "--") {
				for t.at+1 < len(t.text) && t.text[t.at+1] != '\n' {
					t.at++
				}
			}
		}
	}
}

// dumped splits what nginx -T prints into the files that it is of: each begins with a comment that names it. Text without such comments is one file.
func dumped(f File) []File {
	marks := regexp.MustCompile(`(?m)^# configuration file (.+):\r?$\n?`).FindAllSubmatchIndex(f.Text, -1)
	if len(marks) == 0 {
		return []File{f}
	}
	out := make([]File, len(marks))
	for i, m := range marks {
		end := len(f.Text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		out[i] = File{Name: string(f.Text[m[2]:m[3]]), Text: f.Text[m[1]:end]}
	}
	return out
}
