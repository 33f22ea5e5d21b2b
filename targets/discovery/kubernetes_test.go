//go:build k8s

package discovery

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// object is one of Kubernetes' as JSON has it.
type object = map[string]any

// apiServer speaks as much of Kubernetes' API as discovery asks for: lists, and watches that tell what changes after them.
type apiServer struct {
	mu      sync.Mutex
	version int
	objects map[string]map[string]object // by kind, as the path ends, and name
	changed chan struct{}                // closed at each change
	log     []event
	asked   map[string]bool // paths
}

type event struct {
	version int
	kind    string
	what    string
	object  object
}

func (s *apiServer) put(kind, name string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	what := "ADDED"
	if s.objects[kind][name] != nil {
		what = "MODIFIED"
	}
	o["metadata"] = object{"name": name, "namespace": "shop", "uid": name, "resourceVersion": fmt.Sprint(s.version), "labels": object{"kubernetes.io/service-name": "web"}}
	if s.objects[kind] == nil {
		s.objects[kind] = map[string]object{}
	}
	s.objects[kind][name] = o
	s.tell(event{s.version, kind, what, o})
}

func (s *apiServer) remove(kind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.tell(event{s.version, kind, "DELETED", s.objects[kind][name]})
	delete(s.objects[kind], name)
}

func (s *apiServer) tell(e event) {
	s.log = append(s.log, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// lists are the kinds, and the lists that they come in.
var lists = map[string][2]string{"services": {"v1", "ServiceList"}, "pods": {"v1", "PodList"}, "endpointslices": {"discovery.k8s.io/v1", "EndpointSliceList"}}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, q := path.Base(r.URL.Path), r.URL.Query()
	list, known := lists[kind]
	s.mu.Lock()
	s.asked[r.URL.Path] = true
	from := s.version
	items := []object{}
	for _, o := range s.objects[kind] {
		items = append(items, o)
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !known || q.Get("sendInitialEvents") != "": // an older server: the client lists and watches instead
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422})
	case q.Get("watch") == "":
		_ = json.NewEncoder(w).Encode(object{"apiVersion": list[0], "kind": list[1], "metadata": object{"resourceVersion": fmt.Sprint(from)}, "items": items})
	default:
		_, _ = fmt.Sscan(q.Get("resourceVersion"), &from)
		s.watch(w, r, kind, from)
	}
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, kind string, from int) {
	e := json.NewEncoder(w)
	for {
		s.mu.Lock()
		news, more := s.log, s.changed
		s.mu.Unlock()
		for _, n := range news {
			if n.kind == kind && n.version > from {
				o := object{"apiVersion": lists[kind][0], "kind": lists[kind][1][:len(lists[kind][1])-len("List")]}
				maps.Copy(o, n.object)
				_ = e.Encode(object{"type": n.what, "object": o})
			}
			from = max(from, n.version)
		}
		w.(http.Flusher).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

func slice(addresses ...string) object {
	endpoints := []object{}
	for _, a := range addresses {
		endpoints = append(endpoints, object{"addresses": []string{a}, "conditions": object{"ready": true}})
	}
	return object{"addressType": "IPv4", "endpoints": endpoints, "ports": []object{{"name": "http", "port": 8080, "protocol": "TCP"}}}
}

// TestKubernetes (go test -tags k8s ./targets/discovery): a service is a VIP, the addresses of its slices are its members, and both follow what the API server tells.
func TestKubernetes(t *testing.T) {
	s := &apiServer{objects: map[string]map[string]object{}, changed: make(chan struct{}), asked: map[string]bool{}}
	s.put("services", "web", object{"spec": object{"clusterIP": "10.96.0.10", "type": "ClusterIP", "ports": []object{{"name": "http", "port": 80, "protocol": "TCP"}}}})
	s.put("endpointslices", "web-1", slice("10.244.0.1", "10.244.0.2"))
	server := httptest.NewServer(s)
	jobs := jobsOf(t, `
jobs:
- name: web
  kubernetes_sd_configs:
  - {role: service, api_server: "`+server.URL+`", namespaces: {names: [shop]}}
  - {role: endpointslice, api_server: "`+server.URL+`", namespaces: {names: [shop]}}
  relabel_configs:
  - {source_labels: [__meta_kubernetes_service_name], target_label: vip}
  - {source_labels: [__meta_kubernetes_endpointslice_name], regex: .+, target_label: role, replacement: member}
  - {source_labels: [__meta_kubernetes_service_cluster_ip, __meta_kubernetes_service_port_number, role], regex: '(.+);(.+);', target_label: __address__, replacement: '$1:$2'}
  - {source_labels: [role], regex: '', target_label: role, replacement: vip}
`)
	changed := make(chan struct{}, 1)
	d, err := New(Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Changed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		server.CloseClientConnections()
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	if err := d.Apply(jobs); err != nil {
		t.Fatal(err)
	}
	until := func(want ...string) {
		t.Helper()
		deadline := time.After(60 * time.Second)
		for {
			var got []string
			for _, j := range Arrange(d.Found()) {
				for _, a := range j.Targets {
					got = append(got, fmt.Sprint(a, " ", j.Labels["role"], " of ", j.Group, " ", j.Members))
				}
			}
			diff := cmp.Diff(want, got)
			if diff == "" {
				return
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("(-want +got)\n%s", diff)
			}
		}
	}
	until("10.244.0.1:8080 member of web []", "10.244.0.2:8080 member of web []", "10.96.0.10:80 vip of web [10.244.0.1:8080 10.244.0.2:8080]")
	s.put("endpointslices", "web-1", slice("10.244.0.2", "10.244.0.3"))
	until("10.244.0.2:8080 member of web []", "10.244.0.3:8080 member of web []", "10.96.0.10:80 vip of web [10.244.0.2:8080 10.244.0.3:8080]")
	s.put("endpointslices", "web-1", slice())
	until("10.96.0.10:80 vip of web []")
	s.remove("services", "web")
	until()
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.asked {
		if path.Dir(p) != "/api/v1/namespaces/shop" && path.Dir(p) != "/apis/discovery.k8s.io/v1/namespaces/shop" {
			t.Errorf("%s was asked for, outside of the namespace", p)
		}
	}
}
