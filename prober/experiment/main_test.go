package experiment_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets more garbage gather than usual: thousands of small networks are made and forgotten, and what is live at one time is a few megabytes, for
// which the collector would run all the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}
