package evidence

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// files lists a directory: name and mode of each.
func files(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]fs.FileMode{}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = info.Mode()
	}
	return out
}

func TestABundleIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "case")
		if there {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		rounds := example(t)
		Number(rounds)
		if err := d.Write(Bundle{Stored: Stored{Program: "vipprobe 1", Rounds: rounds}, Diagnosis: []byte("{}\n"), Report: []byte("well\n")}); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		want := map[string]fs.FileMode{CaptureFile: 0o600, ObservationsFile: 0o600, DiagnosisFile: 0o600, ReportFile: 0o600, HostFile: 0o600}
		if diff := cmp.Diff(want, files(t, dir)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		s, err := Read(dir)
		if err != nil || s.Program != "vipprobe 1" || len(s.Rounds) != 2 {
			t.Errorf("%v %+v", err, s)
		}
	}
}

func TestWhatIsThereAlreadyIsNotTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	var full *NotEmptyError
	if !errors.As(err, &full) || full.Name != "mine" || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Error("the directory was changed")
	}
	if _, err := Open(filepath.Join(dir, "mine")); err == nil {
		t.Error("a file passes for a directory")
	}
	// one that comes in between is not written over either
	sub := filepath.Join(dir, "sub")
	d, err := Open(sub)
	if err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(sub, "."+ObservationsFile+".part")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), part); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(Bundle{}); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("a link was followed")
	}
}

// What cannot be written is not there, not half of it either; what was written before it stays.
func TestAFileIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "case")
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	if err := errors.Join(d.file("first", whole([]byte("whole")))); err != nil {
		t.Fatal(err)
	}
	err = d.file("second", func(w io.Writer) error {
		_, err := w.Write([]byte("half"))
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]fs.FileMode{"first": 0o600}, files(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestADirectoryThatStayedEmptyGoes(t *testing.T) {
	t.Parallel()
	made, mine := filepath.Join(t.TempDir(), "case"), t.TempDir()
	for _, dir := range []string{made, mine} {
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(made); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", made, err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}
