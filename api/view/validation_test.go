package view

import (
	"strings"
	"testing"
)

// What a kill leaves is a torn last line; anything else that is wrong is an error that names its line.
func TestStateOfAValidation(t *testing.T) {
	const head = `{"validation_state":1,"policy":"p"}` + "\n"
	const one = `{"target":"a:1","state":"pass","checks":[]}` + "\n"
	for _, tc := range []struct {
		name, in string
		n        int
		want     string
	}{
		{"whole", head + one + one, 2, ""},
		{"torn", head + one + `{"target":"b:`, 1, ""},
		{"nothing finished", head, 0, ""},
		{"another policy", strings.Replace(head, `"p"`, `"q"`, 1) + one, 0, "another policy"},
		{"something else", "hello\n", 0, "line 1"},
		{"broken inside", head + "{\n" + one, 0, "line 2"},
	} {
		got, err := ReadValidationState(strings.NewReader(tc.in), "p")
		if len(got) != tc.n || (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %d candidates, %v", tc.name, len(got), err)
		}
	}
}
