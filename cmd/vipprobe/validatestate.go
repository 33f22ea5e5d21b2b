package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

// stateFile keeps candidates that are finished, a line each, so that a validation can go on where it was interrupted. Its zero value keeps nothing.
type stateFile struct {
	mu   sync.Mutex // of writing
	file *os.File
	done []view.Candidate
}

// openState reads what was finished before and makes the file ready for more. An empty path keeps nothing. What was unknown is measured again.
func openState(path, policy string) (*stateFile, error) {
	s := &stateFile{}
	if path == "" {
		return s, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	}
	s.file = file
	if err := s.read(policy); err != nil {
		return nil, fmt.Errorf("--state %s: %w", path, errors.Join(err, file.Close()))
	}
	return s, nil
}

func (s *stateFile) read(policy string) error {
	text, err := io.ReadAll(s.file)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return view.WriteLine(s.file, view.ValidationState{Format: view.ValidationFormat, Policy: policy})
	}
	if s.done, err = view.ReadValidationState(bytes.NewReader(text), policy); err != nil {
		return err
	}
	type where struct{ target, vantage string }
	open := map[where]bool{}
	for i := range s.done {
		c := &s.done[i]
		open[where{c.Target, c.Vantage}] = open[where{c.Target, c.Vantage}] || c.State == string(rollout.Unknown)
	}
	s.done = slices.DeleteFunc(s.done, func(c view.Candidate) bool { return open[where{c.Target, c.Vantage}] })
	if whole := bytes.LastIndexByte(text, '\n') + 1; whole < len(text) { // a torn line: the process was killed while it wrote
		if err := s.file.Truncate(int64(whole)); err != nil {
			return err
		}
		_, err = s.file.Seek(0, io.SeekEnd)
	}
	return err
}

// has reports whether a target is finished from a vantage, "" being here.
func (s *stateFile) has(target, vantage string) bool {
	return slices.ContainsFunc(s.done, func(c view.Candidate) bool { return c.Target == target && c.Vantage == vantage })
}

func (s *stateFile) add(c *view.Candidate) error {
	if s.file == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := view.WriteLine(s.file, c); err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	return nil
}

func (s *stateFile) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
