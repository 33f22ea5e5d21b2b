package v1

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/api/agent"
	"github.com/vipprobe/vipprobe/api/view"
)

func TestValidation(t *testing.T) {
	s := start(t, &fake{}, nil)
	const path = "/api/v1/validations"
	for _, tc := range []struct {
		name, body, user string
		status           int
		says             string
	}{
		{"as asked", `{"target":"192.0.2.10:443","checks":["timestamps = on","no finding"]}`, "", http.StatusOK, `"got":"fine"`},
		{"no such check", `{"target":"192.0.2.10:443","checks":["speed > 3"]}`, "", http.StatusUnprocessableEntity, "body.checks[0]"},
		{"no checks", `{"target":"192.0.2.10:443","checks":[]}`, "", http.StatusUnprocessableEntity, "checks"},
		{"not allowed", `{"target":"198.51.100.9:443","checks":["no finding"]}`, "", http.StatusForbidden, "not allowed"},
		{"it can hurt", `{"target":"192.0.2.10:443","checks":["no finding"],"measure":{"neighbor_queue":true}}`, "", http.StatusForbidden, "body.measure.neighbor_queue"},
		{"the wrong password", `{"target":"192.0.2.10:443","checks":["no finding"],"measure":{"i_own_this_path":true}}`, "me:wrong", http.StatusForbidden, "body.measure.i_own_this_path"},
		{"it may hurt", `{"target":"192.0.2.10:443","checks":["no finding"],"measure":{"neighbor_queue":true,"backlog":16}}`, "me:right", http.StatusOK, `"state":"pass"`},
		{"more than may be half-open", `{"target":"192.0.2.10:443","checks":["no finding"],"measure":{"backlog":1000}}`, "me:right", http.StatusUnprocessableEntity, "limits.half_open"},
		{"a broken baseline", `{"target":"192.0.2.10:443","checks":["no finding"],"baseline":{"target":"a","addr":"x","at":"2020-01-01T00:00:00Z","took_ns":1,"syns":1,"segments":1,"values":[]}}`,
			"", http.StatusUnprocessableEntity, "body.baseline"},
	} {
		a := s.call(http.MethodPost, path, tc.body, "X-User", tc.user)
		if a.StatusCode != tc.status || !strings.Contains(string(a.body), tc.says) {
			t.Errorf("%s: %s: %s", tc.name, a.Status, a.body)
			continue
		}
		s.described(http.MethodPost, path, a)
	}
	c, err := agent.New(agent.Options{URL: s.URL, User: "me", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.Validate(t.Context(), &view.ValidationRequest{Target: "192.0.2.10:443", Checks: []string{"no finding"}, Measure: view.ValidationMeasure{Backlog: 8}})
	if err != nil || len(list) != 1 || len(list[0].Checks) != 1 {
		text, _ := json.Marshal(list)
		t.Errorf("%v: %s", err, text)
	}
	_, err = c.Validate(t.Context(), &view.ValidationRequest{Target: "198.51.100.9:443", Checks: []string{"no finding"}})
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden: the target is not allowed") || strings.Contains(err.Error(), "right") {
		t.Errorf("%v", err)
	}
}
