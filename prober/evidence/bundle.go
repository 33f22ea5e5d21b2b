package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a bundle.
const (
	CaptureFile      = "capture.pcapng"
	ObservationsFile = "observations.json"
	DiagnosisFile    = "diagnosis.json"
	ReportFile       = "report.txt"
	HostFile         = "host.json"
)

// NotEmptyError is returned for a directory that holds something already: a bundle is never mixed with another.
type NotEmptyError struct{ Dir, Name string }

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("%s holds %s already: want a directory that is empty, or a name that does not exist yet", e.Dir, e.Name)
}

// Bundle is what one run leaves behind.
type Bundle struct {
	Origin    Origin
	Stored    Stored
	Host      Host
	Diagnosis []byte // as -o json has it
	Report    []byte // as text
}

// Dir is a directory that was made ready for a bundle.
type Dir struct {
	name string
	made bool
	root *os.Root
}

// Open makes a directory for a bundle, or takes an empty one, and closes it to others (mode 0700). Nothing is written to it yet.
func Open(dir string) (*Dir, error) {
	err := os.Mkdir(dir, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make a directory for the evidence: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the directory for the evidence: %w", err)
	}
	d := &Dir{name: dir, made: made, root: root}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

func (d *Dir) prepare() error {
	f, err := d.root.Open(".")
	if err != nil {
		return fmt.Errorf("open the directory for the evidence: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	switch {
	case len(names) > 0:
		return &NotEmptyError{d.name, names[0]}
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read %s: %w", d.name, err)
	}
	if err := f.Chmod(0o700); err != nil {
		return fmt.Errorf("close %s to others: %w", d.name, err)
	}
	return nil
}

// Name is the directory as it was named.
func (d *Dir) Name() string { return d.name }

// Close gives the directory up. One that Open has made and that is still empty goes again.
func (d *Dir) Close() error {
	err := d.root.Close()
	if d.made {
		_ = os.Remove(d.name) // it stays where something is in it
	}
	return err
}

// Write writes the files of a bundle, each readable by its owner alone, and each whole or not at all: one that has its name is complete. What
// a diagnosis is made again from comes first.
func (d *Dir) Write(b Bundle) error {
	observations, err := Encode(b.Stored)
	if err != nil {
		return fmt.Errorf("%s: %w", ObservationsFile, err)
	}
	host, err := json.MarshalIndent(b.Host, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", HostFile, err)
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{ObservationsFile, whole(observations)},
		{CaptureFile, func(w io.Writer) error { return WriteCapture(w, b.Origin, b.Stored.Rounds) }},
		{DiagnosisFile, whole(b.Diagnosis)},
		{ReportFile, whole(b.Report)},
		{HostFile, whole(append(host, '\n'))},
	} {
		if err := d.file(f.name, f.write); err != nil {
			return fmt.Errorf("write %s/%s: %w", d.name, f.name, err)
		}
	}
	return nil
}

func whole(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// file writes one file under another name first.
func (d *Dir) file(name string, write func(io.Writer) error) error {
	part := "." + name + ".part"
	f, err := d.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.root.Rename(part, name)
	}
	if err != nil {
		return errors.Join(err, d.root.Remove(part))
	}
	return nil
}

// Read reads the observations of a bundle: a file, or the directory that holds one under its usual name.
func Read(name string) (Stored, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		name = filepath.Join(name, ObservationsFile)
	}
	f, err := os.Open(name)
	if err != nil {
		return Stored{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Stored{}, fmt.Errorf("read: %w", err)
	}
	s, err := Decode(data)
	if err != nil {
		return Stored{}, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
