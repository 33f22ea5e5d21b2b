package targets

import "github.com/goccy/go-yaml"

// show shows where a job's targets come from, without secrets.
func (s *Sources) show(v *view) {
	if s == nil {
		return
	}
	var static, file, http, dns, kubernetes, rules []yaml.MapSlice
	for _, x := range s.Static {
		var e view
		e.add("targets", x.Targets, true)
		e.add("labels", shownLabels(x.Labels), len(x.Labels) > 0)
		static = append(static, e.MapSlice)
	}
	for _, x := range s.File {
		file = append(file, yaml.MapSlice{{Key: "files", Value: x.Files}, {Key: "refresh_interval", Value: x.Refresh.String()}})
	}
	for i := range s.HTTP {
		x := &s.HTTP[i]
		e := view{yaml.MapSlice{{Key: "url", Value: ShownURL(x.URL)}, {Key: "refresh_interval", Value: x.Refresh.String()}}}
		showClient(&x.Client, &e)
		http = append(http, e.MapSlice)
	}
	for _, x := range s.DNS {
		var e view
		e.add("names", x.Names, true)
		e.add("type", x.Type, true)
		e.add("port", x.Port, x.Port != 0)
		e.add("refresh_interval", x.Refresh.String(), true)
		dns = append(dns, e.MapSlice)
	}
	for i := range s.Kubernetes {
		kubernetes = append(kubernetes, s.Kubernetes[i].shown())
	}
	for i := range s.Relabel {
		rules = append(rules, s.Relabel[i].shown())
	}
	v.add("static_configs", static, len(static) > 0)
	v.add("file_sd_configs", file, len(file) > 0)
	v.add("http_sd_configs", http, len(http) > 0)
	v.add("dns_sd_configs", dns, len(dns) > 0)
	v.add("kubernetes_sd_configs", kubernetes, len(kubernetes) > 0)
	v.add("relabel_configs", rules, len(rules) > 0)
}

func (x *KubernetesSource) shown() yaml.MapSlice {
	var e view
	e.add("role", x.Role, true)
	e.add("api_server", ShownURL(x.APIServer), x.APIServer != "")
	e.add("kubeconfig_file", x.KubeConfig, x.KubeConfig != "")
	var names view
	names.add("names", x.Namespaces, len(x.Namespaces) > 0)
	names.add("own_namespace", true, x.OwnNamespace)
	e.add("namespaces", names.MapSlice, len(names.MapSlice) > 0)
	var selectors []yaml.MapSlice
	for _, s := range x.Selectors {
		var v view
		v.add("role", s.Role, s.Role != "")
		v.add("label", s.Label, s.Label != "")
		v.add("field", s.Field, s.Field != "")
		selectors = append(selectors, v.MapSlice)
	}
	e.add("selectors", selectors, len(selectors) > 0)
	showClient(&x.Client, &e)
	return e.MapSlice
}

func (r *Relabel) shown() yaml.MapSlice {
	var e view
	e.add("source_labels", r.SourceLabels, len(r.SourceLabels) > 0)
	e.add("separator", quoted(r.Separator), r.Separator != ";")
	e.add("regex", quoted(r.Regex), r.Regex != "(.*)")
	e.add("modulus", r.Modulus, r.Modulus != 0)
	e.add("target_label", r.TargetLabel, r.TargetLabel != "")
	e.add("replacement", quoted(r.Replacement), r.Replacement != "$1")
	e.add("action", r.Action, true)
	return e.MapSlice
}
