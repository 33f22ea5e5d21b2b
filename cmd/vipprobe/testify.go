package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/vipprobe/vipprobe/api"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// testify puts in force what a configuration says about telling this host's own counters. The error says why it cannot be, and leaves the old as it
// is. Nobody is told anything without authentication.
func (s *service) testify(cfg *targets.Config) error {
	t := cfg.Testimony()
	if !t.Serve {
		s.testimony.Store(nil)
		return nil
	}
	out := &api.Testimony{}
	switch {
	case t.TokenFile != "":
		secret, err := targets.ReadSecret(t.TokenFile)
		if err != nil {
			return fmt.Errorf("testimony.token_file: %w", err)
		}
		out.Token = secret
	default:
		if err := authenticates(s.flags.webConfig); err != nil {
			return fmt.Errorf("testimony.serve: who may ask? Set testimony.token_file, or a --web.config.file that authenticates: %w", err)
		}
	}
	d, err := prober.NewDeponent(t.Procfs)
	if err != nil {
		return fmt.Errorf("testimony: %w", err)
	}
	out.Of = d
	s.testimony.Store(out)
	return nil
}

// authenticates reports why a web configuration lets anybody in; nil: it asks for a password, or for a certificate that it verifies.
func authenticates(path string) error {
	if path == "" {
		return errors.New("there is none")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(c.Users) == 0 && c.TLS.ClientAuth != "RequireAndVerifyClientCert" {
		return fmt.Errorf("%s has neither basic_auth_users nor client_auth_type: RequireAndVerifyClientCert", path)
	}
	return nil
}
