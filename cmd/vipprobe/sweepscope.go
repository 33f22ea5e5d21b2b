package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"

	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// scopeFlags say what a sweep goes to.
type scopeFlags struct {
	file        string
	port        string
	exclude     []string
	excludeFile string
	most        int64
	four, six   bool
}

func (f *scopeFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.file, "targets", "", "file with targets, white space between, # before a remark; - is standard input")
	fs.StringVar(&f.port, "port", "", "port, or ports with commas between, of targets that name none")
	fs.StringArrayVar(&f.exclude, "exclude", nil, "address or prefix that is not probed; may be repeated")
	fs.StringVar(&f.excludeFile, "exclude-file", "", "file with addresses and prefixes that are not probed")
	fs.Int64Var(&f.most, "max-targets", 1<<20, "most targets, 48 octets each for every shot; at most 16777216")
	fs.BoolVarP(&f.four, "ipv4", "4", false, "only IPv4 addresses of a name")
	fs.BoolVarP(&f.six, "ipv6", "6", false, "only IPv6 addresses of a name")
}

func (f *scopeFlags) check() error {
	switch {
	case f.most < 1 || f.most > 1<<24:
		return fmt.Errorf("--max-targets %d: want 1 to %d", f.most, 1<<24)
	case f.four && f.six:
		return errors.New("--ipv4 and --ipv6: want one of them, or none for both families")
	case f.file == "-" && f.excludeFile == "-":
		return errors.New("--targets - and --exclude-file -: standard input can be read once")
	}
	return nil
}

// scopes are what a sweep goes to, and what it may.
type scopes struct {
	list    []targets.Scope
	exclude []netip.Prefix
	allow   prober.Allow
}

func (s *scopes) targets() iter.Seq[netip.AddrPort] { return targets.All(s.list, s.exclude) }

// read reads what the command line and the files say.
func (f *scopeFlags) read(ctx context.Context, stdin io.Reader, args []string) (*scopes, error) {
	var ports []uint16
	var err error
	if f.port != "" {
		if ports, err = targets.ParsePorts(f.port); err != nil {
			return nil, usageError{fmt.Errorf("--port %w", err)}
		}
	}
	all := &scopes{}
	for _, a := range args {
		s, err := targets.ParseScope(a, ports)
		if err != nil {
			return nil, usageError{fmt.Errorf("target %w", err)}
		}
		all.list = append(all.list, s)
	}
	if f.file != "" {
		err := fromFile(f.file, stdin, func(name string, r io.Reader) error {
			more, err := targets.ReadScopes(name, r, ports)
			all.list = append(all.list, more...)
			return err
		})
		if err != nil {
			return nil, usageError{fmt.Errorf("--targets: %w", err)}
		}
	}
	if all.exclude, err = f.excluded(stdin); err != nil {
		return nil, usageError{err}
	}
	if n := targets.Size(all.list); n > f.most {
		return nil, usageError{fmt.Errorf("%s; --max-targets is %d", f.tooMany(all.list), f.most)}
	}
	if err := f.resolve(ctx, all); err != nil {
		return nil, err
	}
	for range all.targets() {
		return all, all.permit()
	}
	return nil, usageError{errors.New("sweep: no target is left; see --targets and --exclude")}
}

// tooMany names the largest of the scopes.
func (f *scopeFlags) tooMany(list []targets.Scope) string {
	largest := 0
	for i := range list {
		if targets.Size(list[i:i+1]) > targets.Size(list[largest:largest+1]) {
			largest = i
		}
	}
	n := targets.Size(list[largest : largest+1])
	if n > f.most {
		return fmt.Sprintf("target %q has %s targets", list[largest].Text, countless(n))
	}
	return countless(targets.Size(list)) + " targets"
}

// countless is a number of targets, which may be more than can be counted.
func countless(n int64) string {
	if n > 1<<40 {
		return "more than 10^12"
	}
	return fmt.Sprint(n)
}

func (f *scopeFlags) excluded(stdin io.Reader) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, e := range f.exclude {
		p, err := targets.ParsePrefix(e)
		if err != nil {
			return nil, fmt.Errorf("--exclude: %w", err)
		}
		out = append(out, p)
	}
	if f.excludeFile == "" {
		return out, nil
	}
	err := fromFile(f.excludeFile, stdin, func(name string, r io.Reader) error {
		more, err := targets.ReadPrefixes(name, r)
		out = append(out, more...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--exclude-file: %w", err)
	}
	return out, nil
}

// fromFile hands on a file, or standard input for "-".
func fromFile(name string, stdin io.Reader, read func(name string, r io.Reader) error) error {
	if name == "-" {
		return read("standard input", stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return read(name, file)
}

// resolve puts the addresses of names in their place.
func (f *scopeFlags) resolve(ctx context.Context, all *scopes) error {
	var list []targets.Scope
	for _, s := range all.list {
		if s.Host == "" {
			list = append(list, s)
			continue
		}
		names, err := prober.NewNames(ctx, []string{s.Host + ":1"})
		if err != nil {
			return usageError{err}
		}
		addrs, err := names.Lookup(ctx, s.Host)
		if err != nil {
			return &prober.ResolveError{Host: s.Host, Err: err}
		}
		found := false
		for _, a := range addrs {
			if a = a.Unmap(); f.four && !a.Is4() || f.six && a.Is4() {
				continue
			}
			found = true
			list = append(list, targets.Scope{Text: s.Text, Host: s.Host, Prefix: netip.PrefixFrom(a, a.BitLen()), Ports: s.Ports})
		}
		if !found {
			return usageError{&prober.ResolveError{Host: s.Host, Err: errors.New("no address of the family asked for")}}
		}
		all.allow = all.allow.With(names.Allow())
	}
	all.list = list
	return nil
}

// permit permits what was named by its address. A name that leads to an address of special meaning is still refused.
func (s *scopes) permit() error {
	var entries []string
	for _, x := range s.list {
		if x.Host == "" {
			entries = append(entries, x.Prefix.String())
		}
	}
	named, err := prober.ParseAllow(entries)
	if err != nil {
		return usageError{err}
	}
	s.allow = s.allow.With(named)
	return nil
}
