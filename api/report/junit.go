package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Classname string        `xml:"classname,attr"`
	File      string        `xml:"file,attr,omitempty"`
	Line      int           `xml:"line,attr,omitempty"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure,omitempty"`
	Error     *junitMessage `xml:"error,omitempty"`
	Output    string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes a test suite for each candidate and a case for each check. What could not be told is an error, not a failure.
func JUnit(w io.Writer, v *view.Validation) error {
	all := junitSuites{Name: "vipprobe validate", Time: seconds(v.TookNS)}
	for i := range v.Candidates {
		s := suite(v, &v.Candidates[i])
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func suite(v *view.Validation, c *view.Candidate) junitSuite {
	s := junitSuite{Name: printable(called(c)), Time: seconds(c.TookNS), Timestamp: c.Started.UTC().Format("2006-01-02T15:04:05")}
	if c.Error != "" && len(c.Checks) == 0 {
		s.Cases = []junitCase{{Name: "it can be measured", Classname: s.Name, File: v.File, Line: c.Line, Time: s.Time, Error: &junitMessage{printable(c.Error), "unknown", printable(c.Error)}}}
	}
	for i := range c.Checks {
		x := &c.Checks[i]
		one := junitCase{Name: printable(x.Check), Classname: s.Name, File: v.File, Line: x.Line, Time: "0", Output: printable(x.Got)}
		switch rollout.State(x.State) {
		case rollout.Fail:
			one.Failure = &junitMessage{printable(x.Got), "fail", printable(sentence(x))}
		case rollout.Unknown:
			one.Error = &junitMessage{printable(x.Why), "unknown", printable(sentence(x))}
		case rollout.Pass:
		}
		s.Cases = append(s.Cases, one)
	}
	for i := range s.Cases {
		s.Tests++
		if s.Cases[i].Failure != nil {
			s.Failures++
		}
		if s.Cases[i].Error != nil {
			s.Errors++
		}
	}
	return s
}

func seconds(ns int64) string { return fmt.Sprintf("%.3f", time.Duration(ns).Seconds()) }

// called is a candidate's name for people: as asked for, with the address that it led to.
func called(c *view.Candidate) string {
	name := c.Target
	if c.Addr != "" && c.Addr != c.Target {
		name += " (" + c.Addr + ")"
	}
	if c.Vantage != "" {
		name += " from " + c.Vantage
	}
	return name
}

// sentence is what a check came to.
func sentence(x *view.CheckResult) string {
	text := x.Check + ": " + x.State
	if x.Got != "" {
		text += ", got " + x.Got
	}
	if x.Why != "" {
		text += ": " + x.Why
	}
	return text
}

// printable leaves out what XML 1.0 §2.2 has no character for.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= 0x20 && r != 0xfffe && r != 0xffff && r != 0xfffd {
			return r
		}
		return -1
	}, s)
}
