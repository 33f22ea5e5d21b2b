package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/targets"
)

// testimonyFlags say which servers tell their own counters.
type testimonyFlags struct {
	servers   []string
	tokenFile string
	user      string
	caFile    string
}

func (f *testimonyFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.servers, "testimony", nil, "[SERVER=]URL: where the target, or with SERVER= it or a --member, tells its own counters: a vipprobe that serves "+
		"testimony (HOST:PORT will do), or a node_exporter (…/metrics); may be repeated")
	fs.StringVar(&f.tokenFile, "testimony-token-file", "", "file with the bearer token for --testimony; with --testimony-user the password")
	fs.StringVar(&f.user, "testimony-user", "", "user of HTTP basic authentication for --testimony")
	fs.StringVar(&f.caFile, "testimony-ca-file", "", "PEM file of the authority that signed the certificates of --testimony")
}

// sources are those of the flags, and of the configuration where no flag names the same server.
func (f *testimonyFlags) sources(cfg *targets.Config, asked, members []string) ([]prober.TestimonySource, error) {
	var out []prober.TestimonySource
	secret := prober.Secret("")
	if f.tokenFile != "" {
		var err error
		if secret, err = targets.ReadSecret(f.tokenFile); err != nil {
			return nil, usageError{fmt.Errorf("--testimony-token-file: %w", err)}
		}
	}
	if len(f.servers) == 0 && (f.tokenFile != "" || f.user != "" || f.caFile != "") {
		return nil, usageError{fmt.Errorf("--testimony-token-file, --testimony-user and --testimony-ca-file: only --testimony asks anybody")}
	}
	if f.user != "" && f.tokenFile == "" {
		return nil, usageError{fmt.Errorf("--testimony-user: --testimony-token-file is missing beside it, with the password")}
	}
	for _, text := range f.servers {
		s, err := splitTestimony(text, asked, members)
		if err != nil {
			return nil, err
		}
		s.User, s.Secret, s.CAFile = f.user, secret, f.caFile
		if err := s.CheckTestimony(); err != nil {
			return nil, usageError{fmt.Errorf("--testimony: %w", err)}
		}
		out = append(out, s)
	}
	for _, c := range cfg.Testimony().Servers {
		if slices.ContainsFunc(out, func(s prober.TestimonySource) bool { return s.Server == c.Server }) || !slices.Contains(append(slices.Clone(asked), members...), c.Server) {
			continue
		}
		s, err := c.Source()
		if err != nil {
			return nil, usageError{fmt.Errorf("testimony of %s: %w", c.Server, err)}
		}
		out = append(out, s)
	}
	return out, nil
}

// splitTestimony reads [SERVER=]URL.
func splitTestimony(text string, asked, members []string) (prober.TestimonySource, error) {
	server, url, named := strings.Cut(text, "=")
	if !named {
		if len(asked) != 1 {
			return prober.TestimonySource{}, usageError{fmt.Errorf("--testimony %s: with %d targets say whose it is: SERVER=URL", text, len(asked))}
		}
		server, url = asked[0], text
	}
	if !slices.Contains(asked, server) && !slices.Contains(members, server) {
		return prober.TestimonySource{}, usageError{fmt.Errorf("--testimony %s: %s is neither a target nor a --member", text, server)}
	}
	return prober.TestimonySource{Server: server, URL: url}, nil
}

// testimony says what the servers' own counters had to say, beside what stands among the reasons of a cause already.
func (p *printer) testimony(r *prober.Round) {
	for i := range r.Witnesses {
		w := &r.Witnesses[i]
		if len(w.Missing) > 0 && (p.explain || len(r.Diagnosis.Testimony) == 0) {
			p.f("\n%s\n", p.item("testimony", fmt.Sprintf("%s: %s", w.Server, strings.Join(w.Missing, "; "))))
		}
	}
	for i := range r.Diagnosis.Testimony {
		t := &r.Diagnosis.Testimony[i]
		if !heard(*t) && t.Why != "" {
			p.f("\n%s\n", p.item("testimony", fmt.Sprintf("%s, %s: %s", t.Verdict, effectText(t.Effect), t.Why)))
		}
		if !p.explain {
			continue
		}
		for _, b := range t.Bursts {
			arms := ""
			if b.Arms != "" {
				arms = " (" + b.Arms + ")"
			}
			p.f("%s\n", p.item("", fmt.Sprintf("- %s during %s: expected %+d%s, seen %+d", t.Counter, b.Label, b.Expected, arms, b.Seen)))
		}
	}
}

// heard reports whether a testimony stands among the reasons of a cause.
func heard(t diagnose.Testimony) bool {
	return t.Effect == diagnose.EffectUpgraded || t.Effect == diagnose.EffectNamed
}

func effectText(e diagnose.Effect) string {
	switch e {
	case diagnose.EffectRefuted:
		return "refuted"
	case diagnose.EffectBackground:
		return "not borne out: the counter moves as much without our SYNs"
	case diagnose.EffectUnmatched:
		return "not borne out: the counter does not match"
	case diagnose.EffectBeside:
		return "the counter moved with our SYNs, too, though another cause explains them"
	case diagnose.EffectUnsaid:
		return "no word of it"
	case diagnose.EffectUpgraded, diagnose.EffectNamed:
	}
	return string(e)
}
