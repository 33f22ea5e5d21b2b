package hostproc

import (
	"os"
	"path/filepath"
)

// root is where a procfs is mounted; tests give a directory of files laid out alike.
type root string

const proc root = "/proc"

// thread is the directory of the calling thread (Linux ≥ 3.17), or else the mount itself, whose net is the process's.
func (r root) thread() string {
	d := filepath.Join(string(r), "thread-self")
	if _, err := os.Stat(d); err != nil {
		return string(r)
	}
	return d
}

func (r root) readNet(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(r.thread(), "net", name))
}

func (r root) readSys(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(r), "sys", name))
}
