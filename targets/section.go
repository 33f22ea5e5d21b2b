package targets

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// section is a mapping being read. Every key must be asked for by its reader; done reports those that nobody knows.
type section struct {
	doc    *document
	at     place
	keys   []string
	values map[string]item
	asked  map[string]bool
}

// item is a value and where it stands.
type item struct {
	doc  *document
	key  place // of the key, or of the value in a list
	at   place // of the value
	node ast.Node
}

// section reads n as a mapping; null is an empty one, nil the answer to anything else.
func (d *document) section(at place, n ast.Node) *section {
	s := &section{doc: d, at: at, values: map[string]item{}, asked: map[string]bool{}}
	if n == nil {
		return s
	}
	if s.fill(n, 0) {
		return s
	}
	return nil
}

func (s *section) fill(n ast.Node, merges int) bool {
	at := s.at.at(start(n))
	n = s.doc.resolve(at, n)
	if n == nil {
		return false
	}
	var entries []*ast.MappingValueNode
	switch x := n.(type) {
	case *ast.NullNode:
		return true
	case *ast.MappingNode:
		entries = x.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{x}
	default:
		s.doc.fail(at, "want keys and values, not %s", describe(n))
		return false
	}
	if merges > maxAliasing {
		s.doc.fail(at, "merges (<<) refer to each other")
		return false
	}
	// what stands here goes before what is merged in
	for _, e := range entries {
		if !e.Key.IsMergeKey() {
			s.add(e)
		}
	}
	for _, e := range entries {
		if e.Key.IsMergeKey() && !s.fill(e.Value, merges+1) {
			return false
		}
	}
	return true
}

func (s *section) add(e *ast.MappingValueNode) {
	t := e.Key.GetToken()
	if k, ok := e.Key.(*ast.MappingKeyNode); ok && k.Value != nil {
		t = k.Value.GetToken()
	}
	name := t.Value
	if _, dup := s.values[name]; dup {
		return
	}
	key := s.at.key(name).at(t)
	at := key
	if e.Value != nil && e.Value.Type() != ast.NullType && e.Value.Type() != ast.MappingType {
		at = key.at(start(e.Value))
	}
	s.keys = append(s.keys, name)
	s.values[name] = item{doc: s.doc, key: key, at: at, node: e.Value}
}

// start is the first token of a value; a block mapping's own token is its first colon.
func start(n ast.Node) *token.Token {
	switch x := n.(type) {
	case *ast.MappingNode:
		if !x.IsFlowStyle && len(x.Values) > 0 {
			return x.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return x.Key.GetToken()
	}
	return n.GetToken()
}

// get returns the value of a key; absent and null are the same.
func (s *section) get(key string) (item, bool) {
	s.asked[key] = true
	it, ok := s.values[key]
	if !ok || it.node == nil || it.node.Type() == ast.NullType {
		return item{}, false
	}
	return it, true
}

// has reports whether a key stands in the section, null or not.
func (s *section) has(key string) bool {
	s.asked[key] = true
	_, ok := s.values[key]
	return ok
}

// place is where a key stands, or the section where it does not.
func (s *section) place(key string) place {
	if it, ok := s.values[key]; ok {
		return it.at
	}
	p := s.at.key(key)
	p.line, p.column = s.at.line, s.at.column
	return p
}

// section returns the mapping under a key: empty and false where the key is absent or unreadable.
func (s *section) section(key string) (*section, bool) {
	if it, ok := s.get(key); ok {
		if sub := s.doc.section(it.key, it.node); sub != nil {
			return sub, true
		}
	}
	return s.doc.section(s.at.key(key), nil), false
}

// list returns the entries under a key; a single value is not taken for a list of one.
func (s *section) list(key string) []item {
	it, ok := s.get(key)
	if !ok {
		return nil
	}
	n := s.doc.resolve(it.at, it.node)
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if n != nil {
			s.doc.fail(it.at, "want a list, not %s", describe(n))
		}
		return nil
	}
	out := make([]item, 0, len(seq.Values))
	for i, v := range seq.Values {
		at := it.key.index(i)
		if v != nil {
			at = at.at(start(v))
		}
		out = append(out, item{doc: s.doc, key: at, at: at, node: v})
	}
	return out
}

// done reports the keys that were not asked for.
func (s *section) done() {
	known := slices.Sorted(maps.Keys(s.asked))
	for _, k := range s.keys {
		if s.asked[k] {
			continue
		}
		at := s.values[k].key
		if near := nearest(k, known); near != "" {
			s.doc.fail(at, "unknown key; did you mean %s?", near)
			continue
		}
		s.doc.fail(at, "unknown key; known are %s", strings.Join(known, ", "))
	}
}

// nearest is the known word within two edits of w, if there is one.
func nearest(w string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := edits(w, k); d < least && d < len(w) {
			best, least = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b in octets.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
