package pools

import (
	"fmt"
	"slices"
	"strings"
)

// place is where something stands: the line of a file, and in a file of nested values the path to it.
type place struct {
	file string
	line int
	path string
}

// node is a value of a JSON or YAML file that knows where it stands. All its methods may be asked of nil: of what is not there.
type node struct {
	up    *node
	file  string // of a root only
	key   string // in the object that it is of
	index int    // in the list that it is of
	line  int

	text   string // of a scalar: as it stands there; of null nothing
	list   []*node
	fields map[string]*node // nil: no object
}

// get goes down by the names of fields; nil where there is none. A name of several words, snake_case, is found as camelCase too: the JSON of Protocol
// Buffers has both.
func (n *node) get(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		next := n.fields[name]
		if next == nil && strings.Contains(name, "_") {
			next = n.fields[camel(name)]
		}
		n = next
	}
	return n
}

func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

func (n *node) str(names ...string) string {
	if n = n.get(names...); n == nil {
		return ""
	}
	return n.text
}

func (n *node) items(names ...string) []*node {
	if n = n.get(names...); n == nil {
		return nil
	}
	return n.list
}

func (n *node) place() place {
	if n == nil {
		return place{}
	}
	p := place{line: n.line}
	var steps []string
	for ; n.up != nil; n = n.up {
		if n.up.fields == nil {
			steps = append(steps, fmt.Sprintf("[%d]", n.index))
		} else {
			steps = append(steps, "."+n.key)
		}
	}
	p.file = n.file
	var b strings.Builder
	for _, s := range slices.Backward(steps) {
		b.WriteString(s)
	}
	p.path = strings.TrimPrefix(b.String(), ".")
	return p
}
