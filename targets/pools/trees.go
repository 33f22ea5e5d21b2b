package pools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"

	"github.com/vipprobe/vipprobe/targets"
)

// Bounds on a file of nested values.
const (
	maxDepth = 64      // values within values
	maxNodes = 1 << 20 // values, those that aliases repeat included
	maxYAML  = 4 << 20 // octets: the YAML parser takes long for more; JSON has no such bound
)

// documents reads a file of JSON values, one behind the other or in one list, or of YAML documents. What cannot be read is a note; what stands before
// it is kept.
func (r *reader) documents(f File) []*node {
	text := bytes.TrimPrefix(f.Text, []byte("\ufeff"))
	var docs []*node
	var err error
	var line int
	if first := bytes.TrimSpace(text); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		docs, line, err = readJSON(f.Name, text)
	} else {
		docs, line, err = readYAML(f.Name, text)
	}
	if err != nil {
		r.noteAt(place{file: f.Name, line: max(line, 1)}, "%v; what follows is not read", err)
	}
	if err == nil && len(docs) == 0 {
		r.noteAt(place{file: f.Name, line: 1}, "there is nothing in it")
	}
	var out []*node
	for _, d := range docs {
		if d.fields == nil && len(d.list) > 0 {
			out = append(out, d.list...)
			continue
		}
		out = append(out, d)
	}
	return out
}

// jsonReader makes nodes of the tokens of a text.
type jsonReader struct {
	d       *json.Decoder
	text    []byte
	counted int // octets whose lines are in line
	line    int
}

func readJSON(file string, text []byte) ([]*node, int, error) {
	j := &jsonReader{d: json.NewDecoder(bytes.NewReader(text)), text: text, line: 1}
	j.d.UseNumber()
	var out []*node
	for {
		t, err := j.next()
		if errors.Is(err, io.EOF) {
			return out, 0, nil
		}
		n := &node{file: file, line: j.line}
		if err == nil {
			err = j.value(n, t, 0)
		}
		if err != nil {
			return out, j.line, fmt.Errorf("no JSON: %w", err)
		}
		out = append(out, n)
	}
}

func (j *jsonReader) next() (json.Token, error) {
	t, err := j.d.Token()
	at := min(int(j.d.InputOffset()), len(j.text))
	j.line += bytes.Count(j.text[j.counted:at], []byte("\n"))
	j.counted = at
	return t, err
}

// value reads what the token begins into n.
func (j *jsonReader) value(n *node, t json.Token, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values nested deeper than %d", maxDepth)
	}
	d, ok := t.(json.Delim)
	if !ok {
		if t != nil {
			n.text = fmt.Sprint(t)
		}
		return nil
	}
	if d == '{' {
		n.fields = map[string]*node{}
	}
	for j.d.More() {
		c := &node{up: n, index: len(n.list)}
		t, err := j.next()
		if err == nil && n.fields != nil {
			c.key, _ = t.(string)
			t, err = j.next()
		}
		if err != nil {
			return ended(err)
		}
		c.line = j.line
		if err := j.value(c, t, depth+1); err != nil {
			return err
		}
		if n.fields != nil {
			n.fields[c.key] = c
		} else {
			n.list = append(n.list, c)
		}
	}
	_, err := j.next() // the closing one
	return ended(err)
}

// ended is an end inside a value told as one.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// yamlReader makes nodes of parsed YAML.
type yamlReader struct {
	anchors map[string]ast.Node
	left    int // nodes
	line    int // of what was read last
}

func readYAML(file string, text []byte) ([]*node, int, error) {
	if len(text) > maxYAML {
		return nil, 1, fmt.Errorf("%d octets of YAML; at most %d are read, of JSON more", len(text), maxYAML)
	}
	// A \r alone is a line to the parser, and to nobody else.
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte(" "))
	tokens := lexer.Tokenize(string(text))
	if t, why := targets.TooDeep(tokens); t != nil {
		return nil, t.Position.Line, errors.New(why)
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		if y, ok := errors.AsType[yaml.Error](err); ok {
			line := 1
			if t := y.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
			return nil, line, fmt.Errorf("no YAML: %s", y.GetMessage())
		}
		return nil, 1, fmt.Errorf("no YAML: %w", err)
	}
	y := &yamlReader{left: maxNodes, anchors: map[string]ast.Node{}}
	var out []*node
	for _, d := range parsed.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType || d.Body.Type() == ast.DirectiveType {
			continue
		}
		n := &node{file: file}
		if err := y.value(n, d.Body, 0); err != nil {
			return out, y.line, err
		}
		out = append(out, n)
	}
	return out, 0, nil
}

func (y *yamlReader) value(n *node, a ast.Node, depth int) error {
	if y.left--; depth > maxDepth || y.left < 0 {
		return fmt.Errorf("values nested deeper than %d, or more than %d of them", maxDepth, maxNodes)
	}
	if t := a.GetToken(); t != nil && t.Position != nil {
		n.line = max(t.Position.Line, 1)
		y.line = n.line
	}
	switch x := a.(type) {
	case *ast.AnchorNode:
		y.anchors[x.Name.GetToken().Value] = x.Value
		return y.value(n, x.Value, depth+1)
	case *ast.AliasNode:
		if to := y.anchors[x.Value.GetToken().Value]; to != nil {
			return y.value(n, to, depth+1)
		}
		return fmt.Errorf("alias *%s has no anchor before it", x.Value.GetToken().Value)
	case *ast.TagNode:
		if x.Value == nil {
			return nil
		}
		return y.value(n, x.Value, depth+1)
	case *ast.MappingNode:
		return y.mapping(n, x.Values, depth)
	case *ast.MappingValueNode:
		return y.mapping(n, []*ast.MappingValueNode{x}, depth)
	case *ast.SequenceNode:
		return y.elements(n, x, depth)
	case *ast.LiteralNode:
		n.text = strings.TrimSpace(x.Value.Value)
	case *ast.NullNode:
	default:
		if t := a.GetToken(); t != nil {
			n.text = t.Value
		}
	}
	return nil
}

func (y *yamlReader) mapping(n *node, values []*ast.MappingValueNode, depth int) error {
	n.fields = map[string]*node{}
	for _, v := range values {
		if err := y.field(n, v, depth); err != nil {
			return err
		}
	}
	return nil
}

func (y *yamlReader) elements(n *node, x *ast.SequenceNode, depth int) error {
	for i, v := range x.Values {
		c := &node{up: n, index: i}
		if err := y.value(c, v, depth+1); err != nil {
			return err
		}
		n.list = append(n.list, c)
	}
	return nil
}

func (y *yamlReader) field(n *node, v *ast.MappingValueNode, depth int) error {
	k := v.Key.GetToken()
	if k == nil {
		return nil
	}
	if k.Value == "<<" {
		return errors.New("<<: merged keys are not followed")
	}
	c := &node{up: n, key: k.Value}
	if k.Position != nil {
		c.line = max(k.Position.Line, 1)
	}
	at := c.line
	if err := y.value(c, v.Value, depth+1); err != nil {
		return err
	}
	if at > 0 {
		c.line = at // a block is where its key is
	}
	n.fields[c.key] = c
	return nil
}
