package floorplan

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// constantCalls make a value that nothing changes afterwards.
var constantCalls = map[string][]string{
	"errors":        {"New"},
	"fmt":           {"Errorf"},
	"regexp":        {"MustCompile"},
	"net/netip":     {"MustParseAddr", "MustParsePrefix", "MustParseAddrPort", "AddrFrom4", "AddrFrom16", "PrefixFrom"},
	"html/template": {"Must"},
	"text/template": {"Must"},
	"strings":       {"NewReplacer"},
}

// noState allows package-level variables that are constants in all but name (sentinel errors, compiled patterns, lookup
// tables, embedded files, a linker-set word of a command) and refuses every other, and every write to one.
func noState(s *source) (faults []fault) {
	for _, f := range s.files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				faults = append(faults, s.variable(f, g, spec.(*ast.ValueSpec))...)
			}
		}
		faults = append(faults, s.writes(f)...)
	}
	return faults
}

func (s *source) variable(f *ast.File, g *ast.GenDecl, v *ast.ValueSpec) (faults []fault) {
	if embedded(g.Doc) || embedded(v.Doc) {
		return nil
	}
	for i, name := range v.Names {
		switch {
		case name.Name == "_":
		case len(v.Values) != len(v.Names) || !s.constant(v.Values[i], f.Name.Name == "main"):
			faults = append(faults, s.fault(name, "%s keeps state in package variable %s", s.path, name.Name))
		case name.IsExported() && !s.sentinel(v.Values[i]):
			faults = append(faults, s.fault(name, "%s lets others change its package variable %s: make it a function", s.path, name.Name))
		}
	}
	return faults
}

func embedded(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// constant reports whether a value is a constant in all but name. A command's plain words are there for the linker's -X.
func (s *source) constant(e ast.Expr, command bool) bool {
	switch e := e.(type) {
	case *ast.CallExpr:
		return s.constantCall(e)
	case *ast.CompositeLit:
		return s.table(e)
	case *ast.BasicLit:
		return command && e.Kind == token.STRING
	}
	return false
}

func (s *source) constantCall(e *ast.CallExpr) bool {
	pkg, member, ok := s.selects(e.Fun)
	return ok && slices.Contains(constantCalls[pkg], member)
}

// sentinel reports whether a value is an error made once, to be compared with.
func (s *source) sentinel(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	pkg, _, ok := s.selects(call.Fun)
	return ok && (pkg == "errors" || pkg == "fmt")
}

// table reports whether a composite literal is made of words that do not change: literals, names, functions, other tables.
// A zero struct ("sync.Mutex{}") is no table, and neither is anything with a pointer in it.
func (s *source) table(e *ast.CompositeLit) bool {
	switch e.Type.(type) {
	case *ast.ArrayType, *ast.MapType, nil: // nil: an element whose type is the table's own
	default:
		if len(e.Elts) == 0 {
			return false
		}
	}
	for _, elt := range e.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			elt = kv.Value
		}
		if !s.word(elt) {
			return false
		}
	}
	return true
}

func (s *source) word(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.SelectorExpr, *ast.FuncLit:
		return true
	case *ast.UnaryExpr:
		return e.Op != token.AND && s.word(e.X)
	case *ast.BinaryExpr:
		return s.word(e.X) && s.word(e.Y)
	case *ast.ParenExpr:
		return s.word(e.X)
	case *ast.CompositeLit:
		return s.table(e)
	case *ast.CallExpr:
		return s.constantCall(e) || s.conversion(e)
	}
	return false
}

// conversion reports whether a call is T(literal): one argument, itself a word, and no function of ours.
func (s *source) conversion(e *ast.CallExpr) bool {
	if len(e.Args) != 1 || !s.word(e.Args[0]) {
		return false
	}
	switch fun := e.Fun.(type) {
	case *ast.ArrayType:
		return true
	case *ast.Ident:
		_, isType := s.info.Uses[fun].(*types.TypeName)
		return isType
	}
	return false
}

// writes finds assignments to package variables, to their elements, their addresses taken, and the builtins that change.
func (s *source) writes(f *ast.File) (faults []fault) {
	note := func(n ast.Node, e ast.Expr) {
		if name := s.packageVar(e); name != "" {
			faults = append(faults, s.fault(n, "%s changes its package variable %s", s.path, name))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				note(n, l)
			}
		case *ast.IncDecStmt:
			note(n, n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n, n.X)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, id.Name) {
				note(n, n.Args[0])
			}
		}
		return true
	})
	return faults
}

// packageVar names the package variable at the root of an expression such as v, v.f, v[i] or (*v).f, or returns "".
func (s *source) packageVar(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			if v, ok := s.info.Uses[x].(*types.Var); ok && v.Parent() == s.scope {
				return v.Name()
			}
			return ""
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return ""
		}
	}
}
