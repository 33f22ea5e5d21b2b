package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/vipprobe/vipprobe/targets/pools"
)

// importFlags are those of targets import.
type importFlags struct {
	from, output string
	own          []string
}

func targetsImportCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import --from FORMAT FILE…",
		Short: "Make targets for file_sd_configs of a load balancer's configuration",
		Long: "import reads which VIPs a load balancer has and which real servers stand behind each, and writes them for file_sd_configs: the\n" +
			"label vip names what belongs together, the label role is vip or member. What gives no target is named on stderr by file and line.\n" +
			"FILE - is stdin. It exits 1 where nothing was found.\n\n" +
			"  keepalived  keepalived.conf\n" +
			"  ipvs        ipvsadm -Sn, or ipvsadm -Ln\n" +
			"  haproxy     haproxy.cfg\n" +
			"  nginx       what -T prints, or nginx.conf: the files that it includes are read with it\n" +
			"  envoy       the configuration, YAML or JSON, or the admin interface's /config_dump?include_eds\n" +
			"  f5-json     iControl REST: /mgmt/tm/ltm/virtual and /mgmt/tm/ltm/pool?expandSubcollections=true, one file or several\n" +
			"  elbv2-json  aws elbv2 describe-load-balancers, describe-listeners, describe-rules, describe-target-groups, and\n" +
			"              describe-target-health of each group in a file named after it (GROUP.json); aws ec2 describe-instances\n" +
			"              for targets that are instances. Several may be in one file.",
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", "", strings.Join(pools.Formats(), ", "))
	fs.StringVarP(&f.output, "output", "o", "json", "json or yaml")
	fs.StringArrayVar(&f.own, "address", nil, "an address of the balancer, which a VIP at every address (*:443) is probed at; may be given again")
	return cmd
}

// Bounds on what is imported.
const (
	maxImport      = 32 << 20 // octets of a file
	maxImportFiles = 4096     // that one pattern of an include means
)

func (f *importFlags) run(cmd *cobra.Command, names []string) error {
	switch {
	case f.output != "json" && f.output != "yaml":
		return usageError{fmt.Errorf("--output %q: want json or yaml", f.output)}
	case len(names) == 0:
		return usageError{fmt.Errorf("targets import: no file; - is stdin")}
	}
	o := pools.Options{Include: includedFiles}
	for _, text := range f.own {
		a, err := netip.ParseAddr(text)
		if err != nil || a.IsUnspecified() || a.Zone() != "" {
			return usageError{fmt.Errorf("--address %q: want an address of the balancer, as 192.0.2.10", text)}
		}
		o.Own = append(o.Own, a)
	}
	var files []pools.File
	for _, name := range names {
		text, err := readImport(cmd, name)
		if err != nil {
			return err
		}
		files = append(files, pools.File{Name: name, Text: text})
	}
	all, notes, err := pools.Read(f.from, files, o)
	if err != nil {
		return usageError{fmt.Errorf("--from: %w", err)}
	}
	for _, n := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), n)
	}
	groups := pools.Groups(all)
	if err := f.write(cmd.OutOrStdout(), groups); err != nil {
		return err
	}
	if len(groups) == 0 {
		complain(cmd.ErrOrStderr(), fmt.Errorf("targets import: no VIP in %s, read as %s", strings.Join(names, ", "), f.from))
		return exitError(exitFinding)
	}
	return nil
}

func (f *importFlags) write(w io.Writer, groups []pools.Group) error {
	if f.output == "yaml" {
		return yaml.NewEncoder(w, yaml.IndentSequence(true)).Encode(groups)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(groups)
}

// includedFiles are those that a pattern in a configuration means here.
func includedFiles(pattern string) ([]pools.File, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if len(names) > maxImportFiles {
		return nil, fmt.Errorf("%d files; at most %d are read", len(names), maxImportFiles)
	}
	var out []pools.File
	for _, name := range names {
		text, err := readFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, pools.File{Name: name, Text: text})
	}
	return out, nil
}

func readImport(cmd *cobra.Command, file string) ([]byte, error) {
	if file == "-" {
		return readBounded(cmd.InOrStdin(), file)
	}
	text, err := readFile(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("import: %w", err)}
	}
	return text, nil
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, file)
}

func readBounded(in io.Reader, file string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxImport+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(text) > maxImport {
		return nil, usageError{fmt.Errorf("%s: more than %d octets", file, maxImport)}
	}
	return text, nil
}
