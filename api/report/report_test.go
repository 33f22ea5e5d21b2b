package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
)

func aValidation() *view.Validation {
	return &view.Validation{File: "a,b:rollout.yml", Started: time.Unix(1e9, 0).UTC(), TookNS: 12e9, Passed: 1, Failed: 1, Unknown: 1, Candidates: []view.Candidate{
		{Target: "web1:443", Addr: "192.0.2.1:443", Line: 3, State: "pass", Checks: []view.CheckResult{{Check: "mss = 1460", Line: 9, State: "pass", Got: "1460 octets"}}},
		{Target: "192.0.2.2:443", Addr: "192.0.2.2:443", Line: 4, State: "fail", SYNs: 40, Checks: []view.CheckResult{
			{Check: "stall_ratio < 1%", Line: 8, State: "fail", Got: "7 of 10", Why: "<script>alert(1)</script> | \x00\x1b[31m\nand more"},
			{Check: "mss = 1460", Line: 9, State: "unknown", Why: "lost"}}},
		{Target: "gone:443", Line: 5, State: "unknown", Error: "no such host"},
	}, Groups: []view.ProfileGroup{{Addrs: []string{"192.0.2.1:443"}}, {Addrs: []string{"192.0.2.2:443"}, Differs: []view.ProfileDifference{{Name: "mss", Want: "1460", Got: "1400", Weight: "notable", Means: "a tunnel"}}}}}
}

func written(t *testing.T, f func(io.Writer, *view.Validation) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b, aValidation()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestJUnitCountsWhatItHolds(t *testing.T) {
	text := written(t, JUnit)
	var got junitSuites
	if err := xml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got.Tests != 4 || got.Failures != 1 || got.Errors != 2 || len(got.Suites) != 3 {
		t.Errorf("%+v", got)
	}
	c := got.Suites[1].Cases[0]
	if c.Failure == nil || c.File != "a,b:rollout.yml" || c.Line != 8 || strings.ContainsAny(c.Failure.Text, "\x00\x1b") || !strings.Contains(c.Failure.Text, "<script>") {
		t.Errorf("%+v", c)
	}
}

// The schema describes what is written: every field of the JSON stands in it.
func TestSchema(t *testing.T) {
	var b, doc bytes.Buffer
	if err := errors.Join(Schema(&b), view.WriteJSON(&doc, aValidation())); err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Ref  string                                         `json:"$ref"`
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	var got struct {
		Candidates []map[string]any
		Groups     []map[string]any
	}
	if err := errors.Join(json.Unmarshal(b.Bytes(), &schema), json.Unmarshal(doc.Bytes(), &got)); err != nil {
		t.Fatal(err)
	}
	if schema.Ref != "#/$defs/Validation" {
		t.Errorf("$ref %q", schema.Ref)
	}
	for name, list := range map[string][]map[string]any{"Candidate": got.Candidates, "ProfileGroup": got.Groups} {
		for _, x := range list {
			for key := range x {
				if _, ok := schema.Defs[name].Properties[key]; !ok {
					t.Errorf("%s.%s is not in the schema", name, key)
				}
			}
		}
	}
}

func TestAnnotationsNameTheLine(t *testing.T) {
	text := written(t, GitHub)
	for _, want := range []string{"::error file=a%2Cb%3Arollout.yml,line=4,title=192.0.2.2%3A443::stall_ratio < 1%25: fail, got 7 of 10", "%0Aand more", "::warning file=a%2Cb%3Arollout.yml,line=5,title=gone%3A443::no such host",
		"1 passed, 1 failed, 1 unknown"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 4 {
		t.Errorf("%d lines:\n%s", n, text)
	}
}

func TestMarkdownAndHTMLHoldWhatIsHostile(t *testing.T) {
	md := written(t, Markdown)
	if strings.Contains(md, "<script>") || !strings.Contains(md, `\|`) || !strings.Contains(md, "mss 1400, not 1460") {
		t.Error(md)
	}
	page := written(t, HTML)
	for _, bad := range []string{"<script", "http://", "https://", "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "web1:443 (192.0.2.1:443)", "no such host", "1 odd"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
