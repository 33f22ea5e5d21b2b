package floorplan

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/vipprobe/vipprobe"

// source is one directory of Go files, whatever their build tags, parsed and with its names resolved as far as that goes
// without its imports.
type source struct {
	path  string // below the module: "prober/wire"
	fset  *token.FileSet
	files []*ast.File // without tests
	tests []*ast.File
	info  types.Info
	scope *types.Scope // of the package: files only
}

// fault is one broken rule and the place.
type fault struct {
	at   token.Position
	what string
}

func (f fault) String() string {
	if !f.at.IsValid() {
		return f.what
	}
	return fmt.Sprintf("%s: %s", f.at, f.what)
}

func (s *source) fault(n ast.Node, format string, args ...any) fault {
	return fault{s.fset.Position(n.Pos()), fmt.Sprintf(format, args...)}
}

// load parses the whole module.
func load(t *testing.T, root string) []*source {
	t.Helper()
	files := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(p) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(rel))
		if files[dir] == nil {
			files[dir] = map[string]string{}
		}
		files[dir][p] = ""
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []*source
	for dir, names := range files {
		all = append(all, parse(t, dir, names))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].path < all[j].path })
	return all
}

// parse reads the files of one package; an empty text stands for the file's own on disk.
func parse(t *testing.T, dir string, texts map[string]string) *source {
	t.Helper()
	s := &source{path: dir, fset: token.NewFileSet()}
	for name, text := range texts {
		var src any
		if text != "" {
			src = text
		}
		f, err := parser.ParseFile(s.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			s.tests = append(s.tests, f)
		} else {
			s.files = append(s.files, f)
		}
	}
	s.resolve()
	return s
}

// resolve finds out which name means which object. Imports are empty stand-ins and every error that follows from that is
// passed over: only scopes matter here.
func (s *source) resolve() {
	conf := types.Config{Importer: empty{}, Error: func(error) {}}
	s.info = types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	pkg, _ := conf.Check(module+"/"+s.path, s.fset, s.files, &s.info)
	s.scope = pkg.Scope()
	for _, f := range s.tests { // each by itself: tests may be of two packages
		_, _ = conf.Check(module+"/"+s.path+"_test", s.fset, []*ast.File{f}, &s.info)
	}
}

// empty imports every path as a package without names.
type empty struct{}

var version = regexp.MustCompile(`^v[0-9]+$`)

func (empty) Import(p string) (*types.Package, error) {
	name := path.Base(p)
	if version.MatchString(name) && path.Dir(p) != "." {
		name = path.Base(path.Dir(p))
	}
	pkg := types.NewPackage(p, strings.TrimPrefix(name, "go-"))
	pkg.MarkComplete()
	return pkg, nil
}

// imports yields the import declarations of the files with their unquoted paths.
func imports(files []*ast.File) map[*ast.ImportSpec]string {
	all := map[*ast.ImportSpec]string{}
	for _, f := range files {
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err == nil {
				all[i] = p
			}
		}
	}
	return all
}

// selects reports which member of which imported package an expression names: "time", "Now" for time.Now.
func (s *source) selects(n ast.Node) (pkg, member string, ok bool) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	name, ok := s.info.Uses[id].(*types.PkgName)
	if !ok {
		return "", "", false
	}
	return name.Imported().Path(), sel.Sel.Name, true
}

// within reports whether import path p is root or lies below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }
