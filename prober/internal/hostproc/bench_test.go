package hostproc

import "testing"

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSysctls(b *testing.B) {
	for b.Loop() {
		if s := ReadSysctls(); !s.SynRetries.Known {
			b.Fatal("no tcp_syn_retries")
		}
	}
}
