package targets

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// describe names a node for a person.
func describe(n ast.Node) string {
	switch x := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return fmt.Sprintf("%q", short(x.Value))
	case *ast.LiteralNode:
		return "a text block"
	case *ast.NullNode:
		return "nothing"
	}
	return short(n.GetToken().Value)
}

func short(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

// text returns the scalar as a string: numbers and booleans as they are spelt.
func (it item) text() (string, bool) {
	switch x := it.doc.resolve(it.at, it.node).(type) {
	case nil:
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return x.GetToken().Value, true
	default:
		it.doc.fail(it.at, "want a text, not %s", describe(x))
	}
	return "", false
}

// str stores the text under key into dst and reports whether it was there and well formed; so do the readers below.
func (s *section) str(key string, dst *string) bool {
	it, ok := s.get(key)
	if !ok {
		return false
	}
	v, ok := it.text()
	if ok {
		*dst = v
	}
	return ok
}

// word is str for one of a few words.
func (s *section) word(key string, dst *string, words ...string) bool {
	var v string
	if !s.str(key, &v) {
		return false
	}
	if slices.Contains(words, v) {
		*dst = v
		return true
	}
	s.doc.fail(s.place(key), "%q is none of %s", short(v), strings.Join(words, ", "))
	return false
}

// boolean accepts what YAML 1.1 calls a boolean as well (yes, on …), since blackbox_exporter's reader does.
func (s *section) boolean(key string, dst *bool) {
	it, ok := s.get(key)
	if !ok {
		return
	}
	n := s.doc.resolve(it.at, it.node)
	switch x := n.(type) {
	case nil:
		return
	case *ast.BoolNode:
		*dst = x.Value
		return
	case *ast.StringNode:
		switch strings.ToLower(x.Value) {
		case "yes", "on", "y":
			*dst = true
			return
		case "no", "off", "n":
			*dst = false
			return
		}
	}
	s.doc.fail(it.at, "want true or false, not %s", describe(n))
}

func (s *section) integer(key string, dst *int, low, high int64) bool {
	it, ok := s.get(key)
	if !ok {
		return false
	}
	n := s.doc.resolve(it.at, it.node)
	x, ok := n.(*ast.IntegerNode)
	if !ok {
		if n != nil {
			s.doc.fail(it.at, "want a whole number, not %s", describe(n))
		}
		return false
	}
	v, ok := wholeNumber(x)
	if !ok || v < low || v > high {
		s.doc.fail(it.at, "%s is not within %d to %d", short(x.GetToken().Value), low, high)
		return false
	}
	*dst = int(v)
	return true
}

func wholeNumber(x *ast.IntegerNode) (int64, bool) {
	switch v := x.Value.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v < 1<<63
	}
	return 0, false
}

func (s *section) number(key string, dst *float64, low, high float64) {
	it, ok := s.get(key)
	if !ok {
		return
	}
	n := s.doc.resolve(it.at, it.node)
	var v float64
	switch x := n.(type) {
	case nil:
		return
	case *ast.IntegerNode:
		i, fits := wholeNumber(x)
		if !fits {
			i = 1<<63 - 1
		}
		v = float64(i)
	case *ast.FloatNode:
		v = x.Value
	default:
		s.doc.fail(it.at, "want a number, not %s", describe(n))
		return
	}
	if !(v >= low && v <= high) {
		s.doc.fail(it.at, "%s is not within %v to %v", short(n.GetToken().Value), low, high)
		return
	}
	*dst = v
}

func (s *section) duration(key string, dst *time.Duration, low, high time.Duration) bool {
	it, ok := s.get(key)
	if !ok {
		return false
	}
	return it.duration(dst, low, high)
}

func (it item) duration(dst *time.Duration, low, high time.Duration) bool {
	v, ok := it.text()
	if !ok {
		return false
	}
	d, err := time.ParseDuration(strings.TrimSpace(v))
	if err != nil {
		it.doc.fail(it.at, "%q is no duration; write a number with its unit, such as 500ms, 9.5s or 2m", short(v))
		return false
	}
	if d < low || d > high {
		it.doc.fail(it.at, "%s is not within %s to %s", d, low, high)
		return false
	}
	*dst = d
	return true
}

// address reads an IP address; IPv4 in IPv6 is unmapped.
func (s *section) address(key string, dst *netip.Addr) bool {
	var v string
	if !s.str(key, &v) || v == "" {
		return false
	}
	a, err := netip.ParseAddr(v)
	if err != nil {
		s.doc.fail(s.place(key), "%q is no IP address", short(v))
		return false
	}
	*dst = a.Unmap()
	return true
}
