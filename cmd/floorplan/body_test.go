package floorplan

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// clocks and printers are what pure code must be handed as values or hand back as values.
var (
	clocks   = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	printers = []string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}
	// seeded members of math/rand make or name a generator of the caller's; all others draw from the process's own.
	seeded = []string{"New", "NewSource", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "Source64", "PCG", "ChaCha8", "Zipf"}
)

// pureBody finds goroutines, clocks, terminal output and unseeded randomness in pure packages.
func pureBody(s *source) (faults []fault) {
	if r, _, ok := roomOf(s.path); !ok || !r.pure {
		return nil
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			if n, ok := n.(*ast.GoStmt); ok {
				faults = append(faults, s.fault(n, "pure package %s starts a goroutine", s.path))
			}
			if what := s.impure(n); what != "" {
				faults = append(faults, s.fault(n, "pure package %s uses %s", s.path, what))
			}
			return true
		})
	}
	return faults
}

// impure names the impure thing that an expression is, or "".
func (s *source) impure(n ast.Node) string {
	if id, ok := n.(*ast.Ident); ok {
		if b, ok := s.info.Uses[id].(*types.Builtin); ok && strings.HasPrefix(b.Name(), "print") {
			return b.Name()
		}
	}
	pkg, member, ok := s.selects(n)
	switch {
	case !ok:
		return ""
	case pkg == "time" && slices.Contains(clocks, member),
		pkg == "fmt" && slices.Contains(printers, member),
		(pkg == "math/rand" || pkg == "math/rand/v2") && !slices.Contains(seeded, member):
		return pkg + "." + member
	}
	return ""
}

// noInit: what runs before main runs in every program that imports the package, asked for or not.
func noInit(s *source) (faults []fault) {
	for _, f := range append(append([]*ast.File(nil), s.files...), s.tests...) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				faults = append(faults, s.fault(fn, "%s has an init function", s.path))
			}
		}
	}
	return faults
}

// noSleep: code waits for an event, or for a timer beside its context; a test waits for a channel. A bare <-time.After is a sleep
// by another name. In a synctest bubble time costs nothing and is nobody's guess.
func noSleep(s *source) (faults []fault) {
	beside := map[ast.Stmt]bool{} // cases of a select: another event may come first
	for _, f := range append(append([]*ast.File(nil), s.files...), s.tests...) {
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CommClause); ok {
				beside[c.Comm] = true
			}
			if call, ok := n.(*ast.CallExpr); ok {
				if pkg, member, ok := s.selects(call.Fun); ok && pkg == "testing/synctest" && member == "Test" {
					return false
				}
			}
			if pkg, member, ok := s.selects(n); ok && pkg == "time" && member == "Sleep" {
				faults = append(faults, s.fault(n, "%s sleeps", s.path))
			}
			if stmt, ok := n.(*ast.ExprStmt); ok && !beside[stmt] && s.awaits(stmt.X) {
				faults = append(faults, s.fault(n, "%s sleeps in <-time.After", s.path))
			}
			return true
		})
	}
	return faults
}

// awaits reports whether an expression is <-time.After(…).
func (s *source) awaits(e ast.Expr) bool {
	receive, ok := e.(*ast.UnaryExpr)
	if !ok || receive.Op != token.ARROW {
		return false
	}
	call, ok := receive.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	pkg, member, ok := s.selects(call.Fun)
	return ok && pkg == "time" && member == "After"
}

var vague = regexp.MustCompile(`^(utils?|commons?|helpers?|misc|shared|stuff)$`)

// named refuses names that say nothing of what is inside.
func named(s *source) (faults []fault) {
	for _, f := range append(append([]*ast.File(nil), s.files...), s.tests...) {
		if vague.MatchString(strings.TrimSuffix(f.Name.Name, "_test")) {
			faults = append(faults, s.fault(f.Name, "a package named %s says nothing of what it holds", f.Name.Name))
			break
		}
	}
	return faults
}

// commented asks for one package comment, "Package NAME …" (a command says what it does in its own words); a directory of
// tests alone has it in one of them.
func commented(s *source) []fault {
	files := s.files
	if len(files) == 0 {
		files = s.tests
	}
	var docs []*ast.File
	for _, f := range files {
		if f.Doc != nil {
			docs = append(docs, f)
		}
	}
	switch {
	case len(docs) == 0:
		return []fault{s.fault(files[0].Name, "%s has no package comment", s.path)}
	case len(docs) > 1:
		return []fault{s.fault(docs[1].Name, "%s has its package comment twice", s.path)}
	}
	name := docs[0].Name.Name
	if name != "main" && !strings.HasPrefix(docs[0].Doc.Text(), "Package "+name+" ") {
		return []fault{s.fault(docs[0].Doc, "the package comment of %s does not begin with %q", s.path, "Package "+name)}
	}
	return nil
}
