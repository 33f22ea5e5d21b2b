package targets

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a file. The parser keeps a path for every value, so its memory grows with the square of the depth: depth is
// bounded before it runs.
const (
	maxFile     = 4 << 20 // octets: room for 200,000 targets
	maxFlow     = 16      // nested [ and {
	maxColumn   = 256     // of a block key or list dash: bounds nesting by indentation
	maxDashes   = 8       // list dashes and ? on one line
	maxAliasing = 32      // aliases of aliases
)

// document is a parsed file while it is being read: it collects the mistakes.
type document struct {
	file     string
	anchors  map[string]ast.Node
	errs     Errors
	warnings []string
}

// place is where something stands in the file.
type place struct {
	path         string
	line, column int
}

func (p place) key(k string) place {
	if p.path != "" {
		p.path += "."
	}
	if !plainKey(k) {
		k = fmt.Sprintf("%q", k)
	}
	p.path += k
	return p
}

func (p place) index(i int) place {
	p.path = fmt.Sprintf("%s[%d]", p.path, i)
	return p
}

func (p place) at(t *token.Token) place {
	if t != nil && t.Position != nil {
		p.line, p.column = t.Position.Line, t.Position.Column
	}
	return p
}

func plainKey(k string) bool {
	for _, r := range k {
		if r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return k != ""
}

func (d *document) fail(p place, format string, args ...any) {
	d.errs = append(d.errs, &Error{File: d.file, Line: p.line, Column: p.column, Path: p.path, Message: fmt.Sprintf(format, args...)})
}

func (d *document) warn(p place, format string, args ...any) {
	e := Error{File: d.file, Line: p.line, Column: p.column, Path: p.path, Message: fmt.Sprintf(format, args...)}
	d.warnings = append(d.warnings, e.Error())
}

// open parses text as one YAML document and returns its root mapping; nil when the text cannot be read at all.
func (d *document) open(text []byte) *section {
	if len(text) > maxFile {
		d.fail(place{}, "%d octets; at most %d are read", len(text), maxFile)
		return nil
	}
	tokens := lexer.Tokenize(string(text))
	if t, why := TooDeep(tokens); t != nil {
		d.fail(place{}.at(t), "%s", why)
		return nil
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		d.failSyntax(err)
		return nil
	}
	body, ok := d.body(file)
	if !ok {
		return nil
	}
	d.collectAnchors(body)
	return d.section(place{}, body)
}

// body is the one document of the file; a file of comments only has none, which is a valid empty configuration.
func (d *document) body(file *ast.File) (ast.Node, bool) {
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.fail(place{}.at(start(doc.Body)), "a second YAML document; a configuration is one")
			return nil, false
		}
		body = doc.Body
	}
	return body, true
}

func (d *document) failSyntax(err error) {
	if y, ok := errors.AsType[yaml.Error](err); ok {
		d.fail(place{}.at(y.GetToken()), "%s", y.GetMessage())
		return
	}
	d.fail(place{}, "%v", err)
}

// TooDeep returns the token at which the nesting of a YAML text passes what the parser can take, and why; nil where none does.
func TooDeep(tokens token.Tokens) (*token.Token, string) {
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position == nil {
			continue
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		case token.MappingValueType:
			if flow == 0 && t.Position.Column-len(prevValue(t)) > maxColumn {
				return t, fmt.Sprintf("a key that begins after column %d", maxColumn)
			}
		}
		if flow > maxFlow {
			return t, fmt.Sprintf("brackets nested deeper than %d", maxFlow)
		}
		if dashes > maxDashes {
			return t, fmt.Sprintf("lists nested deeper than %d on one line", maxDashes)
		}
	}
	return nil, ""
}

func prevValue(t *token.Token) string {
	if t.Prev == nil {
		return ""
	}
	return t.Prev.Value
}

type anchorFinder struct{ d *document }

func (f anchorFinder) Visit(n ast.Node) ast.Visitor {
	a, ok := n.(*ast.AnchorNode)
	if !ok || a.Name == nil {
		return f
	}
	name := a.Name.GetToken().Value
	if _, dup := f.d.anchors[name]; dup {
		f.d.fail(place{}.at(a.GetToken()), "anchor &%s is defined twice", name)
		return f
	}
	f.d.anchors[name] = a.Value
	return f
}

func (d *document) collectAnchors(n ast.Node) {
	d.anchors = map[string]ast.Node{}
	if n != nil {
		ast.Walk(anchorFinder{d}, n)
	}
}

// resolve follows anchors, aliases and the standard tags to the value they stand for; nil after a mistake, which is reported
// at p.
func (d *document) resolve(p place, n ast.Node) ast.Node {
	for range maxAliasing {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.TagNode:
			if !strings.HasPrefix(x.Start.Value, "!!") {
				d.fail(p.at(x.Start), "tag %s is not known", x.Start.Value)
				return nil
			}
			n = x.Value
		case *ast.AliasNode:
			name := ""
			if x.Value != nil {
				name = x.Value.GetToken().Value
			}
			to, ok := d.anchors[name]
			if !ok {
				d.fail(p.at(x.Start), "alias *%s has no anchor", name)
				return nil
			}
			n = to
		default:
			return n
		}
	}
	d.fail(p, "aliases refer to each other")
	return nil
}
